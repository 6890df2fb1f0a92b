"""Admin: people and roles, API keys, processes and jobs, the project itself."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.ui import admin_masking, admin_people, admin_processes, admin_project, guard, page

visit = guard.visit()
page.header("Admin", "People and their roles, API keys, processes and jobs of this workbench.")

if not visit.can(Permission.MANAGE_PEOPLE):
    page.empty("This page is for admins.", "Your own account, name and roles are shown at the foot of the sidebar.")
    st.stop()

people, keys, processes, project = st.tabs(["People", "API keys", "Processes and jobs", "Project"], key="admin_tab")
with people:
    admin_people.people(visit)
with keys:
    admin_project.keys(visit)
with processes:
    admin_processes.processes(visit)
with project:
    admin_project.project(visit)
    st.divider()
    admin_masking.masking(visit)
