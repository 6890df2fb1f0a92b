"""Reads of adapters and fine-tunes for pages and other stages."""

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.core.jobs import Job, list_jobs
from workbench.tuning.models import Adapter

TUNE = "tune"
"""Kind of the jobs that make adapters."""


def adapters(session: Session, project_id: str, kind: str | None = None) -> list[Adapter]:
    """Adapters of the project, newest first."""
    statement = select(Adapter).where(Adapter.project_id == project_id)
    if kind is not None:
        statement = statement.where(Adapter.kind == kind)
    return list(session.exec(statement.order_by(col(Adapter.created_at).desc(), col(Adapter.id).desc())))


def get_adapter(session: Session, adapter_id: str, project_id: str | None = None) -> Adapter:
    """The adapter with this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    found = session.get(Adapter, adapter_id)
    if found is None or project_id not in (None, found.project_id):
        raise NotFound(f"There is no adapter with the id {adapter_id!r}.")
    return found


def by_hash(session: Session, project_id: str, content_hash: str) -> Adapter | None:
    """The first adapter made with these bytes, None when the project has none."""
    statement = select(Adapter).where(Adapter.project_id == project_id, Adapter.content_hash == content_hash)
    return session.exec(statement.order_by(col(Adapter.created_at)).limit(1)).first()


def by_job(session: Session, job_id: str) -> Adapter | None:
    """The adapter that a job made."""
    return session.exec(select(Adapter).where(Adapter.job_id == job_id)).first()


def fine_tunes(session: Session, project_id: str, *, limit: int = 50) -> list[Job]:
    """Jobs that fine-tune, newest first."""
    return [job for job in list_jobs(session, project_id, kinds=[TUNE], limit=limit) if job.project_id == project_id]
