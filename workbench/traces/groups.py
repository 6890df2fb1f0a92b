"""Traces by conversation or by end user: which of them a filter hits, the newest hit first, in keyset pages.

The list of traces is walked from its newest end along its index, until enough different groups have turned up. So a first page
costs the same whether there are a thousand traces or a million.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Date, cast, func, select
from sqlmodel import Session

from workbench.traces import positions
from workbench.traces.filters import TraceFilter, conditions_of
from workbench.traces.models import Trace
from workbench.traces.store import table

By = Literal["session_id", "user_id"]

LOW = 2
"""A rating of this or lower counts as low."""

_TRACE = table(Trace)
_AT_ONCE = 400
_MOST_LEFT_OUT = 500


@dataclass(frozen=True)
class GroupPage:
    """One page of groups."""

    keys: list[str] = field(default_factory=list)
    """Session or user ids."""
    next: str | None = None
    """Give it as `after` for the page that follows; None at the end."""


@dataclass
class Tally:
    """What is counted over the traces of one session or user."""

    traces: int
    rated: int
    low: int
    """Of these, rated LOW or lower."""
    failed: int
    lowest: float | None
    """The lowest rating, 1 to 5."""
    first_at: datetime
    last_at: datetime
    """When the last trace began."""
    groups: int
    """Of a user, sessions; of a session, users."""


@dataclass
class Names:
    """What the traces of a session have had, the commonest first."""

    users: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)


def newest(
    session: Session, project_id: str, by: By, filters: TraceFilter, *, after: str | None = None, limit: int = 50
) -> GroupPage:
    """Sessions or users of which the filter hits a trace, by the newest trace that it hits.

    Raises:
        InvalidInput: an `after` that no page gave.
    """
    column = _TRACE.c[by]
    hit = conditions_of(session, project_id, filters)
    begin = positions.read(after, moment=True) if after is not None else None
    place, found, left_out = begin, dict[str, tuple[datetime, int]](), list[str]()
    while len(found) <= limit:
        # What has turned up is passed over by the database, so that a session of a thousand turns is one step of the walk.
        seen = [*found, *left_out[-_MOST_LEFT_OUT:]]
        behind = positions.behind(_TRACE.c.started_at, _TRACE.c.id, place, descending=True) if place else []
        statement = select(column, _TRACE.c.started_at, _TRACE.c.id).where(*hit, column > "", *behind)
        if seen:
            statement = statement.where(column.not_in(seen))
        order = (_TRACE.c.started_at.desc(), _TRACE.c.id.desc())
        rows = session.execute(statement.order_by(*order).limit(_AT_ONCE)).all()
        fresh: dict[str, tuple[datetime, int]] = {}
        for key, at, row_id in rows:
            fresh.setdefault(key, (at, row_id))
        earlier = _hit_before(session, hit, column, fresh, begin)
        found.update({key: at for key, at in fresh.items() if key not in earlier})
        left_out += earlier
        if len(rows) < _AT_ONCE:
            break
        place = (rows[-1][1], rows[-1][2])
    keys = list(found)[:limit]
    return GroupPage(keys, positions.spell(*found[keys[-1]]) if len(found) > limit else None)


def _hit_before(
    session: Session, hit: list[Any], column: Any, keys: dict[str, Any], begin: tuple[datetime, int] | None
) -> list[str]:
    """Of these groups, those that a page before has shown: the filter hits a newer trace of theirs."""
    if begin is None or not keys:
        return []
    at, row_id = begin
    newer = [_TRACE.c.started_at >= at, (_TRACE.c.started_at > at) | (_TRACE.c.id >= row_id)]
    return list(session.execute(select(column).where(*hit, *newer, column.in_(list(keys))).distinct()).scalars())


def exist(session: Session, project_id: str, by: By) -> bool:
    """Whether the project has a trace that names a session, or a user."""
    column = _TRACE.c[by]
    return (
        session.execute(select(_TRACE.c.id).where(_TRACE.c.project_id == project_id, column > "").limit(1)).first() is not None
    )


def tallies(session: Session, project_id: str, by: By, keys: Sequence[str]) -> dict[str, Tally]:
    """What all traces of these sessions or users add up to; an index holds everything that is counted."""
    column, rating, started = _TRACE.c[by], _TRACE.c.rating, _TRACE.c.started_at
    other = _TRACE.c.session_id if by == "user_id" else _TRACE.c.user_id
    statement = select(
        column, func.count(), func.count(rating), func.sum(_one(rating <= LOW)), func.sum(_one(_TRACE.c.status == "error")),
        func.min(rating), func.min(started), func.max(started), func.count(other.distinct()),
    ).where(_TRACE.c.project_id == project_id, column.in_(list(keys)))  # fmt: skip
    return {key: Tally(*counted) for key, *counted in session.execute(statement.group_by(column))}


def names(session: Session, project_id: str, session_ids: Sequence[str]) -> dict[str, Names]:
    """Users, languages and releases of sessions."""
    column = _TRACE.c.session_id
    kinds = (_TRACE.c.user_id, _TRACE.c.language, _TRACE.c.release)
    statement = select(column, func.count(), *kinds).where(_TRACE.c.project_id == project_id, column.in_(list(session_ids)))
    counts: dict[str, list[Counter[str]]] = {}
    for key, traces, *values in session.execute(statement.group_by(column, *kinds)):
        for counted, value in zip(counts.setdefault(key, [Counter(), Counter(), Counter()]), values, strict=True):
            if value:
                counted[value] += traces
    return {key: Names(*([value for value, _ in one.most_common()] for one in counted)) for key, counted in counts.items()}


def _one(condition: Any) -> Any:
    return func.coalesce(condition.cast(_TRACE.c.span_count.type), 0)


def counts_of_days(
    session: Session, project_id: str, by: By, keys: Sequence[str], since: datetime
) -> dict[str, dict[date, tuple[int, int]]]:
    """Key → UTC day → (traces, low-rated traces) from `since` on."""
    column, started = _TRACE.c[by], _TRACE.c.started_at
    sqlite = session.get_bind().dialect.name == "sqlite"
    day = func.date(started) if sqlite else cast(func.timezone("UTC", started), Date)
    statement = select(column, day, func.count(), func.sum(_one(_TRACE.c.rating <= LOW))).where(
        _TRACE.c.project_id == project_id, column.in_(list(keys)), started >= since
    )
    found: dict[str, dict[date, tuple[int, int]]] = {}
    for key, when, traces, low in session.execute(statement.group_by(column, day)):
        found.setdefault(key, {})[date.fromisoformat(str(when))] = (traces, low or 0)
    return found


def texts_at(
    session: Session, project_id: str, places: Sequence[tuple[str, datetime]]
) -> dict[tuple[str, datetime], list[tuple[str, str, str | None]]]:
    """(session id, time) → (question, answer, error), their beginnings, of the traces that began just then."""
    found: dict[tuple[str, datetime], list[tuple[str, str, str | None]]] = {}
    column, started = _TRACE.c.session_id, _TRACE.c.started_at
    texts = (_TRACE.c.input_preview, _TRACE.c.output_preview, _TRACE.c.error)
    wanted = list(dict.fromkeys(places))
    for start in range(0, len(wanted), _AT_ONCE):
        part = set(wanted[start : start + _AT_ONCE])
        # Two lists, not one of pairs: SQLite looks only the former up in the index.
        near = (column.in_({key for key, _ in part}), started.in_({at for _, at in part}))
        rows = select(column, started, *texts).where(_TRACE.c.project_id == project_id, *near).order_by(_TRACE.c.id)
        for key, at, question, answer, error in session.execute(rows):
            if (key, at) in part:
                found.setdefault((key, at), []).append((question, answer, error))
    return found
