"""The admin page's people: accounts, roles, passwords."""

import pandas as pd
import streamlit as st

from workbench.core.actors import Role
from workbench.identity.models import Person
from workbench.identity.policy import ROLE_PERMISSIONS
from workbench.identity.queries import grants_of, list_people
from workbench.identity.service import MINIMUM_PASSWORD
from workbench.ui import page
from workbench.ui.guard import Visit


def people(visit: Visit) -> None:
    """Accounts with their roles in this project; one is chosen to change it."""
    with visit.read() as session:
        accounts = list_people(session)
        roles = {
            person.id: sorted({g.role for g in grants_of(session, person.id) if g.project_id in (None, visit.project.id)})
            for person in accounts
        }
    table = pd.DataFrame(
        {
            "Name": [p.name for p in accounts],
            "E-mail": [p.email for p in accounts],
            "Roles here": [roles[p.id] for p in accounts],
            "State": ["active" if p.active else "suspended" for p in accounts],
        }
    )
    chosen = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="admin_people_table",
        column_config={"Roles here": st.column_config.ListColumn()},
    )
    rows = chosen.selection.rows
    left, right = st.columns(2, gap="large")
    with left:
        if rows and rows[0] < len(accounts):
            _change(visit, accounts[rows[0]], roles[accounts[rows[0]].id])
        else:
            st.caption("Choose a row to change a person's roles, password or state.")
    with right:
        _add(visit)
    with st.expander("What each role may do"):
        st.dataframe(
            pd.DataFrame(
                {
                    "Role": [role.value for role in ROLE_PERMISSIONS],
                    "May": [sorted(p.value for p in permissions) for permissions in ROLE_PERMISSIONS.values()],
                }
            ),
            hide_index=True,
        )


def _change(visit: Visit, person: Person, held: list[str]) -> None:
    page.plain(person.name)
    with st.form(f"admin_roles_{person.id}"):
        wanted = st.pills(
            "Roles in this project",
            [role.value for role in Role],
            selection_mode="multi",
            default=held,
            key=f"admin_roles_choice_{person.id}",
        )
        if st.form_submit_button("Save roles", type="primary"):
            with page.acting("Roles saved."):
                _save_roles(visit, person, set(held), set(wanted or []))
            st.rerun()
    with st.form(f"admin_password_{person.id}", clear_on_submit=True):
        password = st.text_input("New password", type="password", key=f"admin_password_text_{person.id}")
        st.caption("A new password makes a new signing key and ends the person's sessions. Older signatures stay valid.")
        if st.form_submit_button("Set password"):
            with page.acting("Password set."):
                visit.services.identity.set_password(visit.actor, person.id, password)
    with st.form(f"admin_state_{person.id}"):
        reason = st.text_input("Reason", key=f"admin_state_reason_{person.id}", placeholder="Kept in the audit record")
        if st.form_submit_button("Suspend" if person.active else "Restore"):
            with page.acting("Done."):
                visit.services.identity.set_active(visit.actor, person.id, not person.active, reason=reason)
            st.rerun()


def _save_roles(visit: Visit, person: Person, held: set[str], wanted: set[str]) -> None:
    identity = visit.services.identity
    for role in sorted(wanted - held):
        identity.grant(visit.actor, person.id, Role(role), visit.project.id)
    with visit.read() as session:
        grants = grants_of(session, person.id)
    for grant in grants:
        if grant.role in held - wanted and grant.project_id in (None, visit.project.id):
            identity.revoke(visit.actor, person.id, Role(grant.role), grant.project_id)


def _add(visit: Visit) -> None:
    with st.form("admin_add_person", clear_on_submit=True, enter_to_submit=False):
        st.markdown("**Add a person**")
        email = st.text_input("E-mail", key="admin_add_email")
        name = st.text_input("Name, as printed beside signatures", key="admin_add_name")
        password = st.text_input(
            f"First password, {MINIMUM_PASSWORD} characters or more", type="password", key="admin_add_password"
        )
        roles = st.pills("Roles in this project", [role.value for role in Role], selection_mode="multi", key="admin_add_roles")
        if st.form_submit_button("Add person", type="primary"):
            with page.acting("Account added."):
                person = visit.services.identity.add_person(visit.actor, email=email, name=name, password=password)
                for role in roles or []:
                    visit.services.identity.grant(visit.actor, person.id, Role(role), visit.project.id)
