"""The traces that an act is about: some that were selected, or all hits of a filter, fixed at the click."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session

from workbench.core.canonical import hash_bytes
from workbench.core.errors import InvalidInput
from workbench.traces.models import Trace
from workbench.traces.queries import TraceFilter, conditions_of
from workbench.traces.store import table

_TRACE = table(Trace).c

MAX_CHOSEN = 1000
"""Traces that may be named one by one."""


@dataclass(frozen=True)
class Hits:
    """A set of traces that later arrivals do not join."""

    filters: TraceFilter = field(default_factory=TraceFilter)
    up_to: int = 0
    """Row id of the newest trace that was there."""
    chosen: tuple[str, ...] = ()
    """Trace ids; when there are any, the filter does not count."""

    def conditions(self, session: Session, project_id: str) -> list[Any]:
        """The set as conditions on the trace table."""
        if self.chosen:
            return [_TRACE.project_id == project_id, _TRACE.trace_id.in_(self.chosen)]
        return [*conditions_of(session, project_id, self.filters), _TRACE.id <= self.up_to]

    def count(self, session: Session, project_id: str, *more: Any) -> int:
        """How many there are, exactly.

        Args:
            more: further conditions on the trace table.
        """
        statement = select(func.count()).select_from(table(Trace)).where(*self.conditions(session, project_id), *more)
        return int(session.execute(statement).scalar_one())

    def ids(self, session: Session, project_id: str, *, limit: int | None = None) -> list[str]:
        """Their trace ids, newest first."""
        statement = select(_TRACE.trace_id).where(*self.conditions(session, project_id))
        statement = statement.order_by(_TRACE.started_at.desc(), _TRACE.id.desc()).limit(limit)
        return list(session.execute(statement).scalars())

    def as_json(self) -> dict[str, Any]:
        """What a job's spec holds."""
        if self.chosen:
            return {"chosen": list(self.chosen)}
        return {"up_to": self.up_to, "filters": filter_as_json(self.filters)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Hits":
        """The set that `as_json` wrote."""
        if value.get("chosen"):
            return cls(chosen=tuple(value["chosen"]))
        return cls(filter_from_json(value["filters"]), int(value["up_to"]))


def all_hits(session: Session, project_id: str, filters: TraceFilter) -> Hits:
    """Everything that the filter hits now."""
    newest = session.execute(select(func.max(_TRACE.id)).where(_TRACE.project_id == project_id)).scalar()
    return Hits(filters, int(newest or 0))


def chosen(trace_ids: Sequence[str]) -> Hits:
    """Just these traces.

    Raises:
        InvalidInput: none, or too many.
    """
    found = tuple(dict.fromkeys(trace_ids))
    if not found or len(found) > MAX_CHOSEN:
        raise InvalidInput(f"1 to {MAX_CHOSEN:,} traces can be named one by one.", todo="Use a filter for more.")
    return Hits(chosen=found)


def hash_of(trace_ids: Sequence[str]) -> str:
    """The hash that names a set of traces: over their sorted ids, one a line."""
    return hash_bytes("\n".join(sorted(trace_ids)).encode())


def filter_as_json(filters: TraceFilter) -> dict[str, Any]:
    """The fields of a filter that narrow; times as {"at": ISO 8601}."""
    found: dict[str, Any] = {}
    for one in fields(filters):
        value = getattr(filters, one.name)
        if value != one.default:
            found[one.name] = {"at": value.isoformat()} if isinstance(value, datetime) else value
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def filter_from_json(value: Mapping[str, Any]) -> TraceFilter:
    """The filter that `filter_as_json` wrote."""

    def read(one: Any) -> Any:
        if isinstance(one, dict):
            return datetime.fromisoformat(one["at"])
        return tuple(one) if isinstance(one, list) else one

    return TraceFilter(**{name: read(one) for name, one in value.items()})


def filter_for_ledger(filters: TraceFilter, salt: str) -> dict[str, Any]:
    """The filter as an audit event may hold it: words that were typed may be an end user's, so only their commitment."""
    return {
        name: hash_bytes(f"{salt}:{value}".encode()) if isinstance(value, str) else value
        for name, value in filter_as_json(filters).items()
    }
