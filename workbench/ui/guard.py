"""Who looks at the page: the session cookie checked against the database, on every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st
from sqlmodel import Session

from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, Permission
from workbench.core.errors import NotSignedIn
from workbench.core.unit_of_work import Context
from workbench.identity.models import Project
from workbench.identity.policy import allowed
from workbench.identity.queries import list_projects
from workbench.identity.service import actor_of_session

COOKIE = "workbench_session"
_CHOSEN = "chosen_project_id"


@dataclass(frozen=True)
class Visit:
    """A signed-in person on a page of one project."""

    services: Services
    actor: Actor
    project: Project
    projects: tuple[Project, ...]
    """Projects this person has a role in."""

    @property
    def context(self) -> Context:
        return self.services.context

    def can(self, permission: Permission) -> bool:
        """Whether to offer an act; the service checks again when it is done."""
        return allowed(self.actor, permission, self.project.id)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read-only session over this project."""
        with self.context.reading(self.actor, self.project.id) as session:
            yield session


@st.cache_resource(show_spinner=False)
def services() -> Services:
    """The process's services, made once."""
    return bootstrap()


def session_token() -> str | None:
    """The session cookie of this browser."""
    value = st.context.cookies.get(COOKIE)
    return str(value) if value else None


def visit() -> Visit:
    """The visit of this run.

    Raises:
        NotSignedIn: the session has ended; main.py shows the way back.
    """
    with services().context.database.session() as session:
        actor = actor_of_session(session, session_token())
        mine = tuple(p for p in list_projects(session) if allowed(actor, Permission.READ_PROJECT, p.id))
    if not mine:
        raise NotSignedIn("You have no role in any project yet.", todo="Ask an admin for one.")
    chosen = st.session_state.get(_CHOSEN)
    project = next((p for p in mine if p.id == chosen), mine[0])
    return Visit(services(), actor, project, mine)


def choose_project(project_id: str) -> None:
    """Look at another project from now on, in this browser tab."""
    st.session_state[_CHOSEN] = project_id
