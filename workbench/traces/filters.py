"""Which traces: a filter over every column, and the conditions that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import case, exists, func, select
from sqlmodel import Session, col

from workbench.traces import search
from workbench.traces.cluster_models import TraceClusterMember
from workbench.traces.masking.models import MaskedValue
from workbench.traces.models import NANOS, Trace, TraceTag, TraceTool
from workbench.traces.store import table

_TRACE = table(Trace)
_IN, _OUT = _TRACE.c.input_tokens, _TRACE.c.output_tokens

FACETS = (
    "model", "release", "language", "status", "triage_label", "intent", "environment", "dialect", "provider", "operation",
    "prompt_version", "corpus_commit",
)  # fmt: skip
"""Columns with few different values, which a filter chooses among."""


class Range(NamedTuple):
    """A number that a filter bounds."""

    column: Any
    scale: int = 1
    """Units of the column in one unit of the filter."""


RANGES: dict[str, Range] = {
    "rating": Range(_TRACE.c.rating),
    "cost": Range(_TRACE.c.cost_nanos, NANOS),
    "latency": Range(_TRACE.c.duration_ms),
    "tokens": Range(case((_OUT.is_(None), _IN), (_IN.is_(None), _OUT), else_=_IN + _OUT)),
    "spans": Range(_TRACE.c.span_count),
    "uncertainty": Range(_TRACE.c.uncertainty),
}
"""Name → what is bounded by the fields `NAME_min` and `NAME_max`. A trace without the value is in no range."""

HAS: dict[str, Any] = {
    "session": _TRACE.c.session_id.is_not(None),
    "user": _TRACE.c.user_id.is_not(None),
    "model": _TRACE.c.model.is_not(None),
    "release": _TRACE.c.release.is_not(None),
    "prompt_version": _TRACE.c.prompt_version.is_not(None),
    "corpus_commit": _TRACE.c.corpus_commit.is_not(None),
    "language": _TRACE.c.language.is_not(None),
    "intent": _TRACE.c.intent.is_not(None),
    "triage_label": _TRACE.c.triage_label.is_not(None),
    "rating": _TRACE.c.rating.is_not(None),
    "cost": _TRACE.c.cost_nanos.is_not(None),
    "tokens": func.coalesce(_IN, _OUT).is_not(None),
    "documents": _TRACE.c.document_count > 0,
    "tools": _TRACE.c.tool_count > 0,
    "tags": exists(
        select(col(TraceTag.tag))
        .where(col(TraceTag.project_id) == _TRACE.c.project_id, col(TraceTag.trace_id) == _TRACE.c.trace_id)
        .correlate(_TRACE)
    ),
    "masked_values": exists(
        select(col(MaskedValue.scope))
        .where(col(MaskedValue.project_id) == _TRACE.c.project_id, col(MaskedValue.scope) == _TRACE.c.trace_id)
        .correlate(_TRACE)
    ),
}
"""What a trace may have or lack → the condition that it has it; never NULL."""


@dataclass(frozen=True)
class TraceFilter:
    """Which traces. Every field narrows; a tuple means any of its values, unless it says otherwise."""

    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    text: str = ""
    """A substring of question, answer or tool name, in any case."""
    model: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    triage_label: tuple[str, ...] = ()
    intent: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    dialect: tuple[str, ...] = ()
    provider: tuple[str, ...] = ()
    operation: tuple[str, ...] = ()
    prompt_version: tuple[str, ...] = ()
    corpus_commit: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    """All of these tags."""
    tag_any: tuple[str, ...] = ()
    tag_none: tuple[str, ...] = ()
    """None of these tags."""
    tool: tuple[str, ...] = ()
    """Name of a tool that was called."""
    session: str | None = None
    user: str | None = None
    cluster: str | None = None
    """Id of a TraceCluster."""
    rating_min: float | None = None
    """1 to 5."""
    rating_max: float | None = None
    cost_min: float | None = None
    """In the trace's currency."""
    cost_max: float | None = None
    latency_min: float | None = None
    """Milliseconds."""
    latency_max: float | None = None
    tokens_min: float | None = None
    """Input and output together."""
    tokens_max: float | None = None
    spans_min: float | None = None
    spans_max: float | None = None
    uncertainty_min: float | None = None
    """0 to 1; of the triage."""
    uncertainty_max: float | None = None
    has_feedback: bool | None = None
    has_correction: bool | None = None
    has_error: bool | None = None
    """Whether any span failed, even where the trace as a whole did not."""
    machine_written: bool | None = None
    has: tuple[str, ...] = ()
    """All of these; names of HAS."""
    lacks: tuple[str, ...] = ()
    """None of these; names of HAS."""

    @property
    def is_empty(self) -> bool:
        return self == TraceFilter()

    @property
    def is_period(self) -> bool:
        """Whether nothing but the time narrows."""
        return all(getattr(self, one.name) == one.default for one in fields(self) if one.name not in ("since", "until"))


def conditions_of(session: Session, project_id: str, filters: TraceFilter) -> list[Any]:
    """The filter as conditions on the trace table."""
    conditions: list[Any] = [_TRACE.c.project_id == project_id]
    if filters.since is not None:
        conditions.append(_TRACE.c.started_at >= filters.since)
    if filters.until is not None:
        conditions.append(_TRACE.c.started_at < filters.until)
    for name in FACETS:
        values = getattr(filters, name)
        if values:
            conditions.append(_TRACE.c[name] == values[0] if len(values) == 1 else _TRACE.c[name].in_(values))
    if filters.session:
        conditions.append(_TRACE.c.session_id == filters.session)
    if filters.user:
        conditions.append(_TRACE.c.user_id == filters.user)
    if filters.cluster:
        member = table(TraceClusterMember).c
        conditions.append(_TRACE.c.trace_id.in_(select(member.trace_id).where(member.cluster_id == filters.cluster)))
    conditions += _ranges(filters)
    if filters.has_feedback is not None:
        conditions.append(_TRACE.c.feedback_count > 0 if filters.has_feedback else _TRACE.c.feedback_count == 0)
    if filters.has_correction is not None:
        conditions.append(_TRACE.c.has_correction.is_(filters.has_correction))
    if filters.has_error is not None:
        conditions.append(_TRACE.c.error_count > 0 if filters.has_error else _TRACE.c.error_count == 0)
    if filters.machine_written is not None:
        conditions.append(_TRACE.c.machine_written.is_(filters.machine_written))
    conditions += [HAS[name] for name in filters.has if name in HAS]
    conditions += [~HAS[name] for name in filters.lacks if name in HAS]
    conditions += [_with(TraceTag, project_id, TraceTag.tag, (tag,)) for tag in filters.tag]
    if filters.tag_any:
        conditions.append(_with(TraceTag, project_id, TraceTag.tag, filters.tag_any))
    if filters.tag_none:
        conditions.append(~_with(TraceTag, project_id, TraceTag.tag, filters.tag_none))
    if filters.tool:
        conditions.append(_with(TraceTool, project_id, TraceTool.tool, filters.tool))
    if filters.text.strip():
        conditions.append(search.contains(session, filters.text))
    return conditions


def _ranges(filters: TraceFilter) -> list[Any]:
    conditions = []
    for name, (column, scale) in RANGES.items():
        low, high = getattr(filters, f"{name}_min"), getattr(filters, f"{name}_max")
        if low is not None:
            conditions.append(column >= (round(low * scale) if scale > 1 else low))
        if high is not None:
            conditions.append(column <= (round(high * scale) if scale > 1 else high))
    return conditions


def _with(model: Any, project_id: str, word: Any, values: tuple[str, ...]) -> Any:
    """That the trace has one of the words in the table of the model."""
    named = col(word) == values[0] if len(values) == 1 else col(word).in_(values)
    found = select(col(model.trace_id)).where(
        col(model.project_id) == project_id, named, col(model.trace_id) == _TRACE.c.trace_id
    )
    return exists(found.correlate(_TRACE))


def bounded(name: str, value: Any) -> float | None:
    """A bound of a range of RANGES, or None where it cannot be one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    low, high = _BOUNDS.get(name, (0.0, 1e12))
    # Beyond what a database holds as an integer a bound says nothing either.
    return number if low <= number <= (min(high, 1e9) if RANGES[name].scale > 1 else high) else None


_BOUNDS: Mapping[str, tuple[float, float]] = {"rating": (1, 5), "uncertainty": (0, 1)}
