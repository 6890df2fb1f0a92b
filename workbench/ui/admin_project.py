"""The admin page's project and API keys, and how an application sends its data."""

import json
import secrets
import time

import streamlit as st

from workbench.identity.policy import SCOPE_PERMISSIONS
from workbench.identity.queries import list_keys
from workbench.ui import page
from workbench.ui.guard import Visit


def keys(visit: Visit) -> None:
    """Keys of this project: create one, see it once, revoke it."""
    left, right = st.columns([3, 2], gap="large")
    with right, st.form("admin_key", clear_on_submit=True):
        st.markdown("**Create a key**")
        name = st.text_input("Which application uses it", key="admin_key_name")
        scopes = st.pills("It may", list(SCOPE_PERMISSIONS), selection_mode="multi", default=["ingest"], key="admin_key_scopes")
        if st.form_submit_button("Create key", type="primary"):
            with page.acting():
                _, secret = visit.services.identity.create_key(
                    visit.actor, project_id=visit.project.id, name=name, scopes=list(scopes or [])
                )
                st.success("Copy the key now. It is shown once and stored nowhere.")
                st.code(secret, language=None)
                st.code(curl(visit, secret), language="bash")
    with left:
        with visit.read() as session:
            rows = list_keys(session, visit.project.id)
        if not rows:
            page.empty("No application has a key yet.", "Create one, then send traces with the command it shows.")
        for key in rows:
            with st.container(border=True, horizontal=True, vertical_alignment="center"):
                page.plain(f"{key.name}   {key.prefix}…   {', '.join(key.scopes)}   made {page.ago(key.created_at)}")
                if key.revoked_at is not None:
                    st.badge("revoked", color="gray")
                elif st.button("Revoke", key=f"admin_revoke_{key.id}"):
                    with page.acting("Revoked: the key works no more."):
                        visit.services.identity.revoke_key(visit.actor, key.id)
                    st.rerun()


def curl(visit: Visit, key: str) -> str:
    """A command that sends one trace to this project."""
    url = f"{visit.context.settings.api_url}/v1/traces"
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "How do I block my card?"}]}])
    start = time.time_ns()
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": "chat",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + 900_000_000),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.input.messages", "value": {"stringValue": asked}},
        ],
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    return f"curl {url} \\\n  -H 'Authorization: Bearer {key}' \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'"


def project(visit: Visit) -> None:
    """This project's facts, and a form for another one."""
    left, right = st.columns(2, gap="large")
    with left:
        page.facts(
            {
                "Name": visit.project.name,
                "Key": visit.project.key,
                "Languages": ", ".join(visit.project.languages) or "not set",
                "Teams": ", ".join(str(team["name"]) for team in visit.project.teams) or "not set",
                "Made": page.moment(visit.project.created_at),
            }
        )
    with right, st.form("admin_project", clear_on_submit=True):
        st.markdown("**Add a project**")
        key = st.text_input("Key", placeholder="claims-assistant", key="admin_project_key")
        name = st.text_input("Name", key="admin_project_name")
        description = st.text_area("What the application does", key="admin_project_description")
        languages = st.text_input("Languages, separated by commas", placeholder="en, es", key="admin_project_languages")
        teams = st.text_area("Triage teams, one a line", placeholder="Cards\nLending", key="admin_project_teams")
        if st.form_submit_button("Add project", type="primary"):
            with page.acting("Project added. Choose it in the sidebar."):
                visit.services.identity.add_project(
                    visit.actor,
                    key=key,
                    name=name,
                    description=description,
                    languages=[part.strip() for part in languages.split(",") if part.strip()],
                    teams=[
                        {"key": line.strip().lower().replace(" ", "_"), "name": line.strip(), "description": ""}
                        for line in teams.splitlines()
                        if line.strip()
                    ],
                )
