"""Writing traces: spans in bulk, several requests in one commit, every commit with its audit event.

A request is acknowledged when its spans are on disk. What readers see (the assembled trace, text search) is made right after
by `indexer.py`, so that an acknowledgement never waits for it.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table, false, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.database import TRACES
from workbench.core.ids import new_id
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.traces.decoded import Decoded
from workbench.traces.masking.draft import Draft
from workbench.traces.masking.numbering import settle
from workbench.traces.models import RejectedSpan, Span, SpanSource, TracePending


@dataclass(slots=True)
class Batch:
    """One request's spans on their way to the disk."""

    actor: Actor
    project_id: str
    decoded: Decoded
    body_hash: str
    draft: Draft
    """The same spans masked; it numbers what it found when they are written."""
    permissions: tuple[Permission, ...] = (Permission.INGEST_TRACES,)
    """Any one of these suffices."""
    origin: str = "otlp"
    """otlp, import or gateway."""
    new_spans: int = 0
    error: Exception | None = None
    done: bool = False


@dataclass
class _Waiting:
    lock: threading.Lock = field(default_factory=threading.Lock)
    batches: list[Batch] = field(default_factory=list)


class GroupWriter:
    """Commits batches of concurrent requests together: one flush to disk acknowledges all of them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._waiting = _Waiting()

    def write(self, batch: Batch) -> None:
        """Store a batch durably; returns when it is committed.

        Raises:
            NotAllowed, or what the database says: nothing of this batch was stored.
        """
        self.write_all([batch])
        if batch.error is not None:
            raise batch.error

    def write_all(self, batches: Sequence[Batch]) -> None:
        """Store batches durably, together; what one of them cannot be stored for is its `error`."""
        batches = [batch for batch in batches if batch.decoded.spans or batch.decoded.rejected]
        if not batches:
            return
        with self._waiting.lock:
            self._waiting.batches += batches
        with self.context.database.turns.writing():  # whoever holds it first carries everybody who waits
            if not all(batch.done for batch in batches):
                with self._waiting.lock:
                    group, self._waiting.batches = self._waiting.batches, []
                self._commit(group)

    def _commit(self, group: list[Batch]) -> None:
        try:
            self._transaction(group)
        except Exception as error:
            if len(group) == 1:
                group[0].error = error
            else:  # one bad batch must not take the others down
                for batch in group:
                    self._commit([batch])
        finally:
            for batch in group:
                batch.done = True

    def _transaction(self, group: list[Batch]) -> None:
        with self.context.trace_unit_of_work(group[0].actor) as work:
            by_sender: dict[tuple[str, str, str], list[Batch]] = {}
            for batch in group:
                work.actor = batch.actor
                require_any(work, batch.permissions, batch.project_id)
            settle(work.session, self.context, [batch.draft for batch in group])
            _insert(work.session, self.context, group)
            for batch in group:
                by_sender.setdefault((batch.actor.id, batch.project_id, batch.origin), []).append(batch)
            for (_, project_id, origin), batches in by_sender.items():
                work.actor = batches[0].actor
                rejected = sum(len(batch.decoded.rejected) for batch in batches)
                spans = sum(len(batch.decoded.spans) for batch in batches)
                if spans or rejected:
                    new = sum(batch.new_spans for batch in batches)
                    work.record(
                        "traces.ingested",
                        subject=("trace_batch", new_id()),
                        project_id=project_id,
                        origin=origin,
                        spans=new,
                        repeated=spans - new,
                        rejected=rejected,
                        traces=len({span.trace_id for batch in batches for span in batch.decoded.spans}),
                        bodies=[batch.body_hash for batch in batches],
                    )


def require_any(work: UnitOfWork, permissions: Sequence[Permission], project_id: str) -> None:
    """Return when the actor holds one of the permissions; otherwise the last one's refusal is raised."""
    *others, last = permissions
    for permission in others:
        try:
            work.require(permission, project_id)
            return
        except Exception:  # noqa: S112 - the next permission may suffice
            continue
    work.require(last, project_id)


def _insert(session: Session, context: Context, group: Sequence[Batch]) -> None:
    connection, moment = session.connection(), now()
    sources = {source.id: source for batch in group if batch.decoded.spans for source in batch.decoded.sources.values()}
    if sources:
        rows = [{"id": source.id, "resource": source.resource, "scope": source.scope} for source in sources.values()]
        connection.execute(insert_new(context, SpanSource), rows)
    changed: dict[str, set[str]] = {}
    for batch in group:
        if batch.decoded.spans:
            batch.new_spans = max(0, _insert_spans(connection, context, batch, moment))
            if batch.new_spans:
                changed.setdefault(batch.project_id, set()).update(span.trace_id for span in batch.decoded.spans)
        if batch.decoded.rejected:
            _insert_rejected(connection, context, batch, moment)
    for project_id, trace_ids in changed.items():
        touch(session, context, project_id, trace_ids)


def _insert_rejected(connection: Connection, context: Context, batch: Batch, moment: datetime) -> None:
    rows = [
        {
            "id": new_id(),
            "project_id": batch.project_id,
            "reason": rejection.reason,
            "trace_id": rejection.trace_id,
            "span_id": rejection.span_id,
            "name": rejection.name,
            "sent_by": batch.actor.name,
            "received_at": moment,
            "raw": rejection.raw,
        }
        for rejection in batch.decoded.rejected
    ]
    connection.execute(insert(context, RejectedSpan), rows)


_SPAN_COLUMNS = (
    "project_id", "trace_id", "span_id", "parent_span_id", "source_id", "name", "kind", "started_ns", "ended_ns", "status",
    "status_message", "received_at", "attributes", "events", "links", "extra", "mask_policy",
)  # fmt: skip


def _insert_spans(connection: Connection, context: Context, batch: Batch, moment: datetime) -> int:
    """Insert a batch's spans; returns how many are new."""
    project_id, policy = batch.project_id, batch.draft.policy.version
    if connection.dialect.name != "sqlite":
        rows = [
            (
                project_id, span.trace_id, span.span_id, span.parent_span_id, span.source_id, span.name, span.kind,
                span.started_ns, span.ended_ns, span.status, span.status_message, moment, span.attributes, span.events,
                span.links, span.extra, policy,
            )
            for span in batch.decoded.spans
        ]  # fmt: skip
        given = [dict(zip(_SPAN_COLUMNS, row, strict=True)) for row in rows]
        return int(connection.execute(insert_new(context, Span), given).rowcount)
    # The driver gets the rows directly: handing each through a compiled statement costs as much as storing it.
    received, dumped = _bound(connection, Span, "received_at")(moment), _bound(connection, Span, "attributes")
    no_list, no_object = dumped([]), dumped({})
    ready = [
        (
            project_id, span.trace_id, span.span_id, span.parent_span_id, span.source_id, span.name, span.kind,
            span.started_ns, span.ended_ns, span.status, span.status_message, received, dumped(span.attributes),
            dumped(span.events) if span.events else no_list, dumped(span.links) if span.links else no_list,
            dumped(span.extra) if span.extra else no_object, policy,
        )
        for span in batch.decoded.spans
    ]  # fmt: skip
    return _write_rows(connection, f"INSERT INTO {TRACES}.span", _SPAN_COLUMNS, "ON CONFLICT DO NOTHING", ready)


_ROWS_AT_ONCE = (64, 16, 4, 1)


def _write_rows(connection: Connection, begin: str, columns: Sequence[str], end: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows with statements of many rows each; returns how many were stored.

    The interpreter is free while a statement runs. One statement a row would give it away and want it back for each, and
    wait five milliseconds whenever the thread that prepares the next request has it meanwhile.
    """
    names, marks = ", ".join(columns), f"({', '.join('?' * len(columns))})"
    stored = start = 0
    for size in _ROWS_AT_ONCE:
        statement = f"{begin} ({names}) VALUES {', '.join([marks] * size)} {end}"
        while len(rows) - start >= size:
            given = tuple(chain.from_iterable(rows[start : start + size]))
            stored += connection.exec_driver_sql(statement, given).rowcount
            start += size
    return stored


def _bound(connection: Connection, model: Any, column: str) -> Callable[[Any], Any]:
    """How a value of a column is handed to the driver."""
    kind = table(model).c[column].type.dialect_impl(connection.dialect)
    return kind.bind_processor(connection.dialect) or (lambda value: value)


_PENDING_COLUMNS = ("project_id", "trace_id", "touched", "at")


def touch(session: Session, context: Context, project_id: str, trace_ids: set[str]) -> None:
    """Mark traces for assembly, in the transaction that changed them."""
    if not trace_ids:
        return
    connection, moment = session.connection(), now()
    if connection.dialect.name == "sqlite":
        at = _bound(connection, TracePending, "at")(moment)
        rows = [(project_id, trace_id, 1, at) for trace_id in sorted(trace_ids)]
        again = "ON CONFLICT (project_id, trace_id) DO UPDATE SET touched = touched + 1"
        _write_rows(connection, f"INSERT INTO {TRACES}.trace_pending", _PENDING_COLUMNS, again, rows)
        return
    connection.execute(
        upsert(context, TracePending, ("project_id", "trace_id"), _touched_again),
        [{"project_id": project_id, "trace_id": trace_id, "touched": 1, "at": moment} for trace_id in sorted(trace_ids)],
    )


def _touched_again(old: Any, new: Any) -> dict[str, Any]:
    return {"touched": old.touched + 1}


def among(columns: Any, keys: Iterable[tuple[str, str]]) -> Any:
    """A condition: the row is of one of these traces, (project id, trace id) each.

    Without the project no index would help, and a handful of traces would be looked for among all.

    Args:
        columns: a table's columns, or a model, with `project_id` and `trace_id`.
    """
    by_project: dict[str, set[str]] = {}
    for project_id, trace_id in keys:
        by_project.setdefault(project_id, set()).add(trace_id)
    parts = [(columns.project_id == project_id) & columns.trace_id.in_(sorted(ids)) for project_id, ids in by_project.items()]
    return or_(false(), *parts)


def table(model: Any) -> Table:
    """A model's table."""
    found: Table = model.__table__
    return found


def insert(context: Context, model: Any) -> Any:
    """An insert into the model's table that knows `on_conflict_…` on this database and counts what it really stored."""
    return _insert_on(context.database.dialect, model)


def insert_new(context: Context, model: Any) -> Any:
    """An insert that passes over rows that are there."""
    return _insert_new_on(context.database.dialect, model)


Changes = Callable[[Any, Any], dict[str, Any]]
"""From the columns of the stored row and of the new one to what the stored one becomes."""


def upsert(context: Context, model: Any, keys: tuple[str, ...], changes: Changes) -> Any:
    """An insert that changes the row that has these keys when there is one.

    Args:
        changes: a function of a module, since the statement is made once and kept: making it takes longer than running it.
    """
    return _upsert_on(context.database.dialect, model, keys, changes)


@cache
def _insert_on(dialect: str, model: Any) -> Any:
    made = postgresql if dialect == "postgresql" else sqlite
    return made.insert(table(model)).execution_options(preserve_rowcount=True)


@cache
def _insert_new_on(dialect: str, model: Any) -> Any:
    return _insert_on(dialect, model).on_conflict_do_nothing()


@cache
def _upsert_on(dialect: str, model: Any, keys: tuple[str, ...], changes: Changes) -> Any:
    statement = _insert_on(dialect, model)
    return statement.on_conflict_do_update(index_elements=keys, set_=changes(table(model).c, statement.excluded))
