"""End users, by the pseudonym that the application sends, and the way of one through sessions and releases."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from sqlalchemy import select
from sqlmodel import Session

from workbench.core.clock import now
from workbench.core.errors import NotFound
from workbench.traces import groups
from workbench.traces.cluster_models import ClusterRun, TraceCluster, TraceClusterMember
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import LOW, Tally
from workbench.traces.models import Trace
from workbench.traces.store import table

WEEKS = 12
MOST = 5_000
"""Traces of one user that a journey is made of, the newest ones."""

_TRACE = table(Trace)

Week = tuple[date, int, int]
"""(Monday, traces, of these rated LOW or lower)."""


@dataclass(frozen=True)
class UserSummary:
    """A user as lists show them."""

    user_id: str
    tally: Tally
    weeks: list[Week]
    """The last WEEKS weeks, this one last."""


@dataclass(frozen=True)
class UserPage:
    """One page of a list."""

    rows: list[UserSummary]
    next: str | None


@dataclass
class Visit:
    """The traces of one session that are the user's, or a single trace that names no session."""

    session_id: str | None
    first_at: datetime
    last_at: datetime
    trace_ids: list[str] = field(default_factory=list)
    """Oldest first."""
    rated: int = 0
    low: int = 0
    failed: int = 0
    lowest: float | None = None
    releases: list[str] = field(default_factory=list)
    """In the order in which the user met them."""


@dataclass(frozen=True)
class Met:
    """A release that answered the user."""

    release: str
    first_at: datetime
    traces: int
    rated: int
    low: int


@dataclass(frozen=True)
class Journey:
    """Everything about one user."""

    user_id: str
    tally: Tally
    weeks: list[Week]
    visits: list[Visit]
    """Oldest first."""
    releases: list[Met]
    """In the order in which the user met them."""
    left_out: int
    """Traces older than the MOST that it is made of."""


def list_users(
    session: Session, project_id: str, filters: TraceFilter | None = None, *, after: str | None = None, limit: int = 50
) -> UserPage:
    """Users of whom the filter hits a trace, the newest such trace first. Each row is about all of their traces.

    Raises:
        InvalidInput: an `after` that no page gave.
    """
    found = groups.newest(session, project_id, "user_id", filters or TraceFilter(), after=after, limit=limit)
    counted = groups.tallies(session, project_id, "user_id", found.keys)
    days = groups.counts_of_days(session, project_id, "user_id", found.keys, _monday(WEEKS - 1))
    return UserPage([UserSummary(key, counted[key], _weeks(days.get(key, {}))) for key in found.keys], found.next)


def journey(session: Session, project_id: str, user_id: str) -> Journey:
    """The way of one user.

    Raises:
        NotFound: no trace of the project names the user.
    """
    tally = groups.tallies(session, project_id, "user_id", [user_id]).get(user_id)
    if tally is None:
        raise NotFound(f"There is no user {user_id[:64]} in this project.", todo="Check the id and the project.")
    columns = (_TRACE.c[name] for name in ("trace_id", "session_id", "started_at", "rating", "status", "release"))
    rows = select(*columns).where(_TRACE.c.project_id == project_id, _TRACE.c.user_id == user_id)
    newest = session.execute(rows.order_by(_TRACE.c.started_at.desc(), _TRACE.c.id.desc()).limit(MOST)).all()
    visits: dict[str, Visit] = {}
    met: dict[str, Met] = {}
    for trace_id, session_id, at, rating, status, release in reversed(newest):
        visit = visits.setdefault(f"s{session_id}" if session_id else f"t{trace_id}", Visit(session_id or None, at, at))
        low = rating is not None and rating <= LOW
        visit.last_at = at
        visit.trace_ids.append(trace_id)
        visit.rated, visit.low = visit.rated + (rating is not None), visit.low + low
        visit.failed += status == "error"
        if rating is not None:
            visit.lowest = rating if visit.lowest is None else min(rating, visit.lowest)
        if release:
            if release not in visit.releases:
                visit.releases.append(release)
            seen = met.get(release) or Met(release, at, 0, 0, 0)
            met[release] = Met(release, seen.first_at, seen.traces + 1, seen.rated + (rating is not None), seen.low + low)
    days = groups.counts_of_days(session, project_id, "user_id", [user_id], _monday(WEEKS - 1))
    return Journey(
        user_id, tally, _weeks(days.get(user_id, {})), list(visits.values()), list(met.values()),
        max(0, tally.traces - len(newest)),
    )  # fmt: skip


def changes(releases: Sequence[Met]) -> list[tuple[Met, Met]]:
    """Releases one after the other, as far as both were rated: what was rated low before and after."""
    return [(old, new) for old, new in pairwise(releases) if old.rated and new.rated]


def topics_of(session: Session, project_id: str, trace_ids: Sequence[str]) -> dict[str, TraceCluster]:
    """Trace id → the group of low-rated traces that it is in, of the newest grouping that has it."""
    member, cluster, run = table(TraceClusterMember).c, table(TraceCluster).c, table(ClusterRun).c
    found: dict[str, TraceCluster] = {}
    for start in range(0, len(trace_ids), 500):
        statement = (
            select(member.trace_id, TraceCluster)
            .join(TraceCluster, cluster.id == member.cluster_id)
            .join(ClusterRun, run.id == cluster.run_id)
            .where(run.project_id == project_id, member.trace_id.in_(trace_ids[start : start + 500]))
            .order_by(run.made_at, cluster.id)
        )
        found.update(dict(session.execute(statement).tuples().all()))
    return found


def _monday(weeks_ago: int) -> datetime:
    today = now().date()
    day = today - timedelta(days=today.weekday() + 7 * weeks_ago)
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _weeks(days: dict[date, tuple[int, int]]) -> list[Week]:
    first = _monday(WEEKS - 1).date()
    weeks = [(first + timedelta(days=7 * number), 0, 0) for number in range(WEEKS)]
    for day, (traces, low) in days.items():
        number = (day - first).days // 7
        if 0 <= number < WEEKS:
            monday, before, low_before = weeks[number]
            weeks[number] = (monday, before + traces, low_before + low)
    return weeks
