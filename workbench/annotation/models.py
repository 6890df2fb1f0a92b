"""Tables of queues, items, leases, responses, suggestions and adjudications."""

import secrets
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Index, event, inspect
from sqlalchemy.orm import Mapper
from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.errors import IntegrityError
from workbench.core.ids import new_id


class Queue(SQLModel, table=True):
    """A set of questions asked of a list of traces. Its questions never change; another schema is another queue."""

    __tablename__ = "annotation_queue"

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    name: str
    description: str = ""
    guidelines: str = ""
    """Plain text that annotators have at hand."""
    questions: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """`schema.Question` each."""
    min_submitted: int = 1
    """Submitted responses, by different people, that make an item done; an item may ask for another number."""
    consent_default: bool = True
    """Whether responses may become training data unless their author says otherwise."""
    show_suggestions: bool = True
    created_by: str
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ItemState(StrEnum):
    OPEN = "open"
    DONE = "done"
    FLAGGED = "flagged"
    """Set aside by somebody with a reason, until an expert or engineer returns or closes it."""
    CLOSED = "closed"


class QueueItem(SQLModel, table=True):
    """One trace in a queue, and who works on it now."""

    __tablename__ = "annotation_item"
    __table_args__ = (
        UniqueConstraint("queue_id", "trace_id"),
        Index("ix_annotation_item_next", "queue_id", "state", "priority", "position"),
        Index("ix_annotation_item_disagreement", "project_id", "disagreement", "trace_id"),
    )

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    queue_id: str = Field(foreign_key="annotation_queue.id")
    trace_id: str = Field(index=True)
    position: int
    """Order within one priority, from 1."""
    priority: int = 0
    """Higher comes first."""
    state: str = ItemState.OPEN.value
    min_submitted: int = 1
    submitted_count: int = 0
    """People whose latest act on the item is a submission."""
    disagreement: float | None = None
    """How far apart their answers are, from 0 to 1; None without two that can be compared. See `disagreement.py`."""
    leased_by: str | None = None
    leased_by_name: str = ""
    leased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    added_by: str
    act_id: str | None = None
    """The TraceAct that put it into the queue, so that its undo takes out just these."""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)

    def held_by(self, moment: datetime) -> str | None:
        """Whoever holds a lease that has not run out at `moment`."""
        return self.leased_by if self.lease_until is not None and self.lease_until > moment else None


class ResponseStatus(StrEnum):
    DRAFT = "draft"
    SUBMITTED = "submitted"
    DISCARDED = "discarded"
    """Skipped: this person does not answer the item."""
    FLAGGED = "flagged"
    WITHDRAWN = "withdrawn"
    """An undo: the revision named in `undoes` counts no more."""


class Response(SQLModel, table=True):
    """One revision of one person's answers to one item.

    Append-only: only a draft that is still the latest revision may be saved again in place.
    """

    __tablename__ = "annotation_response"
    __table_args__ = (UniqueConstraint("item_id", "person_id", "revision"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    queue_id: str = Field(index=True)
    item_id: str = Field(foreign_key="annotation_item.id")
    trace_id: str = Field(index=True)
    person_id: str = Field(index=True)
    revision: int
    """From 1, per item and person."""
    status: str
    values: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    reason: str = ""
    """Why it was flagged or skipped."""
    seconds: float = 0.0
    """Time the person spent looking at the item, over all its revisions, in seconds."""
    consent: bool = True
    """Whether it may become training data."""
    undoes: str | None = None
    imported_by: str | None = None
    salt: str = Field(default_factory=lambda: secrets.token_hex(16))
    """Makes the audit event's commitment to the values unguessable once the values are erased together with it."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Standing(SQLModel, table=True):
    """The pointer to where one person stands with one item; the history is in the responses."""

    __tablename__ = "annotation_standing"
    __table_args__ = (Index("ix_annotation_standing_person", "queue_id", "person_id", "status"),)

    item_id: str = Field(primary_key=True, foreign_key="annotation_item.id")
    person_id: str = Field(primary_key=True)
    project_id: str = Field(index=True)
    queue_id: str
    status: str = ResponseStatus.DRAFT.value
    """draft (holds or held it), submitted, discarded or flagged."""
    revision: int = 0
    """The latest revision's number."""
    response_id: str | None = None
    """The submission, skip or flag that counts now."""
    draft_id: str | None = None
    """The draft that is newer than it."""
    acted_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Suggestion(SQLModel, table=True):
    """A proposed answer to one question of one item, by a model or a person; there may be several."""

    __tablename__ = "annotation_suggestion"

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    item_id: str = Field(foreign_key="annotation_item.id", index=True)
    question: str
    value: dict[str, Any] = Field(sa_type=JsonColumn)
    """{"value": …} in the form of the question's answer."""
    agent: str
    """Who proposes: a model's or release's name, or a person's id."""
    kind: str = "model"
    """model or person. A model's text stays marked as machine-made."""
    score: float | None = None
    """How sure the agent is, from 0 to 1."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Adjudication(SQLModel, table=True):
    """An expert's decision where people answered one question of one item differently. The latest one counts."""

    __tablename__ = "annotation_adjudication"

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    queue_id: str = Field(index=True)
    item_id: str = Field(foreign_key="annotation_item.id", index=True)
    trace_id: str
    question: str
    value: dict[str, Any] = Field(sa_type=JsonColumn)
    """{"value": …}"""
    reason: str
    decided_by: str
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


@event.listens_for(Response, "before_update")
def _refuse_change(mapper: Mapper[Any], connection: Connection, row: Response) -> None:
    history = inspect(row).attrs.status.history
    before = history.deleted[0] if history.deleted else row.status
    if before != ResponseStatus.DRAFT or row.status != ResponseStatus.DRAFT:
        raise IntegrityError("A response that was submitted, skipped or flagged is never changed.", todo="Add a revision.")


@event.listens_for(Response, "before_delete")
def _refuse_delete(mapper: Mapper[Any], connection: Connection, row: Response) -> None:
    raise IntegrityError("Responses are never deleted.", todo="Withdraw it with a new revision.")
