"""Knowledge: what the application may answer from, and whether it is live."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import NotFound
from workbench.knowledge import queries
from workbench.ui import guard, knowledge_ask, knowledge_edit, knowledge_entry, knowledge_history, knowledge_list, page

visit = guard.visit()
page.header("Knowledge", "What the application may answer from. An edit that goes live is used by the next question.")

with visit.read() as session:
    entries = queries.list_entries(session, visit.project.id)
    head = queries.head(session, visit.project.id)

VIEWS = ["Entries", "Ask it", "History", "Checks", "Import and export"]
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    view = st.segmented_control(
        "View", VIEWS, default="Entries", required=True, key="knowledge_view", label_visibility="collapsed"
    )
    if head is not None:
        st.caption(f"{page.count(head.members, 'entry', 'entries')} live in commit {head.number}, {page.ago(head.created_at)}")

if view == "Ask it":
    knowledge_ask.show(visit)
elif view == "History":
    knowledge_history.commits(visit)
elif view == "Checks":
    knowledge_history.checks(entries)
elif view == "Import and export":
    knowledge_history.bring(visit, entries)
else:
    may_edit = visit.can(Permission.EDIT_KNOWLEDGE)
    opened = st.query_params.get("entry")
    adding = st.query_params.get("new") == "1" and may_edit
    left, right = st.columns([2, 3], gap="large")
    with left:
        wanted = knowledge_list.filters(entries)
        shown = knowledge_list.matching(entries, wanted)
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.caption(f"{len(shown)} of {page.count(len(entries), 'entry', 'entries')}")
            if may_edit and st.button("New entry", key="knowledge_new", icon=":material/add:"):
                st.query_params.clear()
                st.query_params["new"] = "1"
                st.rerun()
        if not entries:
            page.empty("There is no knowledge yet.", "Add an entry, or import a file of JSON lines.")
        elif not shown:
            page.empty("No entry is like that.", "Use fewer words, or set a filter to any.")
        knowledge_list.rows(shown, opened)
    with right:
        if adding:
            st.subheader("New entry", anchor=False)
            knowledge_edit.new_form(
                visit, title=st.query_params.get("title", "")[:200], text=st.query_params.get("text", "")[:4000]
            )
        elif opened:
            try:
                knowledge_entry.show(visit, entries, opened)
            except NotFound as error:
                page.failure(error)
        elif shown:
            page.empty("Choose an entry.", "You see its text, whether it is live and for whom, and can correct it at once.")
