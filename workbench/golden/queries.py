"""Reads of golden sets for pages and for checks."""

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.golden.formats import text_of
from workbench.golden.models import GoldenCase, GoldenSet


def get_set(session: Session, golden_set_id: str, project_id: str | None = None) -> GoldenSet:
    """The golden set version with this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    found = session.get(GoldenSet, golden_set_id)
    if found is None or project_id not in (None, found.project_id):
        raise NotFound(f"There is no golden set with the id {golden_set_id!r}.")
    return found


def list_sets(session: Session, project_id: str, *, task: str | None = None, newest_only: bool = False) -> list[GoldenSet]:
    """Golden set versions by name, newest first."""
    statement = select(GoldenSet).where(GoldenSet.project_id == project_id)
    if task is not None:
        statement = statement.where(GoldenSet.task == task)
    versions = list(session.exec(statement.order_by(col(GoldenSet.name), col(GoldenSet.number).desc())))
    if newest_only:
        first: dict[str, GoldenSet] = {}
        for version in versions:
            first.setdefault(version.name, version)
        return list(first.values())
    return versions


def newest(session: Session, project_id: str, name: str) -> GoldenSet | None:
    """The version with the highest number, None when the name is unknown."""
    statement = select(GoldenSet).where(GoldenSet.project_id == project_id, GoldenSet.name == name)
    return session.exec(statement.order_by(col(GoldenSet.number).desc()).limit(1)).first()


def cases(session: Session, golden_set_id: str) -> list[GoldenCase]:
    """The cases of a version in order."""
    statement = select(GoldenCase).where(GoldenCase.golden_set_id == golden_set_id)
    return list(session.exec(statement.order_by(col(GoldenCase.position))))


def texts(session: Session, project_id: str) -> list[str]:
    """Texts and questions of all cases of all versions of the project, each once: what may never be trained on."""
    rows = session.exec(select(GoldenCase.content).where(GoldenCase.project_id == project_id).order_by(col(GoldenCase.id)))
    return list(dict.fromkeys(text for content in rows if (text := text_of(content))))
