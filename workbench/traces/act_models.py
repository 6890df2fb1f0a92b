"""Tables of acts on many traces at once: what was done, and what its undo needs."""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import TRACES, JsonColumn
from workbench.core.ids import new_id


class ActState(StrEnum):
    RUNNING = "running"
    """Also: its process ended before it did; its job, if any, tells which."""
    DONE = "done"
    STOPPED = "stopped"
    """By a person; what was done stays."""
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"


class TraceAct(SQLModel, table=True):
    """What somebody did with many traces at once, and what became of it.

    In the operational database: acts that fill queues and golden sets write it in the transaction of the change.
    """

    __tablename__ = "trace_act"
    __table_args__ = (Index("ix_trace_act_recent", "project_id", "created_at"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str
    kind: str
    """send, tag, untag, golden or export."""
    spec: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """The queue, the word, the golden set or the format."""
    hits: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Which traces: see `hits.Hits`. Fixed when the act was asked for."""
    salt: str = Field(default_factory=lambda: secrets.token_hex(16))
    """Of the commitments to the filter's words in the audit event."""
    ids_hash: str = ""
    """SHA-256 over the sorted trace ids, one a line."""
    total: int = 0
    """Traces that it is about."""
    done: int = 0
    """Of these, dealt with."""
    changed: int = 0
    gone: int = 0
    """Traces that were erased between the click and the act."""
    skipped: dict[str, int] = Field(default_factory=dict, sa_type=JsonColumn)
    """Why → how many were left as they were."""
    result: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """What it made: the golden set's version, the exported file."""
    state: str = ActState.RUNNING.value
    error: str = ""
    event_id: str = ""
    """The audit event of its beginning; the undo's event names it."""
    job_id: str | None = None
    """None: it was done at once."""
    undo: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """{"found", "taken", "stayed", "by"}"""
    undo_job_id: str | None = None
    created_by: str
    created_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    undone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class TraceTagTaken(SQLModel, table=True):
    """A tag that a TraceAct took off, as it was, so that its undo can put it back."""

    __tablename__ = "trace_tag_taken"
    __table_args__ = {"schema": TRACES}

    act_id: str = Field(primary_key=True)
    trace_id: str = Field(primary_key=True)
    added_by: str | None = None
    at: datetime = Field(sa_type=UtcDateTime)
    tag_act_id: str | None = None
