"""The tune job end to end in its own process: on a tiny model, through kills and restarts, once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select

from tests.tiny_models import tiny_llama
from tests.tuning.factories import FakeRuntime, answer_contents, make_dataset
from tests.worker.test_jobs import read, wait_for
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.jobs import Job, JobState, metrics_of
from workbench.core.recording import AuditOutbox
from workbench.core.settings import Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.runtime.adapters import AdapterCard
from workbench.runtime.base_models import BaseModels, embedding_model
from workbench.tuning import queries
from workbench.tuning.estimate import read_calibration
from workbench.worker.loop import Worker

TRIAGE = [
    {"text": f"{text} {place}", "label": label}
    for label, text in {"cards": "I lost my card in", "loans": "I want to repay the loan for my house in"}.items()
    for place in ("Hanoi", "Madrid", "Paris", "Lima", "Rome", "Quito", "Bonn", "Oslo", "Cork", "Bari", "Graz", "Nice")
]
LONG = {"epochs": 8, "batch_size": 1, "last_layers": 2}
"""Two hundred steps, so that a tiny model is still at them when the test comes to stop it."""
Someone = Callable[..., Actor]
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose base model is a tiny one, for this process and those it starts."""
    monkeypatch.setenv("WORKBENCH_BASE_MODEL", str(tiny_llama(tmp_path / "base")))
    monkeypatch.setenv("WORKBENCH_THREADS", "1")
    monkeypatch.setenv("WORKBENCH_HOME", str(home))
    return Settings()


def launch(services: Services, project: Project, actor: Actor, recipe: str, **settings: object) -> Job:
    """Queue a fine-tune on a small frozen dataset version."""
    if recipe == "generative":
        contents, task, base = answer_contents(24), "generation", BaseModels(services.context.settings).ensure().content_hash
    else:
        contents, task, base = TRIAGE, "triage", embedding_model().content_hash
    part = {"state": "ready", "name": "tiny", "hash": base}
    services.context.extras["runtime_client"] = FakeRuntime({"status": "ok", "base": part, "embedder": part})
    dataset = make_dataset(services, project.id, contents, task=task)
    return services.tuning.launch(actor, project.id, recipe=recipe, dataset_id=dataset.id, settings=settings)


def steps_done(services: Services, job: Job) -> int:
    found = read(services, job.id).progress
    return int(found.get("done", 0)) if found.get("unit") == "steps" and found.get("loss") else 0


def run_to_the_end(services: Services, worker: Worker, job: Job) -> Job:
    wait_for(lambda: (worker.look_once(), read(services, job.id).status.is_terminal)[1], 180)
    return read(services, job.id)


def registered(services: Services, job: Job) -> int:
    with services.context.database.session() as session:
        events = session.exec(select(AuditOutbox).where(AuditOutbox.type == "tuning.adapter_registered")).all()
        assert queries.by_job(session, job.id) is not None
    return len(events)


def test_a_fine_tune_killed_in_the_middle_goes_on_and_leaves_one_adapter_with_its_receipt(
    services: Services, project: Project, someone: Someone
) -> None:
    job = launch(services, project, someone(Role.ENGINEER, name="Ada"), "generative", **LONG)
    worker = Worker(services)
    wait_for(lambda: (worker.look_once(), steps_done(services, job) >= 12)[1], 600)
    running = read(services, job.id).process_id
    assert running
    os.kill(running, signal.SIGKILL)
    ended = run_to_the_end(services, worker, job)

    assert ended.status is JobState.SUCCEEDED, ended.error
    assert ended.attempt == 2
    assert registered(services, job) == 1
    with services.context.database.session() as session:
        adapter = queries.by_job(session, job.id)
        losses = [point for point in metrics_of(session, job.id) if point.name == "loss"]
    assert adapter is not None
    assert [point.step for point in losses] == list(range(1, 24 * LONG["epochs"] + 1))
    assert adapter.content_hash == ended.result["adapter_hash"]
    assert adapter.launched_by_name == "Ada"
    assert adapter.settings["epochs"] == LONG["epochs"]
    assert adapter.seconds > 0
    assert adapter.tokens > 0
    card = AdapterCard.read(services.context.artifacts.verify(adapter.content_hash))
    assert (card.kind, card.base_hash, card.dataset_hash) == ("generator", adapter.base_hash, job.spec["dataset_hash"])
    log = (services.context.settings.home / "logs" / "jobs" / f"{job.id}.log").read_text()
    assert "going on from step" in log
    wait_for(lambda: not (services.context.artifacts.root / "tmp" / f"job-{job.id}").exists(), 10)


def test_stopping_the_workbench_interrupts_a_fine_tune_and_the_next_start_finishes_it(
    services: Services, project: Project, someone: Someone
) -> None:
    job = launch(services, project, someone(Role.ENGINEER), "generative", **LONG)
    first = Worker(services)
    wait_for(lambda: (first.look_once(), steps_done(services, job) >= 7)[1], 180)
    first.stop_jobs(60)
    stopped = read(services, job.id)
    assert stopped.status is JobState.INTERRUPTED
    ended = run_to_the_end(services, Worker(services), job)
    assert ended.status is JobState.SUCCEEDED, ended.error
    assert registered(services, job) == 1


def test_a_cancelled_fine_tune_ends_within_a_step_and_leaves_nothing(
    services: Services, project: Project, someone: Someone
) -> None:
    job = launch(services, project, someone(Role.ENGINEER), "generative", **LONG)
    worker = Worker(services)
    wait_for(lambda: (worker.look_once(), steps_done(services, job) >= 3)[1], 180)
    services.jobs.cancel(local_administrator(), job.id, reason="The wrong dataset")
    ended = run_to_the_end(services, worker, job)
    assert ended.status is JobState.CANCELLED
    with services.context.database.session() as session:
        assert queries.by_job(session, job.id) is None


@pytest.mark.real_model
def test_a_triage_fine_tune_makes_an_adapter_and_teaches_the_estimate(
    services: Services, project: Project, someone: Someone
) -> None:
    job = launch(services, project, someone(Role.ENGINEER), "triage", epochs=4)
    ended = run_to_the_end(services, Worker(services), job)
    assert ended.status is JobState.SUCCEEDED, ended.error
    with services.context.database.session() as session:
        adapter = queries.by_job(session, job.id)
    assert adapter is not None
    assert adapter.labels == ["cards", "loans"]
    assert adapter.metrics["final_train_accuracy"] > 0.8
    assert ended.result["adapter_id"] == adapter.id
    assert read_calibration(services.context.settings).keys() <= {"triage"}


def test_a_base_model_that_was_exchanged_since_the_launch_fails_the_job_with_the_reason(
    services: Services, project: Project, someone: Someone, tmp_path: Path
) -> None:
    job = launch(services, project, someone(Role.ENGINEER), "generative")
    tiny_llama(tmp_path / "base", seed=77)
    ended = run_to_the_end(services, Worker(services), job)
    assert ended.status is JobState.FAILED
    assert "not the one the fine-tune was launched for" in (ended.error or "")
