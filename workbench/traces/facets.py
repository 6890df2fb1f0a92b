"""The values of columns with counts, for choosing among them.

The counts of whole days are kept beside the traces, in the transaction that changes a trace, so that reading them costs the
same whether there are a thousand traces or a million.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, Date, Select, Text, bindparam, cast, delete, func, literal, select, text
from sqlmodel import Session

from workbench.core.clock import now
from workbench.core.database import TRACES
from workbench.core.unit_of_work import Context
from workbench.traces.filters import FACETS, TraceFilter, conditions_of
from workbench.traces.models import Trace, TraceFacet, TraceTag, TraceTool
from workbench.traces.store import table, upsert

COUNTED = (*FACETS, "tag", "tool")
"""What has counts."""

EDGE = 5_000
"""Traces of a day that is only partly asked for, up to which they are counted one by one."""

_TRACE, _FACET = table(Trace), table(TraceFacet)
_READY = "traces.facets_ready"
_AT_ONCE = 400

Key = tuple[str, str]
"""Project id and trace id."""
Counts = Counter[tuple[str, str, str, str]]
"""(project id, day, name, value) → traces."""


@dataclass(frozen=True)
class Facets:
    """Values with counts, the commonest first, for each of COUNTED."""

    values: dict[str, list[tuple[str, int]]]
    exact: bool = True
    """False: a day at the edge of the period is counted whole."""


def facets(
    session: Session, project_id: str, filters: TraceFilter | None = None, *, limit: int = 50
) -> dict[str, list[tuple[str, int]]]:
    """For each of COUNTED: its values with counts, the commonest first, within the filter."""
    return facets_within(session, project_id, filters, limit=limit).values


def facets_within(session: Session, project_id: str, filters: TraceFilter | None = None, *, limit: int = 50) -> Facets:
    """The same, and whether the counts are exact: a period alone is answered from counts of days."""
    filters = filters or TraceFilter()
    if not filters.is_period or not _has_counts(session, project_id):
        return Facets(_grouped(session, project_id, filters, limit))
    first, last, edges = _days(filters.since, filters.until)
    sums: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
    exact = True
    for since, until in edges:
        within = TraceFilter(since=since, until=until)
        few = select(_TRACE.c.id).where(*conditions_of(session, project_id, within)).limit(EDGE + 1)
        if int(session.execute(select(func.count()).select_from(few.subquery())).scalar_one()) <= EDGE:
            for name, counted in _grouped(session, project_id, within, 10_000).items():
                sums[name].update(dict(counted))
        else:
            exact = False
            day = since.date().isoformat() if since else ""
            _add_days(session, project_id, sums, day, day)
    if last is None or first is None or first <= last:
        _add_days(session, project_id, sums, first, last)
    return Facets({name: _commonest(sums[name], limit) for name in COUNTED}, exact)


def counts_by_day(session: Session, project_id: str, *, days: int = 30) -> list[tuple[date, int, int]]:
    """(UTC day, traces, traces rated 2 or lower) for each of the last `days` days, today last."""
    today = now().date()
    first = today - timedelta(days=days - 1)
    started = _TRACE.c.started_at
    day = func.date(started) if session.get_bind().dialect.name == "sqlite" else cast(func.timezone("UTC", started), Date)
    within = select(day, func.count()).where(_TRACE.c.project_id == project_id, started >= _midnight(first)).group_by(day)
    every = within
    if _has_counts(session, project_id):
        of_project = (_FACET.c.project_id == project_id, _FACET.c.name == "status")  # which every trace has one of
        every = select(_FACET.c.day, func.sum(_FACET.c.count)).where(*of_project, _FACET.c.day >= first.isoformat())
        every = every.group_by(_FACET.c.day)
    asked = (every, within.where(_TRACE.c.rating <= 2))
    traces, low = ({str(row[0]): int(row[1]) for row in session.execute(one)} for one in asked)
    wanted = [first + timedelta(days=number) for number in range(days)]
    return [(one, traces.get(one.isoformat(), 0), low.get(one.isoformat(), 0)) for one in wanted]


def _has_counts(session: Session, project_id: str) -> bool:
    return session.execute(select(_FACET.c.value).where(_FACET.c.project_id == project_id).limit(1)).first() is not None


def _commonest(counts: Counter[str], limit: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:limit]


def _days(
    since: datetime | None, until: datetime | None
) -> tuple[str | None, str | None, list[tuple[datetime | None, datetime | None]]]:
    """The first and the last whole day of a period, and what is left of it before and after."""
    first = since.astimezone(UTC) if since else None
    begin = _midnight(first) if first else None
    if begin and first and begin < first:
        begin += timedelta(days=1)
    end = _midnight(until.astimezone(UTC)) if until else None
    if begin and end and begin > end:  # within one day
        return "9", "0", [(since, until)]
    edges: list[tuple[datetime | None, datetime | None]] = []
    if begin and first and first < begin:
        edges.append((first, begin))
    if end and until and end < until:
        edges.append((end, until))
    last = (end - timedelta(days=1)).date().isoformat() if end else None
    return begin.date().isoformat() if begin else None, last, edges


def _midnight(moment: date) -> datetime:
    day = moment.date() if isinstance(moment, datetime) else moment
    return datetime.combine(day, time(tzinfo=UTC))


def _add_days(session: Session, project_id: str, sums: dict[str, Counter[str]], first: str | None, last: str | None) -> None:
    counted = select(_FACET.c.name, _FACET.c.value, func.sum(_FACET.c.count)).where(_FACET.c.project_id == project_id)
    if first is not None:
        counted = counted.where(_FACET.c.day >= first)
    if last is not None:
        counted = counted.where(_FACET.c.day <= last)
    for name, value, count in session.execute(counted.group_by(_FACET.c.name, _FACET.c.value)):
        if name in sums:
            sums[name][value] += int(count)


def _grouped(session: Session, project_id: str, filters: TraceFilter, limit: int) -> dict[str, list[tuple[str, int]]]:
    """Counted now, by the database."""
    conditions = conditions_of(session, project_id, filters)
    found: dict[str, list[tuple[str, int]]] = {}
    for name in FACETS:
        column = _TRACE.c[name]
        statement = select(column, func.count()).where(*conditions, column.is_not(None)).group_by(column)
        found[name] = _counted(session, statement, limit)
    for name, model in (("tag", TraceTag), ("tool", TraceTool)):
        words = table(model)
        joined = words.join(_TRACE, (_TRACE.c.project_id == words.c.project_id) & (_TRACE.c.trace_id == words.c.trace_id))
        statement = select(words.c[name], func.count()).select_from(joined).where(*conditions).group_by(words.c[name])
        found[name] = _counted(session, statement, limit)
    return found


def _counted(session: Session, statement: Select[Any], limit: int) -> list[tuple[str, int]]:
    rows = session.execute(statement.order_by(func.count().desc()).limit(limit)).all()
    return [(str(value), int(count)) for value, count in rows]


# -------------------------------------------------------------------------------------------------------- keeping the counts


def prepare(context: Context) -> None:
    """Count what was stored before there were counts; once in the life of a process, and mostly nothing to do."""
    if context.extras.get(_READY):
        return
    with context.database.session() as session:
        empty = not are_kept(session.connection())
        traces = session.execute(select(_TRACE.c.id).limit(1)).first() is not None
    if empty and traces:
        rebuild(context)
    context.extras[_READY] = True


def rebuild(context: Context) -> None:
    """Count everything anew."""
    sqlite = context.database.dialect == "sqlite"
    started = _TRACE.c.started_at
    day = func.date(started) if sqlite else func.to_char(func.timezone("UTC", started), "YYYY-MM-DD")
    each = "json_each" if sqlite else "jsonb_array_elements_text"
    tags = f"SELECT t.project_id, {{day}}, 'tag', j.value, count(*) FROM {TRACES}.trace t, {each}(t.tags) j"  # noqa: S608
    spelled = "date(t.started_at)" if sqlite else "to_char(timezone('UTC', t.started_at), 'YYYY-MM-DD')"
    columns = ["project_id", "day", "name", "value", "count"]
    with context.database.turns.writing(), context.database.ingesting.begin() as connection:
        one_at_a_time(connection)
        connection.execute(delete(_FACET))
        for name in FACETS:
            value = _TRACE.c[name]
            grouped = select(_TRACE.c.project_id, day, literal(name), cast(value, Text), func.count())
            grouped = grouped.where(value.is_not(None)).group_by(_TRACE.c.project_id, day, value)
            connection.execute(_FACET.insert().from_select(columns, grouped))
        into = f"INSERT INTO {TRACES}.trace_facet (project_id, day, name, value, count) "
        if sqlite:
            connection.exec_driver_sql(into + tags.format(day=spelled) + " GROUP BY 1, 2, 4")
        else:
            named = tags.replace("j.value", "j").format(day=spelled)
            connection.exec_driver_sql(into + named + " GROUP BY 1, 2, 4")
        tool = table(TraceTool)
        joined = tool.join(_TRACE, (_TRACE.c.project_id == tool.c.project_id) & (_TRACE.c.trace_id == tool.c.trace_id))
        grouped = select(tool.c.project_id, day, literal("tool"), tool.c.tool, func.count()).select_from(joined)
        connection.execute(_FACET.insert().from_select(columns, grouped.group_by(tool.c.project_id, day, tool.c.tool)))


def are_kept(connection: Connection) -> bool:
    """Whether there are counts to keep in step; without any, `prepare` counts all traces as they are then."""
    return connection.execute(select(_FACET.c.value).limit(1)).first() is not None


def one_at_a_time(connection: Connection) -> None:
    """With PostgreSQL several processes may assemble; whoever moves counts waits for the one before."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('trace_facet', 0))"))


def counts_of(connection: Connection, keys: Iterable[Key], names: Collection[str] = COUNTED) -> Counts:
    """What these traces add to the counts, as they are stored now.

    Args:
        names: of COUNTED; whoever changes nothing else need not count more.
    """
    counts: Counts = Counter()
    by_project: dict[str, list[str]] = {}
    for project_id, trace_id in keys:
        by_project.setdefault(project_id, []).append(trace_id)
    tool = table(TraceTool).c
    read = [name for name in FACETS if name in names]
    columns = [_TRACE.c.trace_id, _TRACE.c.started_at, _TRACE.c.tags, *(_TRACE.c[name] for name in read)]
    for project_id, trace_ids in by_project.items():
        for start in range(0, len(trace_ids), _AT_ONCE):
            part = trace_ids[start : start + _AT_ONCE]
            rows = select(*columns).where(_TRACE.c.project_id == project_id, _TRACE.c.trace_id.in_(part))
            days: dict[str, str] = {}
            for trace_id, started, tags, *values in connection.execute(rows):
                day = days[trace_id] = started.astimezone(UTC).date().isoformat()
                if "tag" in names:
                    counts.update((project_id, day, "tag", tag) for tag in set(tags))
                counts.update(
                    (project_id, day, name, value) for name, value in zip(read, values, strict=True) if value is not None
                )
            if "tool" in names:
                named = select(tool.trace_id, tool.tool).where(tool.project_id == project_id, tool.trace_id.in_(part))
                counts.update(
                    (project_id, days[trace_id], "tool", word)
                    for trace_id, word in connection.execute(named)
                    if trace_id in days
                )
    return counts


def _more(old: Any, new: Any) -> dict[str, Any]:
    return {"count": old["count"] + new["count"]}


def move(connection: Connection, context: Context, before: Counts, after: Counts) -> None:
    """Bring the kept counts from `before` to `after`."""
    change = Counter(after)
    change.subtract(before)
    rows: list[dict[str, Any]] = [
        {"project_id": project_id, "day": day, "name": name, "value": value, "count": by}
        for (project_id, day, name, value), by in sorted(change.items())
        if by
    ]
    if not rows:
        return
    connection.execute(upsert(context, TraceFacet, ("project_id", "day", "name", "value"), _more), rows)
    fewer = [{"p": row["project_id"], "d": row["day"], "n": row["name"], "v": row["value"]} for row in rows if row["count"] < 0]
    if fewer:
        gone = delete(_FACET).where(
            _FACET.c.project_id == bindparam("p"), _FACET.c.day == bindparam("d"), _FACET.c.name == bindparam("n"),
            _FACET.c.value == bindparam("v"), _FACET.c.count <= 0,
        )  # fmt: skip
        connection.execute(gone, fewer)
