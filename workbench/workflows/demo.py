"""Loads the demo project through the doors a customer would use, and prepares its first release.

`load` brings in people, traces, feedback, knowledge, golden sets and earlier responses, and queues the job that trains the
incumbent triage adapter on the data from before the planted confusions appeared and, once the runtime has converted the base
model, releases both as version 1. Every act is the demo people's, and in the ledger as such.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from workbench.annotation.models import Queue
from workbench.annotation.schema import Question
from workbench.annotation.service import AnnotationService
from workbench.core.actors import Actor, Role
from workbench.core.clock import from_iso
from workbench.core.errors import Conflict
from workbench.core.jobs import Job, enqueue
from workbench.core.settings import REPOSITORY
from workbench.core.unit_of_work import Context
from workbench.golden.service import GoldenService
from workbench.identity.models import Project
from workbench.identity.queries import person_by_email
from workbench.identity.service import IdentityService, actor_of_person, local_administrator
from workbench.knowledge.service import KnowledgeService
from workbench.prompts.service import PromptService
from workbench.traces.service import TraceService

DEMO_FOLDER = REPOSITORY / "data" / "demo"
DEMO_PASSWORD = "demo-password"  # noqa: S105 - printed at each start; demo accounts work on this machine only
DOMAIN = "demo.bank.example"
EARLIER_QUEUE = "Reviewed answers"
TRIAGE_SET = "Triage"
ANSWERS_SET = "Answers"
_NEWEST_LIES_BEFORE_NOW = timedelta(minutes=7)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shift:
    """Moves the demo's recorded times so that they end shortly before now."""

    to: datetime
    reference: datetime

    def moved(self, text: str) -> str:
        """An ISO 8601 moment, moved."""
        return (from_iso(text) + (self.to - self.reference)).isoformat()


def read_json(path: Path) -> Any:
    """The JSON value of a demo file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a demo file, one a line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def find_project(session: Session, folder: Path = DEMO_FOLDER) -> Project | None:
    """The demo project, when it is there."""
    key = read_json(folder / "project.json")["key"]
    return session.exec(select(Project).where(Project.key == key)).first()


def load(context: Context, *, say: Say, folder: Path = DEMO_FOLDER) -> bool:
    """Load the demo project; returns False when it was loaded completely before.

    Each step is idempotent, so that a load that was killed goes on where it stopped.

    Raises:
        Conflict: the workbench listens on other machines' addresses.
    """
    if context.settings.host not in ("127.0.0.1", "localhost", "::1"):
        raise Conflict(
            "The demo project's accounts have a public password, so it is not loaded on an address others can reach.",
            todo="Start with --empty, or unset WORKBENCH_HOST.",
        )
    with context.database.session() as session:
        project = find_project(session, folder)
        if project is not None and _queued(session, project.id):
            return False
    say("Loading the demo project")
    project = project or _add_project(context, folder)
    people = _add_people(context, project, folder)
    say("  people and roles")
    # From the project's own moment and not from now: a load that goes on after a kill must name the same moments again.
    newest = project.created_at - _NEWEST_LIES_BEFORE_NOW
    times = Shift(newest, from_iso(read_json(folder / "project.json")["reference_time"]))
    count = _import_traces(context, project, folder, times)
    say(f"  {count} traces with feedback")
    _import_knowledge(context, project, people, folder)
    _import_golden(context, project, people, folder)
    _add_prompt(context, project, people, folder)
    say("  knowledge, golden sets and the prompt")
    _import_annotations(context, project, people, folder, times)
    say("  the annotation queues")
    _queue_preparation(context, project, people, before=times.moved(_confusions_from(folder).isoformat()))
    return True


def _queued(session: Session, project_id: str) -> bool:
    return session.exec(select(Job).where(Job.project_id == project_id, Job.kind == "demo_incumbent")).first() is not None


def _add_project(context: Context, folder: Path) -> Project:
    fields = read_json(folder / "project.json")
    return IdentityService(context).add_project(
        local_administrator(),
        key=fields["key"],
        name=fields["name"],
        description=fields["description"],
        languages=fields["languages"],
        teams=fields["teams"],
        is_demo=True,
    )


def _add_people(context: Context, project: Project, folder: Path) -> dict[str, Actor]:
    """Accounts by the part of the address before the @, as actors with the roles they were given."""
    identity = IdentityService(context)
    for fields in read_json(folder / "people.json"):
        try:
            person = identity.add_person(
                local_administrator(), email=fields["email"], name=fields["name"], password=DEMO_PASSWORD, is_demo=True
            )
        except Conflict:
            with context.database.session() as session:
                person = person_by_email(session, fields["email"])
        for role in map(Role, fields["roles"]):
            identity.grant(local_administrator(), person.id, role, None if role is Role.ADMIN else project.id)
    return demo_people(context, folder)


def demo_people(context: Context, folder: Path = DEMO_FOLDER) -> dict[str, Actor]:
    """The demo accounts by the part of their address before the @."""
    people: dict[str, Actor] = {}
    with context.database.session() as session:
        for fields in read_json(folder / "people.json"):
            person = person_by_email(session, fields["email"])
            people[fields["email"].split("@")[0]] = actor_of_person(session, person.id)
    return people


def _import_traces(context: Context, project: Project, folder: Path, times: Shift) -> int:
    traces = TraceService(context)
    count = 0
    for path in sorted((folder / "traces").glob("*.jsonl")):
        report = traces.import_file(local_administrator(), project.id, path, shift_to=times.to, reference=times.reference)
        if report.bad_lines or report.rejected:
            raise Conflict(f"The demo file {path.name} is damaged.", why=str((report.bad_lines + report.rejected)[0]))
        count += report.traces
    signals = []
    for number, row in enumerate(read_lines(folder / "feedback.jsonl")):
        lowest, highest = row.pop("range", (None, None))
        row.update(at=times.moved(row["at"]), minimum=lowest, maximum=highest, key=f"demo:{number}")
        signals.append(row)
    traces.add_feedback_many(local_administrator(), project.id, signals)
    return count


def _import_knowledge(context: Context, project: Project, people: dict[str, Actor], folder: Path) -> None:
    knowledge = KnowledgeService(context)
    text = (folder / "knowledge.jsonl").read_text(encoding="utf-8")
    report = knowledge.import_jsonl(
        people["expert"], project.id, text, reason="First import of the approved texts", command_id="demo:knowledge"
    )
    if report.errors:
        raise Conflict("The demo knowledge is damaged.", why=str(report.errors[0]))
    if report.drafts:
        knowledge.certify_drafts(
            people["expert2"], project.id, reason="Read against the sources, second pair of eyes", command_id="demo:certify"
        )


def _import_golden(context: Context, project: Project, people: dict[str, Actor], folder: Path) -> None:
    golden = GoldenService(context)
    for name, task, path in [
        (TRIAGE_SET, "triage", folder / "triage" / "golden.jsonl"),
        (ANSWERS_SET, "answers", folder / "answers_golden.jsonl"),
    ]:
        golden.import_jsonl(
            people["engineer"], project.id, name=name, task=task, data=path.read_bytes(), reason="First version",
            command_id=f"demo:golden:{task}",
        )  # fmt: skip


def _add_prompt(context: Context, project: Project, people: dict[str, Actor], folder: Path) -> None:
    fields = read_json(folder / "prompts.json")
    PromptService(context).create_version(
        people["engineer"],
        project.id,
        name=fields["name"],
        content=fields["content"],
        reason="First version",
        command_id="demo:prompt",
    )


def _import_annotations(context: Context, project: Project, people: dict[str, Actor], folder: Path, times: Shift) -> None:
    annotation = AnnotationService(context)
    questions = [Question.from_json(value) for value in read_json(folder / "schema.json")["questions"]]
    guidelines = (folder / "guidelines.md").read_text(encoding="utf-8")
    engineer = people["engineer"]
    rows = list(read_lines(folder / "annotations.jsonl"))
    earlier = annotation.create_queue(
        engineer, project.id, name=EARLIER_QUEUE, description="What the annotators have reviewed over the last weeks.",
        guidelines=guidelines, questions=questions, command_id="demo:queue:earlier",
    )  # fmt: skip
    if earlier.closed_at is None:  # a load that was killed after this goes on behind it
        _fill_earlier_queue(context, project, people, earlier, rows, times)
    queue = read_json(folder / "queue.json")
    waiting = annotation.create_queue(
        engineer, project.id, name=queue["name"], description="Low-rated or risky answers nobody has looked at yet.",
        guidelines=guidelines, questions=questions, command_id="demo:queue:waiting",
    )  # fmt: skip
    annotation.add_items(engineer, waiting.id, [item["trace_id"] for item in queue["items"]], "demo:items:waiting")


def _fill_earlier_queue(
    context: Context,
    project: Project,
    people: dict[str, Actor],
    earlier: Queue,
    rows: list[dict[str, Any]],
    times: Shift,
) -> None:
    annotation, engineer, admin = AnnotationService(context), people["engineer"], people["admin"]
    answered = Counter(row["trace_id"] for row in rows)  # in the order of the file
    once = [trace for trace, responses in answered.items() if responses == 1]
    twice = [trace for trace, responses in answered.items() if responses > 1]
    annotation.add_items(engineer, earlier.id, once, "demo:items:once", min_submitted=1)
    if twice:
        annotation.add_items(engineer, earlier.id, twice, "demo:items:twice", min_submitted=2)
    report = annotation.import_responses(
        admin,
        project.id,
        earlier.id,
        (
            {
                "trace_id": row["trace_id"],
                "person": row["person"],
                "values": {name: row[name] for name in ("rating", "triage", "rewrite", "flags") if row.get(name)},
                "at": times.moved(row["at"]),
                "reason": row.get("note", ""),
            }
            for row in rows
        ),
    )
    if report.problems:
        raise Conflict("The demo responses are damaged.", why=report.problems[0])
    annotation.close_queue(engineer, earlier.id, reason="All reviewed", command_id="demo:close:earlier")


def _confusions_from(folder: Path) -> datetime:
    """The recorded moment at which the planted confusions begin."""
    fields = read_json(folder / "project.json")
    return from_iso(fields["reference_time"]) - timedelta(days=fields["days"] - fields["confusions_from_day"])


def _queue_preparation(context: Context, project: Project, people: dict[str, Actor], *, before: str) -> None:
    with context.unit_of_work(people["engineer"]) as work:
        if work.once("demo:preparation") is not None:
            return
        enqueue(
            work, kind="demo_incumbent", title="Prepare the first release", spec={"step": "train", "before": before},
            project_id=project.id,
        )  # fmt: skip
        work.remember(queued=True)
