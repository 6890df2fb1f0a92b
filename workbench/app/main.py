"""The shell around every page: who is signed in, which project, and the navigation of their roles."""

import streamlit as st

from workbench.app.navigation import ICON, pages_for
from workbench.core.errors import NotSignedIn
from workbench.ui import guard, page

st.set_page_config(page_title="Learning Workbench", page_icon=str(ICON), layout="wide", initial_sidebar_state="expanded")
st.html(
    "<style>.stMainBlockContainer{padding-top:2.2rem;padding-bottom:3rem;max-width:1500px}"
    "[data-testid=stSidebarNavItems]{max-height:none}</style>"
)

try:
    visit = guard.visit()
except NotSignedIn as error:
    page.failure(error)
    st.link_button("Sign in", "/auth/sign-in", type="primary")
    st.stop()

with st.sidebar:
    if len(visit.projects) > 1:
        names = {project.id: project.name for project in visit.projects}
        chosen = st.selectbox(
            "Project",
            list(names),
            index=list(names).index(visit.project.id),
            format_func=names.__getitem__,
            key="shell_project",
        )
        if chosen != visit.project.id:
            guard.choose_project(chosen)
            st.rerun()
    else:
        st.caption("Project")
        page.plain(visit.project.name)

selected = st.navigation(pages_for(visit), position="sidebar", expanded=True)

with st.sidebar, st.container(key="shell_person", gap="xxsmall"):
    page.plain(visit.actor.name)
    st.caption(", ".join(sorted(role.value for role in visit.actor.roles(visit.project.id))))
    st.html('<a href="/auth/sign-out" target="_self" style="color:inherit">Sign out</a>')

selected.run()
