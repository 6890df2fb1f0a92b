"""Decisions where people answered one item differently."""

from typing import Any

from workbench.annotation.models import Adjudication, Queue, QueueItem
from workbench.annotation.schema import read_questions
from workbench.core.actors import Actor, Permission
from workbench.core.errors import InvalidInput
from workbench.core.unit_of_work import Service


class AdjudicationCommands(Service):
    """Decide for good."""

    def adjudicate(
        self, actor: Actor, item_id: str, *, question: str, value: Any, reason: str, command_id: str | None = None
    ) -> Adjudication:
        """Decide the answer to one question of an item; the latest decision counts. The responses stay as they are.

        Raises:
            InvalidInput: the queue does not ask the question, the value is no answer, or there is no reason.
        """
        if not reason.strip():
            raise InvalidInput("Say why, so that the annotators can learn from it.")
        with self.unit_of_work(actor) as work:
            if (done := work.once(command_id)) is not None:
                return work.get(Adjudication, done["adjudication_id"])
            item = work.get(QueueItem, item_id)
            work.require(Permission.ADJUDICATE, item.project_id)
            questions = {each.name: each for each in read_questions(work.get(Queue, item.queue_id).questions)}
            if question not in questions:
                raise InvalidInput(f"This queue does not ask {question!r}.")
            cleaned = questions[question].clean(value)
            if cleaned is None:
                raise InvalidInput("A decision needs a value.")
            decision = work.add(
                Adjudication(
                    project_id=item.project_id,
                    queue_id=item.queue_id,
                    item_id=item.id,
                    trace_id=item.trace_id,
                    question=question,
                    value={"value": cleaned},
                    reason=reason.strip(),
                    decided_by=actor.id,
                )
            )
            shown = cleaned if questions[question].kind != "text" else None
            work.record(
                "annotation.adjudicated", subject=decision, reason=reason.strip(), item=item.id, question=question, value=shown
            )
            work.remember(adjudication_id=decision.id)
            return decision
