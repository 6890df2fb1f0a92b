"""Reads over traces for pages, commands and other stages."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import FromClause, Subquery, Text, cast, func, or_, select, type_coerce
from sqlmodel import Session, col

from workbench.core.errors import InvalidInput, NotFound
from workbench.traces import positions
from workbench.traces.dialects import DIALECTS, SpanKind
from workbench.traces.facets import facets as facets
from workbench.traces.filters import FACETS as FACETS
from workbench.traces.filters import TraceFilter as TraceFilter
from workbench.traces.filters import conditions_of as conditions_of
from workbench.traces.models import NANOS, Feedback, RejectedSpan, Span, SpanSource, Trace
from workbench.traces.store import table

COUNT_LIMIT = 10_000
"""Beyond this a total is only known to be more."""

_TRACE = table(Trace)

SORTS: dict[str, tuple[Any, bool]] = {
    "newest": (_TRACE.c.started_at, True),
    "oldest": (_TRACE.c.started_at, False),
    "lowest rated": (_TRACE.c.rating, False),
    "slowest": (_TRACE.c.duration_ms, True),
    "costliest": (_TRACE.c.cost_nanos, True),
    "least certain": (_TRACE.c.uncertainty, True),
}
"""Name → column, and whether the highest come first. Traces without the value are left out."""


@dataclass(frozen=True)
class Ranking:
    """An order of traces by a number that another stage keeps, the highest first. Traces without a number are left out."""

    name: str
    numbers: Subquery
    """Columns `trace_id` and `value`; a trace at most once."""


Sort = str | Ranking
"""A name of SORTS, or an order by another stage's numbers."""


@dataclass(frozen=True)
class TraceSummary:
    """A trace as lists show it: short columns and the beginnings of its texts."""

    id: int
    trace_id: str
    session_id: str | None
    user_id: str | None
    name: str
    started_at: datetime
    duration_ms: float
    status: str
    error: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_nanos: int | None
    currency: str
    language: str | None
    release: str | None
    prompt_version: str | None
    corpus_commit: str | None
    intent: str | None
    triage_label: str | None
    uncertainty: float | None
    rating: float | None
    feedback_count: int
    has_correction: bool
    dialect: str
    span_count: int
    mask_counts: dict[str, int]
    """Type → how many different values were masked."""
    tags: list[str]
    input_preview: str
    output_preview: str

    @property
    def cost(self) -> Decimal | None:
        return None if self.cost_nanos is None else Decimal(self.cost_nanos) / NANOS


_SUMMARY = [_TRACE.c[one.name] for one in fields(TraceSummary)]


@dataclass(frozen=True)
class TracePage:
    """One page of a list."""

    rows: list[TraceSummary] = field(default_factory=list)
    next: str | None = None
    """Give it as `after` for the page that follows; None at the end."""
    total: int | None = None
    """Hits in all, up to COUNT_LIMIT; None when not asked for."""
    total_is_exact: bool = True
    ranked: dict[str, float] = field(default_factory=dict)
    """Trace id → its number, where the order is a Ranking."""


def get_trace(session: Session, project_id: str, trace_id: str) -> Trace:
    """A trace with everything that its spans said.

    Raises:
        NotFound
    """
    statement = select(Trace).where(col(Trace.project_id) == project_id, col(Trace.trace_id) == trace_id.lower())
    trace: Trace | None = session.execute(statement).scalars().first()
    if trace is None:
        raise NotFound(
            f"There is no trace {trace_id[:64]} in this project.",
            todo="A trace can be read within a second or two of its arrival; check the id and the project.",
        )
    return trace


def traces_by_id(session: Session, project_id: str, trace_ids: Sequence[str]) -> dict[str, Trace]:
    """Traces by their trace id; those that do not exist are missing."""
    found: dict[str, Trace] = {}
    wanted = list(dict.fromkeys(trace_ids))
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        statement = select(Trace).where(col(Trace.project_id) == project_id, col(Trace.trace_id).in_(part))
        found.update({trace.trace_id: trace for trace in session.execute(statement).scalars()})
    return found


def list_traces(
    session: Session,
    project_id: str,
    filters: TraceFilter | None = None,
    *,
    sort: Sort = "newest",
    after: str | None = None,
    limit: int = 50,
    count: bool = False,
) -> TracePage:
    """A page of traces.

    Args:
        sort: a name of SORTS, or a Ranking.
        after: the `next` of the page before.
        limit: rows, at most 1000.
        count: also count the hits (bounded by COUNT_LIMIT).

    Raises:
        InvalidInput: unknown sort, or an `after` that no page gave.
    """
    column, descending, tables = _ordered_by(sort)
    filters = filters or TraceFilter()
    conditions = conditions_of(session, project_id, filters)
    if not isinstance(sort, Ranking) and column.nullable:
        conditions.append(column.is_not(None))
    if after is not None:
        place = positions.read(after, moment=column is _TRACE.c.started_at)
        conditions += positions.behind(column, _TRACE.c.id, place, descending=descending)
    order = (column.desc(), _TRACE.c.id.desc()) if descending else (column.asc(), _TRACE.c.id.asc())
    size = max(1, min(limit, 1000))
    # First which, from an index alone; then their rows, which are long.
    which = select(_TRACE.c.id, column).select_from(tables).where(*conditions).order_by(*order).limit(size + 1)
    values: dict[int, Any] = dict(session.execute(which).tuples().all())
    chosen = list(values)[:size]
    found = {row.id: TraceSummary(*row) for row in session.execute(select(*_SUMMARY).where(_TRACE.c.id.in_(chosen)))}
    made = TracePage(
        [found[row_id] for row_id in chosen], positions.spell(values[chosen[-1]], chosen[-1]) if len(values) > size else None
    )
    if isinstance(sort, Ranking):
        made = replace(made, ranked={row.trace_id: values[row.id] for row in made.rows})
    if not count:
        return made
    total = count_traces(session, project_id, filters)
    return replace(made, total=min(total, COUNT_LIMIT), total_is_exact=total <= COUNT_LIMIT)


def _ordered_by(sort: Sort) -> tuple[Any, bool, FromClause]:
    """The column, whether the highest come first, and the tables that have it."""
    if isinstance(sort, Ranking):
        return sort.numbers.c.value, True, _TRACE.join(sort.numbers, sort.numbers.c.trace_id == _TRACE.c.trace_id)
    if sort not in SORTS:
        raise InvalidInput(f"There is no order {sort!r}.", todo="Orders are " + ", ".join(SORTS) + ".")
    return *SORTS[sort], _TRACE


def traces_among(
    session: Session, project_id: str, trace_ids: Sequence[str], filters: TraceFilter | None = None
) -> list[TraceSummary]:
    """Of these traces, at most 1000, those that the filter hits, in the order given."""
    wanted = list(dict.fromkeys(trace_ids))[:1000]
    conditions = conditions_of(session, project_id, filters or TraceFilter())
    rows = session.execute(select(*_SUMMARY).where(_TRACE.c.trace_id.in_(wanted), *conditions)).all()
    found = {row.trace_id: TraceSummary(*row) for row in rows}
    return [found[trace_id] for trace_id in wanted if trace_id in found]


def count_traces(session: Session, project_id: str, filters: TraceFilter | None = None) -> int:
    """How many traces the filter hits; COUNT_LIMIT + 1 stands for more."""
    inner = select(_TRACE.c.id).where(*conditions_of(session, project_id, filters or TraceFilter())).limit(COUNT_LIMIT + 1)
    return int(session.execute(select(func.count()).select_from(inner.subquery())).scalar_one())


def trace_ids(session: Session, project_id: str, filters: TraceFilter, *, limit: int = 10_000) -> list[str]:
    """The ids of all hits, newest first."""
    statement = select(_TRACE.c.trace_id).where(*conditions_of(session, project_id, filters))
    statement = statement.order_by(_TRACE.c.started_at.desc(), _TRACE.c.id.desc()).limit(limit)
    return list(session.execute(statement).scalars())


def spans_of(session: Session, project_id: str, trace_id: str, *, limit: int = 5000, offset: int = 0) -> list[Span]:
    """A trace's spans by start."""
    statement = (
        select(Span)
        .where(col(Span.project_id) == project_id, col(Span.trace_id) == trace_id.lower())
        .order_by(col(Span.started_ns), col(Span.id))
        .offset(offset)
        .limit(limit)
    )
    return list(session.execute(statement).scalars())


class SpanBar(NamedTuple):
    """A span as a timeline draws it."""

    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    """See dialects.SpanKind."""
    started_ns: int
    ended_ns: int
    status: str


def timeline(session: Session, project_id: str, trace_id: str) -> list[SpanBar]:
    """Every span of a trace by start, without its attributes: a trace may have tens of thousands."""
    attributes = col(Span.attributes)
    if session.get_bind().dialect.name == "sqlite":  # one value with all of them reads three times as fast as one each
        said: Any = func.json_extract(attributes, *(f'$."{name}"' for name in _KIND_ATTRIBUTES))
    else:
        said = cast(func.jsonb_build_array(*(attributes[name] for name in _KIND_ATTRIBUTES)), Text)
    columns: list[Any] = [Span.span_id, Span.parent_span_id, Span.name, type_coerce(said, Text)]
    statement = (
        select(*columns, Span.started_ns, Span.ended_ns, Span.status)  # type: ignore[call-overload]
        .where(col(Span.project_id) == project_id, col(Span.trace_id) == trace_id.lower())
        .order_by(col(Span.started_ns), col(Span.id))
    )
    return [
        SpanBar(span_id, parent, name, _kind_of(kinds), started, ended, status)
        for span_id, parent, name, kinds, started, ended, status in session.connection().execute(statement)
    ]


_KIND_ATTRIBUTES = {name: kinds for dialect in DIALECTS for name, kinds in dialect.kinds.items() if "" not in kinds}


@lru_cache(maxsize=1024)
def _kind_of(said: str) -> str:
    """The kind that a JSON list of the values of _KIND_ATTRIBUTES says."""
    for value, kinds in zip(json.loads(said), _KIND_ATTRIBUTES.values(), strict=True):
        if isinstance(value, str) and (kind := kinds.get(value.strip('"').lower())):
            return kind.value
    return SpanKind.OTHER.value


def get_span(session: Session, project_id: str, trace_id: str, span_id: str) -> Span:
    """One span, whole.

    Raises:
        NotFound
    """
    statement = select(Span).where(
        col(Span.project_id) == project_id, col(Span.trace_id) == trace_id.lower(), col(Span.span_id) == span_id.lower()
    )
    found: Span | None = session.execute(statement).scalars().first()
    if found is None:
        raise NotFound(f"There is no span {span_id[:32]} in this trace.")
    return found


def attribute_in(session: Session, project_id: str, trace_id: str, name: str) -> str | None:
    """A text attribute's value on the first of a trace's spans that has it."""
    value = col(Span.attributes)[name].as_string()
    statement = select(value).where(
        col(Span.project_id) == project_id, col(Span.trace_id) == trace_id.lower(), value.is_not(None)
    )
    found: str | None = session.execute(statement.order_by(col(Span.started_ns), col(Span.id)).limit(1)).scalar()
    return found


def spans_with_text(session: Session, project_id: str, trace_id: str, text: str, *, limit: int = 10_000) -> list[str]:
    """The ids of a trace's spans that have the text in name, status, attributes or events, in any case, or as their id."""
    inside = json.dumps(text, ensure_ascii=False)[1:-1]  # as JSON spells it
    places = [col(column).icontains(text, autoescape=True) for column in (Span.name, Span.status_message)]
    places.append(col(Span.span_id) == text.lower())
    places += [cast(column, Text).icontains(inside, autoescape=True) for column in (col(Span.attributes), col(Span.events))]
    statement = (
        select(col(Span.span_id))
        .where(col(Span.project_id) == project_id, col(Span.trace_id) == trace_id.lower(), or_(*places))
        .order_by(col(Span.started_ns), col(Span.id))
        .limit(limit)
    )
    return list(session.execute(statement).scalars())


def neighbours(
    session: Session, project_id: str, filters: TraceFilter, trace: Trace, *, sort: Sort = "newest"
) -> tuple[str | None, str | None]:
    """The trace ids before and after this trace in the filtered list; None at its ends, or when it has no place in the list."""
    column, descending, tables = _ordered_by(sort)
    value = session.execute(select(column).select_from(tables).where(_TRACE.c.id == trace.id)).scalar()
    if value is None:
        return None, None
    assert trace.id is not None  # it was read
    conditions = [*conditions_of(session, project_id, filters), column.is_not(None)]
    found: list[str | None] = []
    for forward in (False, True):
        down = descending is forward
        behind = positions.behind(column, _TRACE.c.id, (value, trace.id), descending=down)
        order = (column.desc(), _TRACE.c.id.desc()) if down else (column.asc(), _TRACE.c.id.asc())
        statement = select(_TRACE.c.trace_id).select_from(tables).where(*conditions, *behind).order_by(*order).limit(1)
        found.append(session.execute(statement).scalar())
    return found[0], found[1]


def sources_of(session: Session, spans: Sequence[Span]) -> dict[str, SpanSource]:
    """The resources and scopes of spans, by source id."""
    statement = select(SpanSource).where(col(SpanSource.id).in_({span.source_id for span in spans}))
    return {source.id: source for source in session.execute(statement).scalars()}


def feedback_of(session: Session, project_id: str, trace_id: str) -> list[Feedback]:
    """What was said about a trace, oldest first, and about its session as a whole."""
    said = col(Feedback.trace_id) == trace_id
    session_id = session.execute(
        select(_TRACE.c.session_id).where(_TRACE.c.project_id == project_id, _TRACE.c.trace_id == trace_id)
    ).scalar()
    if session_id:
        said = said | (col(Feedback.trace_id).is_(None) & (col(Feedback.session_id) == session_id))
    statement = select(Feedback).where(col(Feedback.project_id) == project_id, said)
    return list(session.execute(statement.order_by(col(Feedback.at), col(Feedback.id))).scalars())


class Turn(NamedTuple):
    """A trace as one turn of its conversation, without the messages and passages that each turn carries anew."""

    id: int
    trace_id: str
    started_at: datetime
    status: str
    error: str | None
    rating: float | None
    input: str
    output: str


def session_turns(session: Session, project_id: str, session_id: str, *, limit: int = 200) -> list[Turn]:
    """The turns of a conversation, oldest first; of a very long one the last `limit`."""
    statement = (
        select(*(_TRACE.c[name] for name in Turn._fields))
        .where(_TRACE.c.project_id == project_id, _TRACE.c.session_id == session_id)
        .order_by(_TRACE.c.started_at.desc(), _TRACE.c.id.desc())
        .limit(limit)
    )
    return [Turn(*row) for row in reversed(session.execute(statement).all())]


def rejected_spans(session: Session, project_id: str, *, limit: int = 100) -> list[RejectedSpan]:
    """What could not be taken, newest first."""
    statement = (
        select(RejectedSpan)
        .where(col(RejectedSpan.project_id) == project_id)
        .order_by(col(RejectedSpan.received_at).desc(), col(RejectedSpan.id).desc())
        .limit(limit)
    )
    return list(session.execute(statement).scalars())
