"""Reads over queues, items and responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func
from sqlmodel import Session, col, select

from workbench.annotation.models import (
    Adjudication,
    ItemState,
    Queue,
    QueueItem,
    Response,
    ResponseStatus,
    Standing,
    Suggestion,
)
from workbench.core.clock import now
from workbench.core.errors import NotFound


@dataclass(frozen=True)
class SubmittedResponse:
    """One person's submission that counts now: their latest revision of the item."""

    response_id: str
    queue_id: str
    item_id: str
    trace_id: str
    person_id: str
    values: dict[str, Any]
    at: datetime
    consent: bool
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a queue is."""

    total: int
    done: int
    """Items with enough submissions, and closed ones."""
    flagged: int
    waiting: int
    """Open items."""


@dataclass(frozen=True)
class QueueOverview:
    """A queue in a list: how far it is, and what is left for one person."""

    queue: Queue
    progress: Progress
    for_me: int
    """Open items this person has not answered, skipped or flagged, and nobody else holds."""


def get_queue(session: Session, project_id: str, queue_id: str) -> Queue:
    """A queue of the project.

    Raises:
        NotFound
    """
    queue = session.get(Queue, queue_id)
    if queue is None or queue.project_id != project_id:
        raise NotFound("There is no such queue in this project.", todo="Choose one from the list.")
    return queue


def list_queues(session: Session, project_id: str, *, with_closed: bool = False) -> list[Queue]:
    """Queues, oldest first."""
    statement = select(Queue).where(Queue.project_id == project_id).order_by(col(Queue.created_at), col(Queue.id))
    if not with_closed:
        statement = statement.where(col(Queue.closed_at).is_(None))
    return list(session.exec(statement))


def progress(session: Session, queue_ids: Sequence[str]) -> dict[str, Progress]:
    """Queue id → how far it is."""
    rows = session.exec(
        select(QueueItem.queue_id, QueueItem.state, func.count())
        .where(col(QueueItem.queue_id).in_(queue_ids))
        .group_by(col(QueueItem.queue_id), col(QueueItem.state))
    )
    counts: dict[str, dict[str, int]] = {queue_id: {} for queue_id in queue_ids}
    for queue_id, state, number in rows:
        counts[queue_id][state] = number
    return {
        queue_id: Progress(
            total=sum(states.values()),
            done=states.get(ItemState.DONE, 0) + states.get(ItemState.CLOSED, 0),
            flagged=states.get(ItemState.FLAGGED, 0),
            waiting=states.get(ItemState.OPEN, 0),
        )
        for queue_id, states in counts.items()
    }


def overview(session: Session, project_id: str, person_id: str, *, with_closed: bool = False) -> list[QueueOverview]:
    """Every queue with its progress and what is left for the person."""
    queues = list_queues(session, project_id, with_closed=with_closed)
    states = progress(session, [queue.id for queue in queues])
    moment = now()
    answered = (
        select(Standing.item_id)
        .where(Standing.item_id == QueueItem.id, Standing.person_id == person_id)
        .where(Standing.status != ResponseStatus.DRAFT.value)
        .exists()
    )
    until = col(QueueItem.lease_until)
    free = until.is_(None) | (until <= moment) | (col(QueueItem.leased_by) == person_id)
    mine: dict[str, int] = dict(
        session.exec(
            select(QueueItem.queue_id, func.count())
            .where(QueueItem.project_id == project_id, QueueItem.state == ItemState.OPEN.value, free, ~answered)
            .group_by(col(QueueItem.queue_id))
        ).all()
    )
    return [QueueOverview(queue, states[queue.id], 0 if queue.closed_at else mine.get(queue.id, 0)) for queue in queues]


def working_now(session: Session, queue_id: str) -> dict[str, str]:
    """Person id → name of everybody who holds an item of the queue."""
    rows = session.exec(
        select(QueueItem.leased_by, QueueItem.leased_by_name).where(
            QueueItem.queue_id == queue_id, col(QueueItem.lease_until) > now()
        )
    )
    return {str(person_id): name for person_id, name in rows}


def submitted_since(session: Session, project_id: str, person_id: str, since: datetime) -> int:
    """How many items a person has submitted since then and not taken back."""
    statement = (
        select(func.count())
        .select_from(Standing)
        .where(Standing.project_id == project_id, Standing.person_id == person_id, col(Standing.acted_at) >= since)
        .where(Standing.status == ResponseStatus.SUBMITTED.value)
    )
    return session.exec(statement).one()


def get_item(session: Session, project_id: str, item_id: str) -> QueueItem:
    """An item of the project.

    Raises:
        NotFound
    """
    item = session.get(QueueItem, item_id)
    if item is None or item.project_id != project_id:
        raise NotFound("There is no such item in this project.")
    return item


def queues_of_trace(session: Session, project_id: str, trace_id: str) -> list[tuple[Queue, QueueItem]]:
    """The queues a trace is in, and its item in each."""
    statement = (
        select(Queue, QueueItem)
        .join(QueueItem, col(QueueItem.queue_id) == col(Queue.id))
        .where(QueueItem.project_id == project_id, QueueItem.trace_id == trace_id)
        .order_by(col(Queue.created_at))
    )
    return [(queue, item) for queue, item in session.exec(statement)]


def suggestions_of(session: Session, item_id: str) -> list[Suggestion]:
    """Suggestions for an item, the surest first."""
    unknown_last = case((col(Suggestion.score).is_(None), 1), else_=0)
    statement = (
        select(Suggestion)
        .where(Suggestion.item_id == item_id)
        .order_by(unknown_last, col(Suggestion.score).desc(), col(Suggestion.at), col(Suggestion.id))
    )
    return list(session.exec(statement))


def history(session: Session, item_id: str, *, person_id: str | None = None) -> list[Response]:
    """Every revision of an item's responses, oldest first."""
    statement = select(Response).where(Response.item_id == item_id).order_by(col(Response.person_id), col(Response.revision))
    return list(session.exec(statement if person_id is None else statement.where(Response.person_id == person_id)))


def last_act(session: Session, queue_id: str, person_id: str) -> Response | None:
    """What an undo would take back: the person's latest submission, skip or flag in the queue that still counts."""
    statement = (
        select(Response)
        .join(Standing, col(Standing.response_id) == col(Response.id))
        .where(Standing.queue_id == queue_id, Standing.person_id == person_id, col(Response.imported_by).is_(None))
        .order_by(col(Response.at).desc(), col(Response.id).desc())
        .limit(1)
    )
    return session.exec(statement).first()


def submitted(session: Session, project_id: str, *, queue_ids: Sequence[str] | None = None) -> list[SubmittedResponse]:
    """The submissions that count: the latest of each person and item, in order of time."""
    statement = (
        select(Response)
        .join(Standing, col(Standing.response_id) == col(Response.id))
        .where(Response.project_id == project_id, Standing.status == ResponseStatus.SUBMITTED.value)
        .order_by(col(Response.at), col(Response.id))
    )
    if queue_ids is not None:
        statement = statement.where(col(Response.queue_id).in_(queue_ids))
    return [
        SubmittedResponse(
            response_id=row.id,
            queue_id=row.queue_id,
            item_id=row.item_id,
            trace_id=row.trace_id,
            person_id=row.person_id,
            values=row.values,
            at=row.at,
            consent=row.consent,
            seconds=row.seconds,
        )
        for row in session.exec(statement)
    ]


def flagged(session: Session, project_id: str, *, queue_id: str | None = None) -> list[tuple[QueueItem, Response]]:
    """Items that are set aside, with the flag that did it, latest first."""
    statement = (
        select(QueueItem, Response)
        .join(Response, col(Response.item_id) == col(QueueItem.id))
        .join(Standing, col(Standing.response_id) == col(Response.id))
        .where(QueueItem.project_id == project_id, QueueItem.state == ItemState.FLAGGED.value)
        .where(Standing.status == ResponseStatus.FLAGGED.value)
        .order_by(col(Response.at).desc())
    )
    if queue_id is not None:
        statement = statement.where(QueueItem.queue_id == queue_id)
    return [(item, response) for item, response in session.exec(statement)]


def adjudications(session: Session, project_id: str, question: str) -> dict[str, Adjudication]:
    """Trace id → the latest decision about one question."""
    statement = (
        select(Adjudication)
        .where(Adjudication.project_id == project_id, Adjudication.question == question)
        .order_by(col(Adjudication.at), col(Adjudication.id))
    )
    return {decision.trace_id: decision for decision in session.exec(statement)}
