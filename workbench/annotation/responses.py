"""Commands of the person who annotates: save, submit, skip, flag, undo.

Every act appends a revision. Whoever comes back after their lease ran out loses nothing: drafts belong to the person, and
a late submission counts as one more response.
"""

from datetime import datetime
from typing import Any

from workbench.annotation import disagreement
from workbench.annotation.leases import Held, LeaseCommands, end_lease, lease_to
from workbench.annotation.models import ItemState, Queue, QueueItem, Response, ResponseStatus, Standing
from workbench.annotation.queries import last_act
from workbench.annotation.schema import RATING, TRIAGE, Values, clean_values, read_questions
from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput
from workbench.core.unit_of_work import UnitOfWork

MAX_SECONDS = 8 * 3600.0
"""Longest time at one item that is believed."""


class ResponseCommands(LeaseCommands):
    """Draft, submit, skip, flag and undo."""

    def save_draft(
        self,
        actor: Actor,
        item_id: str,
        values: Values,
        *,
        seconds: float = 0.0,
        consent: bool | None = None,
        command_id: str | None = None,
    ) -> Response:
        """Keep half-finished answers and renew the lease.

        A draft that is the latest revision is saved again in place; after a submission a new revision begins.

        Args:
            seconds: time spent on the item so far, over all visits.

        Raises:
            InvalidInput: a value is no answer to its question.
            Conflict: the item was never in this person's hands.
        """
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Response, done["response_id"])
            item, standing, queue = self._open(work, item_id)
            cleaned = clean_values(read_questions(queue.questions), values, complete=False)
            draft = work.session.get(Response, standing.draft_id) if standing.draft_id else None
            chosen = consent if consent is not None else draft.consent if draft else queue.consent_default
            if draft is not None:
                draft.values, draft.seconds, draft.consent, draft.at = cleaned, _seconds(seconds), chosen, now()
                work.add(draft)
            else:
                draft = self._append(work, item, standing, ResponseStatus.DRAFT, cleaned, seconds=seconds, consent=chosen)
                work.record("annotation.draft_started", subject=draft, item=item.id, revision=draft.revision)
            if item.held_by(now()) in (None, actor.id) and item.state == ItemState.OPEN:
                lease_to(item, actor)
                work.add(item)
            work.remember(response_id=draft.id)
            return draft

    def submit(
        self,
        actor: Actor,
        item_id: str,
        values: Values,
        *,
        seconds: float = 0.0,
        consent: bool | None = None,
        command_id: str | None = None,
    ) -> Response:
        """Submit answers; the item is done when enough people have.

        Raises:
            InvalidInput: a required question is open, or a value is no answer.
            Conflict: the item was never in this person's hands, or it is closed.
        """
        return self._act(actor, item_id, ResponseStatus.SUBMITTED, values, "", seconds, consent, command_id)

    def skip(
        self,
        actor: Actor,
        item_id: str,
        values: Values | None = None,
        *,
        reason: str = "",
        seconds: float = 0.0,
        command_id: str | None = None,
    ) -> Response:
        """Discard: this person does not answer the item; others still may. Values given are kept for an undo."""
        return self._act(actor, item_id, ResponseStatus.DISCARDED, values or {}, reason, seconds, None, command_id)

    def flag(
        self,
        actor: Actor,
        item_id: str,
        *,
        reason: str,
        values: Values | None = None,
        seconds: float = 0.0,
        command_id: str | None = None,
    ) -> Response:
        """Set the item aside for everybody, with a reason, until somebody resolves it.

        Raises:
            InvalidInput: no reason.
        """
        if not reason.strip():
            raise InvalidInput("Say what is wrong with the item.", todo="A few words are enough.")
        return self._act(actor, item_id, ResponseStatus.FLAGGED, values or {}, reason, seconds, None, command_id)

    def undo(self, actor: Actor, queue_id: str, *, command_id: str | None = None) -> Held:
        """Take back this person's last submission, skip or flag in the queue; the item returns with its values.

        The act stays in the history; a further revision says that it counts no more.

        Raises:
            Conflict: there is nothing to undo.
        """
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return self._held(work, work.get(QueueItem, done["item_id"]))
            queue = work.get(Queue, queue_id)
            work.require(Permission.ANNOTATE, queue.project_id)
            last = last_act(work.session, queue_id, actor.id)
            if last is None:
                raise Conflict("There is nothing to undo in this queue.")
            item, standing, _queue = self._open(work, last.item_id)
            self._give_back_others(work, queue_id, except_item=item.id)
            withdrawn = self._append(work, item, standing, ResponseStatus.WITHDRAWN, {}, consent=last.consent, undoes=last.id)
            draft = self._append(
                work, item, standing, ResponseStatus.DRAFT, last.values, seconds=last.seconds, consent=last.consent
            )
            _count(item, before=last.status, after=ResponseStatus.WITHDRAWN)
            disagreement.settle(work, item)
            if item.state == ItemState.OPEN and item.held_by(now()) in (None, actor.id):
                lease_to(item, actor)
            work.add(item)
            work.record("annotation.undone", subject=withdrawn, item=item.id, undoes=last.id, act=last.status, draft=draft.id)
            work.remember(item_id=item.id)
            return self._held(work, item)

    def _act(
        self,
        actor: Actor,
        item_id: str,
        status: ResponseStatus,
        values: Values,
        reason: str,
        seconds: float,
        consent: bool | None,
        command_id: str | None,
    ) -> Response:
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Response, done["response_id"])
            item, standing, queue = self._open(work, item_id)
            complete = status == ResponseStatus.SUBMITTED
            cleaned = clean_values(read_questions(queue.questions), values, complete=complete)
            if item.state == ItemState.CLOSED:
                raise Conflict("This item was closed meanwhile.", why="Your draft is kept.", todo="Take the next one.")
            response = self._finish(
                work,
                item,
                standing,
                status,
                cleaned,
                reason=reason.strip()[:2000],
                seconds=seconds,
                consent=queue.consent_default if consent is None else consent,
            )
            work.remember(response_id=response.id)
            return response

    def _finish(
        self, work: UnitOfWork, item: QueueItem, standing: Standing, status: ResponseStatus, values: Values, **more: Any
    ) -> Response:
        """Append an act, move the pointers, count, end the lease and record."""
        before = standing.status
        late = item.held_by(now()) not in (None, work.actor.id)
        response = self._append(work, item, standing, status, values, **more)
        details: dict[str, Any] = {"after_lease": True} if late else {}
        if response.imported_by:
            details |= {"imported_by": response.imported_by, "answered_at": response.at.isoformat()}
        _count(item, before=before, after=status)
        disagreement.settle(work, item)
        if item.leased_by == work.actor.id:
            end_lease(item)
        work.add(item)
        work.record(
            f"annotation.response_{status.value}",
            subject=response,
            item=item.id,
            trace=item.trace_id,
            revision=response.revision,
            answered=sorted(values),
            rating=values.get(RATING),
            triage=values.get(TRIAGE),
            commitment=content_hash({"salt": response.salt, "values": values, "reason": response.reason}),
            seconds=round(response.seconds, 1),
            consent=response.consent,
            item_state=str(item.state),
            **details,
        )
        return response

    @staticmethod
    def _append(
        work: UnitOfWork,
        item: QueueItem,
        standing: Standing,
        status: ResponseStatus,
        values: Values,
        *,
        seconds: float = 0.0,
        consent: bool,
        reason: str = "",
        undoes: str | None = None,
        at: datetime | None = None,
        imported_by: str | None = None,
    ) -> Response:
        """Add the next revision and point the standing at it."""
        response = work.add(
            Response(
                project_id=item.project_id,
                queue_id=item.queue_id,
                item_id=item.id,
                trace_id=item.trace_id,
                person_id=standing.person_id,
                revision=standing.revision + 1,
                status=status.value,
                values=values,
                seconds=_seconds(seconds),
                consent=consent,
                reason=reason,
                undoes=undoes,
                at=at or now(),
                imported_by=imported_by,
            )
        )
        standing.revision = response.revision
        standing.acted_at = response.at
        if status == ResponseStatus.DRAFT:
            standing.draft_id = response.id
        else:
            standing.draft_id = None
            standing.response_id = None if status == ResponseStatus.WITHDRAWN else response.id
            standing.status = ResponseStatus.DRAFT.value if status == ResponseStatus.WITHDRAWN else status.value
        work.add(standing)
        return response


def _count(item: QueueItem, *, before: str, after: str) -> None:
    """Move the item's count and state as one person's standing goes from `before` to `after`."""
    item.submitted_count += (after == ResponseStatus.SUBMITTED) - (before == ResponseStatus.SUBMITTED)
    if after == ResponseStatus.FLAGGED:
        item.state = ItemState.FLAGGED.value
    elif item.state != ItemState.CLOSED and (item.state != ItemState.FLAGGED or before == ResponseStatus.FLAGGED):
        item.state = (ItemState.DONE if item.submitted_count >= item.min_submitted else ItemState.OPEN).value


def _seconds(value: float) -> float:
    """A length of time that can be believed; anything else is 0."""
    return float(min(value, MAX_SECONDS)) if 0 <= value < float("inf") else 0.0
