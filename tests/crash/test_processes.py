"""kill -9 of each process of a running workbench while its demo project is loaded, fine-tunes and releases.

The tests follow one workbench through its first start, in their order; each makes for itself what an earlier one left undone.
"""

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import func
from sqlmodel import SQLModel, col, select

from tests.browser.walking import wait_for
from tests.crash.acts import load
from tests.crash.dying import Diary, Victim
from tests.crash.machine import CHILDREN, PATIENCE, Machine
from tests.crash.record import assert_everything_is_recorded_once, events_of_command, ledger
from tests.tiny_models import tiny_llama
from workbench.annotation.models import Response
from workbench.core.jobs import Job, JobState, metrics_of
from workbench.core.recording import AuditOutbox
from workbench.datasets.models import DatasetVersion
from workbench.golden.models import GoldenCase
from workbench.identity.models import Person
from workbench.knowledge.models import KnowledgeEntry
from workbench.prompts.models import PromptVersion
from workbench.releases.models import Approval, ChannelMove, Release
from workbench.releases.verify import live
from workbench.traces.models import Feedback, Span, Trace
from workbench.tuning.models import Adapter
from workbench.workflows.demo import DEMO_FOLDER, demo_people, find_project, read_json, read_lines
from workbench.workflows.demo import load as load_demo

pytestmark = [pytest.mark.slow, pytest.mark.real_model, pytest.mark.timeout(3 * PATIENCE)]

FIRST_CHECKPOINT = 20
"""Steps after which the triage recipe has its first checkpoint."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    machine = Machine(folder / "home", tiny_llama(folder / "base"))
    try:
        yield machine
    finally:
        if machine.process is not None and machine.process.poll() is None:
            machine.cut_power()
        machine.services.context.database.dispose()


def test_a_demo_load_killed_again_and_again_is_loaded_once(machine: Machine) -> None:
    diary = Diary(machine.home.parent / "load.diary")
    for after_line, commits in (("Loading", 9), ("people", 4), ("knowledge", 5)):
        work = partial(load, after_line=after_line, commits=commits)
        assert Victim(machine.home, diary, work).wait(PATIENCE) == -9, f"the load did not come past {after_line!r}"
    context = machine.services.context
    assert load_demo(context, say=lambda line: None)
    assert not load_demo(context, say=lambda line: None)

    spans = {
        found
        for path in (DEMO_FOLDER / "traces").glob("*.jsonl")
        for found in re.findall(r'"traceId": ?"(\w{32})", ?"spanId": ?"(\w{16})"', path.read_text(encoding="utf-8"))
    }
    assert stored(machine, Span) == len(spans)
    assert stored(machine, Trace) == len({trace_id for trace_id, _ in spans})
    for model, name in (
        (Feedback, "feedback.jsonl"), (Response, "annotations.jsonl"), (KnowledgeEntry, "knowledge.jsonl"),
    ):  # fmt: skip
        assert stored(machine, model) == len(list(read_lines(DEMO_FOLDER / name)))
    golden = [*read_lines(DEMO_FOLDER / "triage" / "golden.jsonl"), *read_lines(DEMO_FOLDER / "answers_golden.jsonl")]
    assert stored(machine, GoldenCase) == len(golden)
    assert stored(machine, Person) == len(read_json(DEMO_FOLDER / "people.json"))
    assert (stored(machine, PromptVersion), stored(machine, Job)) == (1, 1)
    with context.database.session() as session:
        commands = session.exec(select(AuditOutbox.command_id).where(col(AuditOutbox.command_id).is_not(None))).all()
    for command_id in set(commands):
        assert len(events_of_command(context, str(command_id))) == len(set(events_of_command(context, str(command_id))))


def test_a_fine_tune_whose_process_is_killed_goes_on_from_a_checkpoint_that_verifies(machine: Machine) -> None:
    machine.up()
    job = running_fine_tune(machine)
    assert machine.kill_process_of(job.id)
    assert steps_of_next_attempt(machine, job) >= FIRST_CHECKPOINT


def test_a_killed_process_is_started_again_and_the_fine_tune_goes_on_undisturbed(machine: Machine) -> None:
    machine.up()
    job = running_fine_tune(machine)
    before = {name: machine.number_of(name) for name in CHILDREN}
    for name in CHILDREN:
        os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: all(machine.number_of(name) not in (0, before[name]) for name in CHILDREN), PATIENCE, what="new processes")
    wait_for(machine.is_healthy, PATIENCE, what="health")
    now = machine.read(job.id)
    assert (now.attempt, now.fence, now.process_id or job.process_id) == (job.attempt, job.fence, job.process_id)
    assert now.status in (JobState.RUNNING, JobState.SUCCEEDED)


def test_a_fine_tune_goes_on_after_the_supervisor_was_killed_and_started_again(machine: Machine) -> None:
    machine.up()
    job = running_fine_tune(machine)
    machine.kill_supervisor()
    assert machine.read(job.id).status is JobState.INTERRUPTED
    machine.up()
    assert steps_of_next_attempt(machine, job) >= FIRST_CHECKPOINT


def test_a_fine_tune_goes_on_after_everything_was_killed_at_once(machine: Machine) -> None:
    machine.up()
    job = running_fine_tune(machine)
    machine.cut_power()
    assert machine.read(job.id).status is JobState.RUNNING
    machine.up()
    assert steps_of_next_attempt(machine, job) >= FIRST_CHECKPOINT


def test_a_release_whose_job_is_killed_between_proposal_approval_and_promotion_is_made_once(machine: Machine) -> None:
    machine.up()
    killed = 0
    made: tuple[type[SQLModel], ...] = (Release, Approval)
    for model in made:
        wait_for(partial(stored, machine, model), PATIENCE, every=0.005, what=f"the first {model.__name__}")
        (job,) = machine.jobs("demo_incumbent", step="release")
        killed += machine.kill_process_of(job.id)
    wait_for(lambda: machine.read(job.id).status.is_terminal, PATIENCE, what="the release")
    ended = machine.read(job.id)
    assert ended.status is JobState.SUCCEEDED, ended.error
    assert killed
    assert ended.attempt > 1
    assert [stored(machine, model) for model in (Release, Approval, ChannelMove)] == [1, 1, 1]
    types = Counter(str(event["type"]) for event in ledger(machine.home))
    assert [types[f"releases.{act}"] for act in ("proposed", "approved", "promoted")] == [1, 1, 1]
    found = live(machine.services.context, ended.project_id or "")
    assert (found.release.number, found.move.number) == (1, 1)


def test_afterwards_everything_is_there_once_and_an_outsider_and_the_doctor_find_nothing_wrong(machine: Machine) -> None:
    machine.up()
    wait_for(lambda: all(job.status.is_terminal for job in machine.jobs()), PATIENCE, what="the end of every job")
    context = machine.services.context
    assert_everything_is_recorded_once(context)
    events = Counter((str(event["type"]), json.dumps(event["subject"]["id"])) for event in ledger(machine.home))  # type: ignore[index]
    tunes = machine.jobs("tune")
    with context.database.session() as session:
        assert session.exec(select(func.count()).select_from(DatasetVersion)).one() == 1
        adapters = Counter(session.exec(select(Adapter.job_id)))
        for job in tunes:
            assert job.status is JobState.SUCCEEDED, job.error
            assert events["jobs.succeeded", json.dumps(job.id)] == 1
            assert events["jobs.started", json.dumps(job.id)] == job.attempt
            losses = [point.step for point in metrics_of(session, job.id) if point.name == "loss"]
            assert losses == list(range(1, losses[-1] + 1)), "the curve has neither holes nor doubles"
            context.artifacts.verify(job.result["adapter_hash"])
            if job.attempt > 1:
                log = (machine.home / "logs" / "jobs" / f"{job.id}.log").read_text()
                assert int(re.findall(r"going on from step (\d+)", log)[-1]) >= FIRST_CHECKPOINT
    assert adapters == Counter(job.id for job in tunes)
    assert sum(number for (kind, _), number in events.items() if kind == "tuning.adapter_registered") == len(tunes)
    assert list((machine.home / "artifacts" / "tmp").glob("job-*")) == [], "ended jobs leave nothing behind"
    wait_for(machine.is_healthy, PATIENCE, what="health")
    for command in (("audit", "verify"), ("doctor",)):
        ended = machine.command(*command)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def stored(machine: Machine, model: type[SQLModel]) -> int:
    """How many rows a table has."""
    with machine.services.context.database.session() as session:
        return session.exec(select(func.count()).select_from(model)).one()


def running_fine_tune(machine: Machine) -> Job:
    """A fine-tune in the middle, past a checkpoint: the demo's first one, or another on its dataset when that has ended."""
    wait_for(lambda: machine.jobs("tune"), PATIENCE, what="the demo's fine-tune")
    job = machine.jobs("tune")[-1]
    if job.status.is_terminal:
        job = launch_another(machine, job)
    wait_for(lambda: in_the_middle(machine, job.id), PATIENCE, every=0.05, what="a fine-tune past a checkpoint")
    return machine.read(job.id)


def launch_another(machine: Machine, job: Job) -> Job:
    services = machine.services
    with services.context.database.session() as session:
        project = find_project(session)
    assert project is not None
    return services.tuning.launch(
        demo_people(services.context)["engineer"], project.id, recipe="triage", dataset_id=job.spec["dataset_id"],
        settings={"seed": 17 + len(machine.jobs("tune"))}, reason="Once more",
    )  # fmt: skip


def in_the_middle(machine: Machine, job_id: str) -> bool:
    job = machine.read(job_id)
    assert not job.status.is_terminal, f"the fine-tune ended before it could be killed: {job.error or job.state}"
    trained = job.progress.get("loss") is not None and job.progress["done"] > FIRST_CHECKPOINT
    return trained and machine.process_of(job) is not None


def steps_of_next_attempt(machine: Machine, job: Job) -> int:
    """The first steps that the attempt after `job.attempt` shows: few when it began anew."""

    def training() -> bool:
        now = machine.read(job.id)
        assert now.status is not JobState.FAILED, now.error
        return now.attempt > job.attempt and now.progress.get("loss") is not None

    wait_for(lambda: machine.read(job.id).attempt > job.attempt, PATIENCE, what="another attempt")
    # What the killed attempt had shown last is there until this one says that it loads.
    wait_for(lambda: not training(), PATIENCE, every=0.02, what="the beginning of the next attempt")
    wait_for(training, PATIENCE, every=0.02, what="a step of the next attempt")
    return int(machine.read(job.id).progress["done"])
