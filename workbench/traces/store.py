"""Writing traces: spans in bulk, several requests in one commit, every commit with its audit event.

A request is acknowledged when its spans are on disk. What readers see (the assembled trace, text search) is made right after
by `indexer.py`, so that an acknowledgement never waits for it.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table
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

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock is polled
    fcntl = None  # type: ignore[assignment]

_LOCK = "traces.write_lock"


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
    error: BaseException | None = None
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
        with self._waiting.lock:
            self._waiting.batches.append(batch)
        with writing(self.context):  # whoever holds it first carries everybody who waits
            if not batch.done:
                with self._waiting.lock:
                    group, self._waiting.batches = self._waiting.batches, []
                self._commit(group)
        if batch.error is not None:
            raise batch.error

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
            for batch in group:
                _insert(work.session, self.context, batch)
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


def _insert(session: Session, context: Context, batch: Batch) -> None:
    decoded, moment, project_id = batch.decoded, now(), batch.project_id
    connection = session.connection()
    if decoded.spans:
        sources = [{"id": source.id, "resource": source.resource, "scope": source.scope} for source in decoded.sources.values()]
        connection.execute(insert(context, SpanSource).on_conflict_do_nothing(), sources)
        policy = batch.draft.policy.version
        rows = [
            (
                project_id, span.trace_id, span.span_id, span.parent_span_id, span.source_id, span.name, span.kind,
                span.started_ns, span.ended_ns, span.status, span.status_message, moment, span.attributes, span.events,
                span.links, span.extra, policy,
            )
            for span in decoded.spans
        ]  # fmt: skip
        batch.new_spans = max(0, _insert_spans(connection, context, rows))
        if batch.new_spans:
            touch(session, context, project_id, {span.trace_id for span in decoded.spans})
    if decoded.rejected:
        connection.execute(
            insert(context, RejectedSpan),
            [
                {
                    "id": new_id(),
                    "project_id": project_id,
                    "reason": rejection.reason,
                    "trace_id": rejection.trace_id,
                    "span_id": rejection.span_id,
                    "name": rejection.name,
                    "sent_by": batch.actor.name,
                    "received_at": moment,
                    "raw": rejection.raw,
                }
                for rejection in decoded.rejected
            ],
        )


_SPAN_COLUMNS = (
    "project_id", "trace_id", "span_id", "parent_span_id", "source_id", "name", "kind", "started_ns", "ended_ns", "status",
    "status_message", "received_at", "attributes", "events", "links", "extra", "mask_policy",
)  # fmt: skip


def _insert_spans(connection: Connection, context: Context, rows: list[tuple[Any, ...]]) -> int:
    """Insert rows in the order of _SPAN_COLUMNS; returns how many are new.

    With SQLite the driver gets them directly: handing each row through a compiled statement costs as much as storing it.
    """
    if connection.dialect.name != "sqlite":
        given = [dict(zip(_SPAN_COLUMNS, row, strict=True)) for row in rows]
        return int(connection.execute(insert(context, Span).on_conflict_do_nothing(), given).rowcount)
    types = [table(Span).c[name].type.dialect_impl(connection.dialect) for name in _SPAN_COLUMNS]
    made = [(place, make) for place, kind in enumerate(types) if (make := kind.bind_processor(connection.dialect))]
    ready = []
    for row in rows:
        values = list(row)
        for place, make in made:
            values[place] = make(values[place])
        ready.append(tuple(values))
    names, marks = ", ".join(_SPAN_COLUMNS), ", ".join("?" * len(_SPAN_COLUMNS))
    statement = f"INSERT INTO {TRACES}.span ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
    return int(connection.exec_driver_sql(statement, ready).rowcount)


def touch(session: Session, context: Context, project_id: str, trace_ids: set[str]) -> None:
    """Mark traces for assembly, in the transaction that changed them."""
    if trace_ids:
        moment = now()
        statement = insert(context, TracePending)
        statement = statement.on_conflict_do_update(
            index_elements=["project_id", "trace_id"], set_={"touched": table(TracePending).c.touched + 1}
        )
        session.connection().execute(
            statement,
            [{"project_id": project_id, "trace_id": trace_id, "touched": 1, "at": moment} for trace_id in sorted(trace_ids)],
        )


def table(model: Any) -> Table:
    """A model's table."""
    found: Table = model.__table__
    return found


def insert(context: Context, model: Any) -> Any:
    """An insert into the model's table that knows `on_conflict_…` on this database and counts what it really stored."""
    dialect = postgresql if context.database.dialect == "postgresql" else sqlite
    return dialect.insert(table(model)).execution_options(preserve_rowcount=True)


@contextmanager
def writing(context: Context) -> Iterator[None]:
    """One writer at a time over these traces, in turn, so that nobody polls SQLite for its lock.

    Threads of one process take turns by a lock, processes by a lock on a file; PostgreSQL needs neither.
    """
    turn: _Turn = context.extras.setdefault(_LOCK, _Turn(context))
    with turn.lock:
        turn.take()
        try:
            yield
        finally:
            turn.give()


class _Turn:
    """The lock that writers of one process share, and the file on which processes wait for each other."""

    def __init__(self, context: Context) -> None:
        self.lock = threading.Lock()
        self._path = context.settings.home / "traces.lock" if context.database.dialect == "sqlite" and fcntl else None
        self._file: int | None = None

    def take(self) -> None:
        if self._path is None:
            return
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def give(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
