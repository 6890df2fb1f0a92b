"""The audit outbox: the record of a change, written in the transaction of the change."""

from datetime import datetime
from typing import Any, Protocol

from sqlmodel import Field, Session, SQLModel

from workbench.core.actors import Actor
from workbench.core.canonical import canonical_bytes
from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


class OutboxColumns(SQLModel):
    """An audit event that may not be sealed into the ledger yet."""

    id: str = Field(default_factory=new_id, primary_key=True)
    """The event's unique id, also in the ledger."""
    project_id: str | None = None
    type: str
    """What happened, as `stage.past_participle`, such as `knowledge.certified`."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    actor_id: str
    actor_name: str
    actor_kind: str
    subject_kind: str
    subject_id: str
    reason: str = ""
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Ids, hashes, old and new values. Never text by or about an end user."""
    command_id: str | None = None
    sealed_seq: int | None = Field(default=None, index=True)
    sealed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    checkpoint_size: int | None = None


class AuditOutbox(OutboxColumns, table=True):
    """Events of changes in the operational tables."""

    __tablename__ = "audit_outbox"


class TraceOutbox(OutboxColumns, table=True):
    """Events of changes in the traces: one SQLite transaction covers one file, so they have an outbox of their own."""

    __tablename__ = "trace_outbox"
    __table_args__ = {"schema": TRACES}


class Recorder(Protocol):
    """Writes the audit event of a change into the transaction of the change. Audit fulfils it."""

    def record(
        self,
        session: Session,
        *,
        traces: bool,
        actor: Actor,
        type: str,
        subject_kind: str,
        subject_id: str,
        project_id: str | None,
        reason: str,
        command_id: str | None,
        details: dict[str, Any],
    ) -> str:
        """Add the event to `session` and return its id. `traces` says which file the session writes."""
        ...


class OutboxRecorder:
    """Writes events to the outbox tables, refusing details that the ledger could not hash."""

    def record(
        self,
        session: Session,
        *,
        traces: bool,
        actor: Actor,
        type: str,
        subject_kind: str,
        subject_id: str,
        project_id: str | None,
        reason: str,
        command_id: str | None,
        details: dict[str, Any],
    ) -> str:
        canonical_bytes(details)
        table = TraceOutbox if traces else AuditOutbox
        row = table(
            type=type,
            project_id=project_id,
            actor_id=actor.id,
            actor_name=actor.name,
            actor_kind=actor.kind.value,
            subject_kind=subject_kind,
            subject_id=subject_id,
            reason=reason,
            command_id=command_id,
            details=details,
        )
        session.add(row)
        return row.id
