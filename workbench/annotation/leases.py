"""Leases: who has which item in their hands.

An item is held by one person at a time, until they finish it or are silent for `LEASE`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import col, select

from workbench.annotation.models import ItemState, Queue, QueueItem, Response, ResponseStatus, Standing
from workbench.annotation.schema import Values
from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.errors import Conflict
from workbench.core.unit_of_work import Service, UnitOfWork

LEASE = timedelta(minutes=15)
"""How long a holder may be silent before somebody else may take the item. Any save renews it."""

ACTS = (ResponseStatus.SUBMITTED, ResponseStatus.DISCARDED, ResponseStatus.FLAGGED)
"""What ends a person's work on an item."""


@dataclass(frozen=True)
class Held:
    """An item in a person's hands, with what they had already answered."""

    item: QueueItem
    values: Values
    """From their latest draft, or what an undo brought back."""
    seconds: float
    """Time they already spent on it."""
    consent: bool
    saved_at: datetime | None
    """When the values were last saved; None for a fresh item."""
    lease_until: datetime | None
    """None: somebody else works on the item just now; it comes back when they are done."""


class LeaseCommands(Service):
    """Take items and give them back."""

    def lease_next(self, actor: Actor, queue_id: str, *, command_id: str | None = None) -> Held | None:
        """Take the next item: the one this person holds, then their drafts, then by priority and position.

        Returns:
            None when nothing is left for this person.

        Raises:
            Conflict: the queue is closed.
        """
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return self._held(work, work.get(QueueItem, done["item_id"])) if done["item_id"] else None
            queue = work.get(Queue, queue_id)
            work.require(Permission.ANNOTATE, queue.project_id)
            if queue.closed_at is not None:
                raise Conflict(f"The queue {queue.name!r} is closed.", todo="Choose another queue.")
            item = self._mine(work, queue_id) or self._free(work, queue_id)
            if item is not None:
                self._take(work, item)
            work.remember(item_id=item.id if item else None)
            return self._held(work, item) if item else None

    def lease_item(self, actor: Actor, item_id: str, *, command_id: str | None = None) -> Held:
        """Take one particular item, to answer it or to change one's own answer.

        Raises:
            Conflict: somebody else holds it, or it is flagged or closed.
        """
        with self.unit_of_work(actor) as work:
            item = work.get(QueueItem, item_id, lock=True)
            work.require(Permission.ANNOTATE, item.project_id)
            if work.once(command_id) is None:
                if item.state in (ItemState.FLAGGED, ItemState.CLOSED):
                    raise Conflict(f"This item is {item.state}.", todo="Choose another one.")
                if item.held_by(now()) not in (None, actor.id):
                    raise Conflict(
                        f"{item.leased_by_name or 'Somebody else'} works on this item now.", todo="Take the next one."
                    )
                self._take(work, item)
                work.remember(item_id=item.id)
            return self._held(work, item)

    def release(self, actor: Actor, item_id: str) -> None:
        """Give a held item back before its lease runs out; a draft stays."""
        with self.unit_of_work(actor) as work:
            item = work.get(QueueItem, item_id, lock=True)
            work.require(Permission.ANNOTATE, item.project_id)
            if item.leased_by == actor.id:
                end_lease(item)
                work.add(item)
                work.record("annotation.item_released", subject=item)

    def _open(self, work: UnitOfWork, item_id: str) -> tuple[QueueItem, Standing, Queue]:
        """The item, locked, with the actor's standing; only for who has had it in their hands."""
        item = work.get(QueueItem, item_id, lock=True)
        work.require(Permission.ANNOTATE, item.project_id)
        standing = work.session.get(Standing, (item_id, work.actor.id))
        if standing is None:
            raise Conflict("This item was never in your hands.", todo="Take an item from the queue first.")
        return item, standing, work.get(Queue, item.queue_id)

    @staticmethod
    def _mine(work: UnitOfWork, queue_id: str) -> QueueItem | None:
        """The open item this person holds, the latest first; else one that holds their draft and is free."""
        moment, me = now(), work.actor.id
        of_queue = select(QueueItem).where(QueueItem.queue_id == queue_id, QueueItem.state == ItemState.OPEN.value)
        held = (
            of_queue.where(QueueItem.leased_by == me, col(QueueItem.lease_until) > moment)
            .order_by(col(QueueItem.leased_at).desc())
            .limit(1)
        )
        drafted = (
            select(QueueItem)
            .join(Standing, col(Standing.item_id) == col(QueueItem.id))
            .where(QueueItem.queue_id == queue_id, QueueItem.state == ItemState.OPEN.value, _is_free(me, moment))
            .where(
                Standing.person_id == me,
                Standing.status == ResponseStatus.DRAFT.value,
                col(Standing.draft_id).is_not(None),
            )
            .order_by(col(Standing.acted_at).desc())
            .limit(1)
            .with_for_update(skip_locked=True, of=QueueItem)
        )
        return work.session.exec(held).first() or work.session.exec(drafted).first()

    @staticmethod
    def _free(work: UnitOfWork, queue_id: str) -> QueueItem | None:
        """The first open item that nobody holds and this person has not answered, skipped or flagged."""
        me = work.actor.id
        answered = (
            select(Standing.item_id)
            .where(Standing.item_id == QueueItem.id, Standing.person_id == me)
            .where(col(Standing.status).in_([act.value for act in ACTS]))
            .exists()
        )
        return work.session.exec(
            select(QueueItem)
            .where(QueueItem.queue_id == queue_id, QueueItem.state == ItemState.OPEN.value, _is_free(me, now()), ~answered)
            .order_by(col(QueueItem.priority).desc(), col(QueueItem.position), col(QueueItem.id))
            .limit(1)
            .with_for_update(skip_locked=True, of=QueueItem)
        ).first()

    @staticmethod
    def _take(work: UnitOfWork, item: QueueItem) -> None:
        fresh = item.held_by(now()) != work.actor.id
        lease_to(item, work.actor)
        work.add(item)
        if work.session.get(Standing, (item.id, work.actor.id)) is None:
            work.add(Standing(item_id=item.id, person_id=work.actor.id, project_id=item.project_id, queue_id=item.queue_id))
        if fresh:
            work.record("annotation.item_leased", subject=item, trace=item.trace_id)

    @staticmethod
    def _give_back_others(work: UnitOfWork, queue_id: str, *, except_item: str) -> None:
        """End this person's other leases in the queue, so that an undo blocks nobody."""
        for other in work.session.exec(
            select(QueueItem).where(QueueItem.queue_id == queue_id, QueueItem.leased_by == work.actor.id)
        ):
            if other.id != except_item:
                end_lease(other)
                work.session.add(other)

    @staticmethod
    def _held(work: UnitOfWork, item: QueueItem) -> Held:
        """The item as this person has it: their draft, or else what they submitted before."""
        standing = work.session.get(Standing, (item.id, work.actor.id))
        latest = standing and (standing.draft_id or standing.response_id)
        response = work.session.get(Response, latest) if latest else None
        mine = item.held_by(now()) == work.actor.id
        return Held(
            item=item,
            values=dict(response.values) if response else {},
            seconds=response.seconds if response else 0.0,
            consent=response.consent if response else work.get(Queue, item.queue_id).consent_default,
            saved_at=response.at if response else None,
            lease_until=item.lease_until if mine else None,
        )


def _is_free(person_id: str, moment: datetime) -> ColumnElement[bool]:
    until = col(QueueItem.lease_until)
    return until.is_(None) | (until <= moment) | (col(QueueItem.leased_by) == person_id)


def lease_to(item: QueueItem, actor: Actor) -> None:
    """Give or renew a lease."""
    moment = now()
    if item.held_by(moment) != actor.id:
        item.leased_at = moment
    item.leased_by, item.leased_by_name, item.lease_until = actor.id, actor.name, moment + LEASE


def end_lease(item: QueueItem) -> None:
    """Nobody holds the item any more."""
    item.leased_by, item.leased_by_name, item.leased_at, item.lease_until = None, "", None, None
