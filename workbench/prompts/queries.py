"""Reads over prompt versions."""

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.prompts.models import PromptVersion


def by_hash(session: Session, project_id: str, content_hash: str) -> PromptVersion:
    """A prompt version by its content hash.

    Raises:
        NotFound: the project has none with this hash.
    """
    version = session.exec(
        select(PromptVersion)
        .where(PromptVersion.project_id == project_id, PromptVersion.content_hash == content_hash)
        .order_by(col(PromptVersion.created_at))
    ).first()
    if version is None:
        raise NotFound(f"There is no prompt version {content_hash[:19]}… in this project.")
    return version


def list_versions(session: Session, project_id: str, name: str | None = None) -> list[PromptVersion]:
    """Prompt versions, by name and newest first."""
    statement = select(PromptVersion).where(PromptVersion.project_id == project_id)
    if name is not None:
        statement = statement.where(PromptVersion.name == name)
    return list(session.exec(statement.order_by(PromptVersion.name, col(PromptVersion.number).desc())))


def newest(session: Session, project_id: str, name: str) -> PromptVersion | None:
    """The newest version of a name; None when there is none."""
    found = list_versions(session, project_id, name)
    return found[0] if found else None
