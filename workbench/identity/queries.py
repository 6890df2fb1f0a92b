"""Reads over people, projects and keys."""

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.identity.models import ApiKey, Person, Project, RoleGrant


def list_projects(session: Session) -> list[Project]:
    """Every project, by name."""
    return list(session.exec(select(Project).order_by(Project.name)))


def project_by_key(session: Session, key: str) -> Project:
    """A project by its key.

    Raises:
        NotFound
    """
    project = session.exec(select(Project).where(Project.key == key)).first()
    if project is None:
        known = ", ".join(p.key for p in list_projects(session)) or "none yet"
        raise NotFound(f"There is no project {key!r}.", why=f"Projects: {known}.")
    return project


def list_people(session: Session) -> list[Person]:
    """Every account, by name."""
    return list(session.exec(select(Person).order_by(Person.name)))


def person_by_email(session: Session, email: str) -> Person:
    """A person by address.

    Raises:
        NotFound
    """
    person = session.exec(select(Person).where(Person.email == email.strip().lower())).first()
    if person is None:
        raise NotFound(f"There is no account {email}.", todo="`workbench users list` shows them.")
    return person


def names_of(session: Session, person_ids: set[str]) -> dict[str, str]:
    """Printed names by person id."""
    rows = session.exec(select(Person.id, Person.name).where(col(Person.id).in_(person_ids)))
    return dict(rows.all())


def grants_of(session: Session, person_id: str) -> list[RoleGrant]:
    """Every role a person holds."""
    return list(session.exec(select(RoleGrant).where(RoleGrant.person_id == person_id).order_by(RoleGrant.role)))


def list_keys(session: Session, project_id: str) -> list[ApiKey]:
    """A project's API keys, newest first."""
    return list(session.exec(select(ApiKey).where(ApiKey.project_id == project_id).order_by(col(ApiKey.created_at).desc())))
