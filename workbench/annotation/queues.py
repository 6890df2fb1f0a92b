"""Commands over queues, items and suggestions."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert
from sqlmodel import col, select

from workbench.annotation.models import ItemState, Queue, QueueItem, Response, Standing, Suggestion
from workbench.annotation.schema import FLAGS, TRIAGE, Question, default_questions, read_questions
from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.identity.models import Project
from workbench.traces.models import Trace

MAX_ADDED = 10_000
"""Traces that one command adds to a queue."""


class QueueCommands(Service):
    """Make queues, fill them, set items aside or bring them back."""

    def create_queue(
        self,
        actor: Actor,
        project_id: str,
        *,
        name: str,
        description: str = "",
        guidelines: str = "",
        questions: Sequence[Question] | None = None,
        min_submitted: int = 1,
        consent_default: bool = True,
        show_suggestions: bool = True,
        command_id: str | None = None,
    ) -> Queue:
        """Make an empty queue.

        Args:
            questions: None asks rating, triage label, rewrite and flags.
            min_submitted: submitted responses by different people that make an item done.

        Raises:
            InvalidInput: no name, a bad question, or a number outside 1 to 10.
            Conflict: the project has an open queue of this name.
        """
        name = name.strip()
        if not name or len(name) > 120:
            raise InvalidInput("A queue needs a name of at most 120 characters.")
        _check_min_submitted(min_submitted)
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Queue, done["queue_id"])
            work.require(Permission.MANAGE_QUEUES, project_id)
            project = work.get(Project, project_id)
            asked = list(questions) if questions is not None else default_questions(project.teams)
            stored = [question.as_json() for question in asked]
            read_questions(stored)
            taken = select(Queue).where(Queue.project_id == project_id, Queue.name == name, col(Queue.closed_at).is_(None))
            if work.session.exec(taken).first() is not None:
                raise Conflict(f"There is an open queue named {name!r} already.", todo="Choose another name.")
            queue = work.add(
                Queue(
                    project_id=project_id,
                    name=name,
                    description=description.strip(),
                    guidelines=guidelines.strip(),
                    questions=stored,
                    min_submitted=min_submitted,
                    consent_default=consent_default,
                    show_suggestions=show_suggestions,
                    created_by=actor.id,
                )
            )
            work.record(
                "annotation.queue_created",
                subject=queue,
                name=name,
                min_submitted=min_submitted,
                questions=content_hash(stored),
                guidelines=content_hash(queue.guidelines),
            )
            work.remember(queue_id=queue.id)
            return queue

    def close_queue(self, actor: Actor, queue_id: str, *, reason: str, command_id: str | None = None) -> Queue:
        """Hand out no more items of a queue. What was answered stays."""
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Queue, done["queue_id"])
            queue = work.get(Queue, queue_id, lock=True)
            work.require(Permission.MANAGE_QUEUES, queue.project_id)
            if queue.closed_at is None:
                queue.closed_at = now()
                work.add(queue)
                work.record("annotation.queue_closed", subject=queue, reason=reason)
            work.remember(queue_id=queue.id)
            return queue

    def add_items(
        self,
        actor: Actor,
        queue_id: str,
        trace_ids: Sequence[str],
        command_id: str | None = None,
        *,
        priority: int = 0,
        min_submitted: int | None = None,
    ) -> list[QueueItem]:
        """Put traces into a queue, in the order given; those already in it stay as they are.

        The application's own triage label becomes a suggestion.

        Args:
            priority: higher comes first.
            min_submitted: other than the queue's own number.

        Returns:
            The items added now.

        Raises:
            NotFound: a trace is not in the project.
            Conflict: the queue is closed.
        """
        if not -1000 <= priority <= 1000:
            raise InvalidInput("A priority is a whole number from -1000 to 1000.")
        if len(trace_ids) > MAX_ADDED:
            raise InvalidInput(f"At most {MAX_ADDED:,} traces are added at once.", todo="Narrow the filter.")
        if min_submitted is not None:
            _check_min_submitted(min_submitted)
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return [work.get(QueueItem, key) for key in done["item_ids"]]
            queue = work.get(Queue, queue_id, lock=True)
            work.require(Permission.MANAGE_QUEUES, queue.project_id)
            if queue.closed_at is not None:
                raise Conflict(f"The queue {queue.name!r} is closed.", todo="Choose an open queue.")
            items = self._add_items(work, queue, trace_ids, priority, min_submitted)
            if items:
                work.record("annotation.items_added", subject=queue, count=len(items), priority=priority)
            work.remember(item_ids=[item.id for item in items])
            return items

    def _add_items(
        self, work: UnitOfWork, queue: Queue, trace_ids: Sequence[str], priority: int, min_submitted: int | None
    ) -> list[QueueItem]:
        wanted = list(dict.fromkeys(trace_ids))
        items, missing = fill(work, queue, wanted, priority=priority, min_submitted=min_submitted)
        if missing:
            raise NotFound(
                f"{len(missing)} of {len(wanted)} traces are not in this project, such as {missing[0]!r}.",
                todo="Reload the list of traces: they may have been erased.",
            )
        return items

    def suggest(
        self,
        actor: Actor,
        item_id: str,
        *,
        question: str,
        value: Any,
        agent: str,
        kind: str = "model",
        score: float | None = None,
        command_id: str | None = None,
    ) -> Suggestion:
        """Propose an answer to one question of an item.

        Args:
            agent: the model's, release's or person's name.
            kind: model or person.
            score: how sure the agent is, from 0 to 1.

        Raises:
            InvalidInput: the queue does not ask it, or the value is no answer to it.
        """
        if kind not in ("model", "person"):
            raise InvalidInput(f"{kind!r} is neither model nor person.")
        if score is not None and not 0 <= score <= 1:
            raise InvalidInput("A suggestion's score is a number from 0 to 1.")
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Suggestion, done["suggestion_id"])
            item = work.get(QueueItem, item_id)
            self._require_either(work, item.project_id)
            questions = {each.name: each for each in read_questions(work.get(Queue, item.queue_id).questions)}
            if question not in questions or question == FLAGS:
                raise InvalidInput(f"This queue takes no suggestion for {question!r}.")
            cleaned = questions[question].clean(value)
            if cleaned is None:
                raise InvalidInput("A suggestion needs a value.")
            suggestion = work.add(
                Suggestion(
                    project_id=item.project_id,
                    item_id=item.id,
                    question=question,
                    value={"value": cleaned},
                    agent=agent,
                    kind=kind,
                    score=score,
                )
            )
            work.record("annotation.suggestion_added", subject=suggestion, item=item.id, question=question, agent=agent)
            work.remember(suggestion_id=suggestion.id)
            return suggestion

    def resolve_flag(
        self, actor: Actor, item_id: str, *, reopen: bool, reason: str, command_id: str | None = None
    ) -> QueueItem:
        """Bring a flagged item back into its queue, or close it for good.

        Raises:
            Conflict: the item is not flagged.
            InvalidInput: no reason.
        """
        if not reason.strip():
            raise InvalidInput("Say why, so that whoever flagged it can understand.")
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(QueueItem, done["item_id"])
            item = work.get(QueueItem, item_id, lock=True)
            work.require(Permission.MANAGE_QUEUES, item.project_id)
            if item.state != ItemState.FLAGGED:
                raise Conflict("This item is not flagged.", todo="Reload the page: somebody may have resolved it.")
            enough = item.submitted_count >= item.min_submitted
            item.state = ((ItemState.DONE if enough else ItemState.OPEN) if reopen else ItemState.CLOSED).value
            work.add(item)
            work.record("annotation.flag_resolved", subject=item, reason=reason.strip(), state=str(item.state))
            work.remember(item_id=item.id)
            return item

    @staticmethod
    def _require_either(work: UnitOfWork, project_id: str) -> None:
        """Whoever annotates or manages queues may propose: a suggestion decides nothing."""
        try:
            work.require(Permission.ANNOTATE, project_id)
        except NotAllowed:
            work.require(Permission.MANAGE_QUEUES, project_id)


def fill(
    work: UnitOfWork,
    queue: Queue,
    trace_ids: Sequence[str],
    *,
    priority: int = 0,
    min_submitted: int | None = None,
    act_id: str | None = None,
) -> tuple[list[QueueItem], list[str]]:
    """Put traces into a queue inside a command's transaction; those already in it stay as they are.

    Args:
        trace_ids: each once.
        act_id: the act on many traces that this is part of.

    Returns:
        The items added now, and the ids of traces that do not exist.
    """
    traces = _labels(work, queue.project_id, trace_ids)
    present: set[str] = set()
    for start in range(0, len(trace_ids), 500):
        part = list(trace_ids[start : start + 500])
        there = select(QueueItem.trace_id).where(QueueItem.queue_id == queue.id, col(QueueItem.trace_id).in_(part))
        present.update(work.session.exec(there))
    last = work.session.exec(select(func.max(QueueItem.position)).where(QueueItem.queue_id == queue.id)).one() or 0
    new = [trace_id for trace_id in trace_ids if trace_id in traces and trace_id not in present]
    items = [
        QueueItem(
            project_id=queue.project_id,
            queue_id=queue.id,
            trace_id=trace_id,
            position=last + number,
            priority=priority,
            min_submitted=min_submitted or queue.min_submitted,
            added_by=work.actor.id,
            act_id=act_id,
        )
        for number, trace_id in enumerate(new, start=1)
    ]
    asked = (question for question in read_questions(queue.questions) if question.name == TRIAGE)
    labels = {option["value"] for question in asked for option in question.options}
    suggestions = [
        Suggestion(project_id=queue.project_id, item_id=item.id, question=TRIAGE, value={"value": label}, agent=agent)
        for item in items
        for label, agent in [traces[item.trace_id]]
        if label in labels
    ]
    # As plain rows: of thousands, the bookkeeping of objects would take longer than the writing.
    connection = work.session.connection()
    for model, rows in ((QueueItem, items), (Suggestion, suggestions)):
        if rows:
            connection.execute(insert(model), [row.model_dump() for row in rows])
    return items, [trace_id for trace_id in trace_ids if trace_id not in traces]


def untouched(act_id: str) -> ColumnElement[bool]:
    """A condition on QueueItem: an act put it there, and nobody has begun it."""
    begun = [
        select(Standing.item_id).where(Standing.item_id == QueueItem.id),
        select(Response.item_id).where(Response.item_id == QueueItem.id),
        select(Suggestion.item_id).where(Suggestion.item_id == QueueItem.id, Suggestion.kind == "person"),
    ]
    free = (col(QueueItem.act_id) == act_id) & (col(QueueItem.state) == ItemState.OPEN.value)
    for one in begun:
        free = free & ~one.exists()
    return free


def take_out(work: UnitOfWork, queue_id: str, act_id: str, *, limit: int) -> int:
    """Take up to `limit` items that an act put into a queue out of it again, if nobody has begun them; returns how many."""
    mine = select(QueueItem.id).where(QueueItem.queue_id == queue_id, untouched(act_id)).limit(limit).with_for_update()
    found = list(work.session.exec(mine))
    for start in range(0, len(found), 500):
        part = found[start : start + 500]
        connection = work.session.connection()
        connection.execute(delete(Suggestion).where(col(Suggestion.item_id).in_(part)))
        connection.execute(delete(QueueItem).where(col(QueueItem.id).in_(part)))
    if found:
        queue = work.get(Queue, queue_id)
        work.record("annotation.items_taken_out", subject=queue, count=len(found), act=act_id)
    return len(found)


def _labels(work: UnitOfWork, project_id: str, trace_ids: Sequence[str]) -> dict[str, tuple[str | None, str]]:
    """Trace id → the application's triage label and who gave it."""
    found: dict[str, tuple[str | None, str]] = {}
    for start in range(0, len(trace_ids), 500):
        part = list(trace_ids[start : start + 500])
        statement = select(Trace.trace_id, Trace.triage_label, Trace.release, Trace.model).where(
            Trace.project_id == project_id, col(Trace.trace_id).in_(part)
        )
        for trace_id, label, release, model in work.session.exec(statement):
            found[trace_id] = (label, release or model or "application")
    return found


def _check_min_submitted(number: int) -> None:
    if not 1 <= number <= 10:
        raise InvalidInput("The number of responses an item needs is 1 to 10.")
