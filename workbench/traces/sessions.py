"""Sessions as conversations: a list of them, and one turn after turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlmodel import Session, col

from workbench.core.errors import NotFound
from workbench.traces import groups
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import Names, Tally
from workbench.traces.models import Feedback, Trace
from workbench.traces.store import table

TURNS = 50
"""Turns of a conversation on one page."""

_TRACE = table(Trace)
_COLUMNS = (
    "id", "trace_id", "user_id", "started_at", "duration_ms", "status", "error", "language", "release", "rating",
    "machine_written", "tool_calls", "input", "output",
)  # fmt: skip


@dataclass(frozen=True)
class SessionSummary:
    """A session as lists show it."""

    session_id: str
    tally: Tally
    names: Names
    question: str
    """The beginning of the first question."""
    answer: str
    """The beginning of the last answer, or the error that came instead."""


@dataclass(frozen=True)
class SessionPage:
    """One page of a list."""

    rows: list[SessionSummary]
    next: str | None


@dataclass(frozen=True)
class Turn:
    """A trace as a turn of its conversation."""

    id: int
    trace_id: str
    user_id: str | None
    started_at: datetime
    duration_ms: float
    status: str
    error: str | None
    language: str | None
    release: str | None
    rating: float | None
    machine_written: bool
    tool_calls: list[dict[str, Any]]
    input: str
    output: str


@dataclass(frozen=True)
class Conversation:
    """A stretch of a session."""

    session_id: str
    tally: Tally
    names: Names
    turns: list[Turn]
    """Oldest first."""
    offset: int
    """Turns before these."""
    release_before: str | None
    """The last release that answered before these."""


def list_sessions(
    session: Session, project_id: str, filters: TraceFilter | None = None, *, after: str | None = None, limit: int = 50
) -> SessionPage:
    """Sessions of which the filter hits a turn, the newest such turn first. Each row is about the whole session.

    Raises:
        InvalidInput: an `after` that no page gave.
    """
    found = groups.newest(session, project_id, "session_id", filters or TraceFilter(), after=after, limit=limit)
    return SessionPage(summaries(session, project_id, found.keys), found.next)


def summaries(session: Session, project_id: str, session_ids: Sequence[str]) -> list[SessionSummary]:
    """Sessions as lists show them, in the order given; those without traces are left out."""
    counted = groups.tallies(session, project_id, "session_id", session_ids)
    named = groups.names(session, project_id, list(counted))
    places = [(key, at) for key, tally in counted.items() for at in (tally.first_at, tally.last_at)]
    said = groups.texts_at(session, project_id, places)
    rows = []
    for key in session_ids:
        if key in counted:
            first, last = said[(key, counted[key].first_at)][0], said[(key, counted[key].last_at)][-1]
            rows.append(SessionSummary(key, counted[key], named[key], first[0], last[1] or last[2] or ""))
    return rows


def conversation(session: Session, project_id: str, session_id: str, *, offset: int = 0, limit: int = TURNS) -> Conversation:
    """The turns of a session from `offset` on, and what all of it adds up to.

    Raises:
        NotFound: no trace of the project names the session.
    """
    tally = groups.tallies(session, project_id, "session_id", [session_id]).get(session_id)
    if tally is None:
        raise NotFound(f"There is no session {session_id[:64]} in this project.", todo="Check the id and the project.")
    offset = max(0, min(offset, tally.traces - 1))
    # The turn before the first one tells whether the release changed between them.
    ids = select(_TRACE.c.id).where(_TRACE.c.project_id == project_id, _TRACE.c.session_id == session_id)
    ids = ids.order_by(_TRACE.c.started_at, _TRACE.c.id).offset(max(0, offset - 1)).limit(limit + (offset > 0))
    wanted = list(session.execute(ids).scalars())
    rows = select(*(_TRACE.c[name] for name in _COLUMNS)).where(_TRACE.c.id.in_(wanted))
    turns = [Turn(*row) for row in session.execute(rows.order_by(_TRACE.c.started_at, _TRACE.c.id))]
    before = turns.pop(0).release if offset and turns else None
    named = groups.names(session, project_id, [session_id])[session_id]
    return Conversation(session_id, tally, named, turns, offset, before)


def said_of(session: Session, project_id: str, session_id: str, trace_ids: Sequence[str]) -> list[Feedback]:
    """What was said about these turns, and about their session as a whole, oldest first."""
    whole = col(Feedback.trace_id).is_(None) & (col(Feedback.session_id) == session_id)
    about = or_(col(Feedback.trace_id).in_(list(trace_ids)), whole)
    statement = select(Feedback).where(col(Feedback.project_id) == project_id, about)
    return list(session.execute(statement.order_by(col(Feedback.at), col(Feedback.id))).scalars())
