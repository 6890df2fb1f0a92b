"""How far apart people's answers to one item are: the number that orders traces by disagreement.

It is kept with the item, in the transaction that moves a response, so that an order over all traces reads no answers.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, update

from workbench.annotation.models import Queue, QueueItem, Response, ResponseStatus, Standing
from workbench.annotation.schema import Question, Values, read_questions
from workbench.core.unit_of_work import UnitOfWork
from workbench.traces.queries import Ranking

MOST_DISAGREEMENT = "most disagreement"
"""The name of the order."""

_ITEM = QueueItem.__table__.c  # type: ignore[attr-defined]


def disagreement(questions: Sequence[Question], answers: Sequence[Values]) -> float | None:
    """How far apart several people's answers are, from 0 (all alike) to 1 (as far as can be).

    The mean, over the questions that two people or more answered, of the mean distance of two answers: for ratings their
    difference on the scale, for labels whether they differ, for several labels what share of them only one of the two chose.
    Texts are not compared.

    Returns:
        None where no question has two answers that can be compared.

    Source: the observed disagreement of one unit in Krippendorff, Content Analysis (2018), ch. 12, with linear distances.
    """
    found = []
    for question in questions:
        given = [values[question.name] for values in answers if values.get(question.name) is not None]
        if question.kind != "text" and len(given) >= 2:
            found.append(fmean(_distance(question, one, other) for one, other in combinations(given, 2)))
    return fmean(found) if found else None


def _distance(question: Question, one: Any, other: Any) -> float:
    if question.kind == "rating":
        return min(1.0, float(abs(one - other)) / (question.highest - question.lowest))
    if question.kind == "multilabel":
        either = {*one, *other}
        return len({*one} ^ {*other}) / len(either) if either else 0.0
    return float(one != other)


def settle(work: UnitOfWork, item: QueueItem) -> None:
    """Make the item's number what its responses say now; called where one person's response came to count or not."""
    if item.submitted_count < 2:
        item.disagreement = None
        return
    answers = work.session.execute(_answers(_ITEM.id == item.id)).scalars()
    item.disagreement = disagreement(read_questions(work.get(Queue, item.queue_id).questions), list(answers))


def fill(connection: Connection) -> int:
    """Give items their number that were answered before there was one; returns how many. The worker begins with it."""
    queue = Queue.__table__.c  # type: ignore[attr-defined]
    questions = {row_id: read_questions(stored) for row_id, stored in connection.execute(select(queue.id, queue.questions))}
    waiting = select(_ITEM.id, _ITEM.queue_id).where(_ITEM.submitted_count >= 2, _ITEM.disagreement.is_(None))
    count = 0
    for row_id, queue_id in connection.execute(waiting).all():
        answers = list(connection.execute(_answers(_ITEM.id == row_id)).scalars())
        number = disagreement(questions[queue_id], answers)
        if number is not None:
            connection.execute(update(QueueItem).where(_ITEM.id == row_id).values(disagreement=number))
            count += 1
    return count


def _answers(which: ColumnElement[bool]) -> Select[tuple[dict[str, Any]]]:
    """The answers that count, one row a person."""
    standing, response = Standing.__table__.c, Response.__table__.c  # type: ignore[attr-defined]
    joined = select(response["values"]).join(Standing, standing.response_id == response.id)
    return joined.join(QueueItem, _ITEM.id == standing.item_id).where(which, standing.status == ResponseStatus.SUBMITTED.value)


def ranking(project_id: str) -> Ranking:
    """Traces by disagreement, the highest first; of a trace in several queues the highest counts.

    Traces that no two people have answered are left out.
    """
    numbers = (
        select(_ITEM.trace_id, func.max(_ITEM.disagreement).label("value"))
        .where(_ITEM.project_id == project_id, _ITEM.disagreement.is_not(None))
        .group_by(_ITEM.trace_id)
    )
    return Ranking(MOST_DISAGREEMENT, numbers.subquery("disagreement"))
