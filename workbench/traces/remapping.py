"""Reading stored spans again after a mapping changed: in the background, in batches, from where it was when a process dies."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from workbench.core.clock import now
from workbench.core.unit_of_work import Context
from workbench.traces.coverage_models import Remap
from workbench.traces.dialects import MAPPING_VERSION
from workbench.traces.models import Trace, TracePending
from workbench.traces.own_mapping import current
from workbench.traces.store import table, touch


@dataclass(frozen=True)
class RemapState:
    """How far the last re-reading of a project is."""

    remap: Remap
    waiting: int
    """Traces that are marked and wait to be read, whatever for."""

    @property
    def is_running(self) -> bool:
        return self.remap.done_at is None or self.waiting > 0


def is_stale(session: Session, project_id: str) -> bool:
    """Whether any stored trace was read with an older mapping."""
    version = _own_version(session, project_id)
    statement = select(Trace.id).where(Trace.project_id == project_id, _older(version)).limit(1)
    return session.exec(statement).first() is not None


def state(session: Session, project_id: str) -> RemapState | None:
    """The last re-reading that was asked for; None where there was none."""
    found = session.exec(
        select(Remap).where(Remap.project_id == project_id).order_by(col(Remap.at).desc(), col(Remap.id).desc()).limit(1)
    ).first()
    if found is None:
        return None
    waiting = session.exec(select(func.count()).select_from(TracePending).where(TracePending.project_id == project_id)).one()
    return RemapState(found, int(waiting))


def go_on(context: Context, limit: int = 200) -> int:
    """Mark the next traces of the oldest unfinished re-reading to be assembled again; returns how many were looked at.

    The place it has come to is stored in the same transaction, so that a crash neither skips nor repeats a batch.
    """
    with context.database.session() as session:
        if session.exec(select(Remap.id).where(col(Remap.done_at).is_(None)).limit(1)).first() is None:
            return 0
    with context.database.turns.writing(), Session(context.database.ingesting) as session, session.begin():
        open_ = select(Remap).where(col(Remap.done_at).is_(None)).order_by(col(Remap.at), col(Remap.id)).limit(1)
        if context.database.dialect == "postgresql":
            open_ = open_.with_for_update(skip_locked=True)
        remap = session.exec(open_).first()
        if remap is None:
            return 0
        shown = table(Trace).c
        version = _own_version(session, remap.project_id)
        rows = (
            session.connection()
            .execute(
                select(shown.id, shown.trace_id, _older(version))
                .where(shown.project_id == remap.project_id, shown.id > remap.after_id)
                .order_by(shown.id)
                .limit(limit)
            )
            .all()
        )
        old = {row[1] for row in rows if row[2]}
        touch(session, context, remap.project_id, old)
        kept = table(Remap)
        changes: dict[str, Any] = {"looked_at": remap.looked_at + len(rows), "touched": remap.touched + len(old)}
        changes |= {"after_id": rows[-1][0]} if rows else {"done_at": now()}
        session.connection().execute(update(kept).where(kept.c.id == remap.id).values(**changes))
        return max(1, len(rows))


def _own_version(session: Session, project_id: str) -> int:
    found = current(session, project_id)
    return found.version if found else 0


def _older(own_version: int) -> Any:
    shown = table(Trace).c
    return (shown.mapping_version != MAPPING_VERSION) | (shown.project_mapping != own_version)
