"""Responses that people gave elsewhere, brought in under the same rules."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import select

from workbench.annotation.models import ItemState, Queue, QueueItem, Response, ResponseStatus, Standing
from workbench.annotation.responses import ResponseCommands
from workbench.annotation.schema import Question, clean_values, read_questions
from workbench.core.actors import Actor, Permission
from workbench.core.clock import from_iso, now
from workbench.core.errors import InvalidInput, NotFound, WorkbenchError
from workbench.core.unit_of_work import UnitOfWork
from workbench.identity.queries import person_by_email
from workbench.identity.service import actor_of_person

BATCH = 100
"""Rows in one transaction: long enough to be quick, short enough that annotators do not wait for the lock."""

_STATUSES = {status.value for status in (ResponseStatus.SUBMITTED, ResponseStatus.DISCARDED, ResponseStatus.FLAGGED)}
_FIELDS = {"trace_id", "person_id", "person", "values", "at", "status", "seconds", "consent", "reason"}


@dataclass
class ImportReport:
    """What became of the rows."""

    imported: int = 0
    present: int = 0
    """Rows that were imported before and are left as they are."""
    problems: list[str] = field(default_factory=list)
    """`row 12: why it was not imported`; the other rows are."""


class ImportCommands(ResponseCommands):
    """Import responses, attributed to the people who gave them."""

    def import_responses(self, actor: Actor, project_id: str, queue_id: str, rows: Iterable[dict[str, Any]]) -> ImportReport:
        """Bring in responses that people gave elsewhere.

        Each person needs an account that may annotate in the project. A row that cannot be used is reported and the
        others go on; rows imported before are left alone, so a repeated import changes nothing.

        Args:
            rows: {"trace_id", "person_id" (or "person": e-mail), "values", "at" (ISO 8601 with offset), and optionally
                "status" submitted|discarded|flagged, "seconds", "consent", "reason"}. The trace must be in the queue.

        Raises:
            NotAllowed: it takes the permission to manage queues and the one to manage people, since the responses carry
                other people's names.
            NotFound: the queue is not in the project.
        """
        report = ImportReport()
        batch: list[tuple[int, dict[str, Any]]] = []
        for number, row in enumerate(rows, start=1):
            batch.append((number, row))
            if len(batch) == BATCH:
                self._import_batch(actor, project_id, queue_id, batch, report)
                batch = []
        self._import_batch(actor, project_id, queue_id, batch, report)
        return report

    def _import_batch(
        self, actor: Actor, project_id: str, queue_id: str, batch: list[tuple[int, dict[str, Any]]], report: ImportReport
    ) -> None:
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_QUEUES, project_id)
            work.require(Permission.MANAGE_PEOPLE, project_id)
            queue = work.get(Queue, queue_id, lock=True)
            if queue.project_id != project_id:
                raise NotFound("The queue is not in this project.")
            questions = read_questions(queue.questions)
            people: dict[str, Actor] = {}
            for number, row in batch:
                try:
                    if self._import_row(work, actor, queue, questions, people, row):
                        report.imported += 1
                    else:
                        report.present += 1
                except WorkbenchError as error:
                    report.problems.append(f"row {number}: {error}")
                finally:
                    work.actor = actor

    def _import_row(
        self,
        work: UnitOfWork,
        importer: Actor,
        queue: Queue,
        questions: list[Question],
        people: dict[str, Actor],
        row: dict[str, Any],
    ) -> bool:
        """Import one row; False when it was imported before."""
        at, status = _check(row)
        name = str(row.get("person_id") or row.get("person"))
        if name not in people:
            people[name] = _person(work, row)
        person = people[name]
        self.context.authorizer.require(person, Permission.ANNOTATE, queue.project_id)
        statement = select(QueueItem).where(QueueItem.queue_id == queue.id, QueueItem.trace_id == str(row["trace_id"]))
        item = work.session.exec(statement).first()
        if item is None:
            raise NotFound(f"The trace {row['trace_id']!r} is not in the queue.", todo="Add it to the queue first.")
        if item.state == ItemState.CLOSED:
            raise InvalidInput(f"The item of the trace {row['trace_id']!r} is closed.")
        values = clean_values(questions, row.get("values") or {}, complete=status == ResponseStatus.SUBMITTED)
        if status == ResponseStatus.FLAGGED and not str(row.get("reason") or "").strip():
            raise InvalidInput("A flag needs a reason.")
        earlier = select(Response).where(
            Response.item_id == item.id, Response.person_id == person.id, Response.at == at, Response.status == status.value
        )
        if any(response.values == values for response in work.session.exec(earlier)):
            return False
        standing = work.session.get(Standing, (item.id, person.id))
        if standing is None:
            standing = work.add(
                Standing(item_id=item.id, person_id=person.id, project_id=item.project_id, queue_id=item.queue_id)
            )
        elif standing.acted_at > at and standing.revision > 0:
            raise InvalidInput("The person has acted on this item since then.", why="A later act is never overwritten.")
        work.actor = person
        consent = row.get("consent")
        self._finish(
            work,
            item,
            standing,
            status,
            values,
            reason=str(row.get("reason") or "").strip()[:2000],
            at=at,
            seconds=float(row.get("seconds") or 0.0),
            consent=queue.consent_default if consent is None else consent,
            imported_by=importer.id,
        )
        return True


def _check(row: dict[str, Any]) -> tuple[datetime, ResponseStatus]:
    """The moment and kind of a row whose fields have the right form."""
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        raise InvalidInput(f"Unknown field {', '.join(unknown)}.", todo=f"Fields are {', '.join(sorted(_FIELDS))}.")
    if not row.get("trace_id") or not (row.get("person_id") or row.get("person")):
        raise InvalidInput("A row names its trace_id and its person_id (or person, by e-mail address).")
    status = row.get("status", ResponseStatus.SUBMITTED.value)
    if status not in _STATUSES:
        raise InvalidInput(f"{status!r} is no status of an imported response.", todo="submitted, discarded or flagged.")
    seconds = row.get("seconds") or 0.0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidInput(f"seconds is a number, not {seconds!r}.")
    if row.get("consent") not in (None, True, False):
        raise InvalidInput(f"consent is true or false, not {row['consent']!r}.")
    moment = row.get("at")
    try:
        at = moment if isinstance(moment, datetime) else from_iso(str(moment))
    except ValueError as error:
        raise InvalidInput(f"at: {error}.", todo="Write an ISO 8601 time with its offset.") from error
    if at.tzinfo is None or at > now():
        raise InvalidInput("A response's time is a moment in the past, with its offset.")
    return at, ResponseStatus(status)


def _person(work: UnitOfWork, row: dict[str, Any]) -> Actor:
    key = row.get("person_id") or person_by_email(work.session, str(row["person"])).id
    return actor_of_person(work.session, str(key))
