"""One command, one transaction: permission, change and audit event together or not at all."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import text
from sqlmodel import Field, Session, SQLModel

from workbench.core.actors import Actor, Authorizer, Permission
from workbench.core.artifacts import ArtifactStore
from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, Database, JsonColumn
from workbench.core.errors import NotFound
from workbench.core.recording import Recorder
from workbench.core.settings import Settings

Row = TypeVar("Row", bound=SQLModel)


class _CommandColumns(SQLModel):
    id: str = Field(primary_key=True)
    """The caller's idempotency id together with the command's name."""
    actor_id: str
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    result: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)


class CommandReceipt(_CommandColumns, table=True):
    """A command that was carried out, so that a double click or a retry does a thing once."""

    __tablename__ = "command_receipt"


class TraceCommandReceipt(_CommandColumns, table=True):
    """The same for commands that write the traces."""

    __tablename__ = "trace_command_receipt"
    __table_args__ = {"schema": TRACES}


class UnitOfWork:
    """What a service command works with inside its transaction."""

    def __init__(self, session: Session, actor: Actor, context: "Context", *, traces: bool) -> None:
        self.session = session
        self.actor = actor
        self._context = context
        self._traces = traces
        self.command_id: str | None = None
        self.event_ids: list[str] = []

    def require(self, permission: Permission, project_id: str | None = None) -> None:
        """Raises NotAllowed unless the actor holds the permission in the project."""
        self._context.authorizer.require(self.actor, permission, project_id)

    def get(self, model: type[Row], key: Any, *, lock: bool = False) -> Row:
        """The row with this primary key.

        Args:
            lock: hold the row against other writers until the end (PostgreSQL; SQLite has one writer anyway).

        Raises:
            NotFound: there is none.
        """
        row = self.session.get(model, key, with_for_update=lock)
        if row is None:
            name = str(model.__tablename__).replace("_", " ")
            raise NotFound(f"There is no {name} with the id {key!r}.", todo="Reload the page: it may have been removed.")
        return row

    def add(self, row: Row) -> Row:
        """Add a row and send it to the database, so that constraints speak here and not at the end."""
        self.session.add(row)
        self.session.flush()
        return row

    def record(
        self,
        type: str,
        *,
        subject: SQLModel | tuple[str, str],
        project_id: str | None = None,
        reason: str = "",
        **details: Any,
    ) -> str:
        """Write the audit event of this change; returns the event id.

        Args:
            type: `stage.past_participle`.
            subject: the changed row, or a pair (kind, id).
            details: ids, hashes, old and new values as JSON; never end users' text.
        """
        if isinstance(subject, tuple):
            kind, key = subject
        else:
            kind, key = str(subject.__tablename__), str(getattr(subject, "id"))  # noqa: B009
            project_id = project_id or getattr(subject, "project_id", None)
            label = getattr(subject, "title", None) or getattr(subject, "name", None)
            if isinstance(label, str) and not self._traces and not details.keys() & {"title", "name"}:
                details["title"] = label  # what people call it, so that the ledger reads without looking ids up
        event_id = self._context.recorder.record(
            self.session,
            traces=self._traces,
            actor=self.actor,
            type=type,
            subject_kind=kind,
            subject_id=key,
            project_id=project_id,
            reason=reason,
            command_id=self.command_id,
            details=details,
        )
        self.event_ids.append(event_id)
        return event_id

    def once(self, command_id: str | None) -> dict[str, Any] | None:
        """The stored result when this command was carried out before, else None.

        Call it first in a command; call `remember` last. With no id every call is a new command.
        """
        self.command_id = command_id
        if command_id is None:
            return None
        if self._context.database.dialect == "postgresql":
            # Two deliveries of one command at the same time: the second waits here until the first has committed.
            self.session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": command_id})
        receipt = self.session.get(self._receipts, command_id)
        return None if receipt is None else dict(receipt.result)

    def remember(self, **result: Any) -> None:
        """Store the result of the command named by `once`."""
        if self.command_id is not None:
            self.session.add(self._receipts(id=self.command_id, actor_id=self.actor.id, result=result))
            self.session.flush()

    @property
    def _receipts(self) -> type[CommandReceipt] | type[TraceCommandReceipt]:
        return TraceCommandReceipt if self._traces else CommandReceipt


@dataclass
class Context:
    """What services and queries need of the outside: databases, artifacts, permission, the record."""

    settings: Settings
    database: Database
    authorizer: Authorizer
    recorder: Recorder
    artifacts: ArtifactStore
    extras: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def unit_of_work(self, actor: Actor) -> Iterator[UnitOfWork]:
        """A transaction over the operational tables; commits at the end, rolls back on any error."""
        with self._work(actor, traces=False) as work:
            yield work

    @contextmanager
    def trace_unit_of_work(self, actor: Actor) -> Iterator[UnitOfWork]:
        """A transaction over the traces schema; the operational tables can be read in it."""
        with self._work(actor, traces=True) as work:
            yield work

    @contextmanager
    def _work(self, actor: Actor, *, traces: bool) -> Iterator[UnitOfWork]:
        engine = self.database.ingesting if traces else self.database.writing
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield UnitOfWork(session, actor, self, traces=traces)

    @contextmanager
    def reading(self, actor: Actor, project_id: str | None) -> Iterator[Session]:
        """A read-only session, after checking that the actor may read the project.

        Raises:
            NotAllowed: the actor has no role in the project.
        """
        self.authorizer.require(actor, Permission.READ_PROJECT, project_id)
        with self.database.session() as session:
            yield session


class Service:
    """Base of every stage's service: holds the context."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def unit_of_work(self, actor: Actor) -> AbstractContextManager[UnitOfWork]:
        return self.context.unit_of_work(actor)
