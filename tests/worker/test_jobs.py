"""How attempts at jobs begin, report and end, and what the worker does with them."""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlmodel import Session

from tests.tiny_models import tiny_llama
from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.errors import InvalidInput
from workbench.core.jobs import Job, JobState, LostLease, ProcessHeartbeat, enqueue, metrics_of
from workbench.identity.service import local_administrator
from workbench.worker import kinds, run
from workbench.worker.job_run import JobRun, Stopped
from workbench.worker.loop import Worker
from workbench.worker.run import WORKER

Work = Callable[[JobRun], dict[str, Any] | None]


def queue(services: Services, kind: str, **spec: Any) -> Job:
    with services.context.unit_of_work(local_administrator()) as work:
        return enqueue(work, kind=kind, title=f"Test {kind}", spec=spec, project_id=None)


def read(services: Services, job_id: str) -> Job:
    with services.context.database.session() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def change(services: Services, job_id: str, **values: Any) -> None:
    with Session(services.context.database.writing) as session, session.begin():
        job = session.get(Job, job_id)
        assert job is not None
        for name, value in values.items():
            setattr(job, name, value)
        session.add(job)


def attempt(services: Services, monkeypatch: pytest.MonkeyPatch, work: Work) -> JobRun:
    """Claim the only queued job and run `work` for it in this process."""
    monkeypatch.setitem(kinds.KINDS, "test", work)
    job = services.jobs.claim(WORKER, "test worker", ["test"])
    assert job is not None
    made = JobRun(services, WORKER, job, os.getpid())
    made.start()
    try:
        run._attempt(made)
    finally:
        made.stop()
    return made


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_a_job_that_returns_a_result_has_succeeded_and_its_curve_is_stored(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue(services, "test")

    def work(job_run: JobRun) -> dict[str, Any]:
        for step in range(1, 4):
            job_run.progress(step, 3, "steps", "going", remaining_seconds=3 - step)
            job_run.metric("loss", step, 1 / step)
        (job_run.folder / "checkpoint").write_text("x")
        return {"answer": 42}

    made = attempt(services, monkeypatch, work)
    ended = read(services, job.id)
    assert (ended.status, ended.result, ended.error) == (JobState.SUCCEEDED, {"answer": 42}, None)
    with services.context.database.session() as session:
        assert [(point.step, point.value) for point in metrics_of(session, job.id)] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert not (made.services.context.artifacts.root / "tmp" / f"job-{job.id}").exists()


def test_points_that_a_killed_attempt_had_not_written_yet_are_in_the_curve_of_the_next(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue(services, "test")
    claimed = services.jobs.claim(WORKER, "first worker", ["test"])
    assert claimed is not None
    killed = JobRun(services, WORKER, claimed, os.getpid())  # never started: its heartbeat never came to write
    killed.metric("loss", 1, 0.9)
    killed.metric("loss", 2, 0.8)
    with (killed.folder / "points.jsonl").open("a") as file:
        file.write('\n["loss", 3, 0.')
    change(services, job.id, lease_until=now() - timedelta(seconds=1))

    def work(job_run: JobRun) -> None:
        job_run.metric("loss", 2, 0.75)
        job_run.metric("loss", 3, 0.7)

    attempt(services, monkeypatch, work)
    with services.context.database.session() as session:
        assert [(point.step, point.value) for point in metrics_of(session, job.id)] == [(1, 0.9), (2, 0.75), (3, 0.7)]


def test_progress_is_shown_while_the_work_goes_on(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(services, "test")

    def work(job_run: JobRun) -> None:
        job_run.progress(1, 4, "steps", "training", remaining_seconds=9.04)
        wait_for(lambda: read(services, job.id).progress.get("done") == 1, 10)
        found = read(services, job.id)
        assert found.progress == {"done": 1, "total": 4, "unit": "steps", "message": "training", "remaining_seconds": 9.0}
        assert found.process_id == os.getpid()

    attempt(services, monkeypatch, work)
    assert read(services, job.id).status is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidInput("The dataset is empty.", todo="Build another."), "The dataset is empty. Build another."),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero See the job's log."),
        (MemoryError(), "MemoryError:"),
    ],
)
def test_a_job_that_raises_has_failed_with_the_reason(
    services: Services, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    job = queue(services, "test")

    def work(job_run: JobRun) -> None:
        raise error

    attempt(services, monkeypatch, work)
    ended = read(services, job.id)
    assert ended.status is JobState.FAILED
    assert (ended.error or "").startswith(expected)


def test_a_cancel_reaches_the_work_and_ends_the_job_as_cancelled(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(services, "test")

    def work(job_run: JobRun) -> None:
        services.jobs.cancel(local_administrator(), job.id)
        wait_for(job_run.should_stop, 20)
        raise Stopped

    attempt(services, monkeypatch, work)
    assert read(services, job.id).status is JobState.CANCELLED


def test_an_interrupted_job_keeps_its_folder_and_goes_on_where_it_was(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue(services, "test")

    def stopped(job_run: JobRun) -> None:
        (job_run.folder / "step").write_text("7")
        job_run.interrupted.set()
        job_run.check()

    attempt(services, monkeypatch, stopped)
    assert read(services, job.id).status is JobState.INTERRUPTED

    attempt(services, monkeypatch, lambda job_run: {"went on from": (job_run.folder / "step").read_text()})
    assert read(services, job.id).result == {"went on from": "7"}


def test_an_attempt_that_lost_its_job_writes_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(services, "test")
    recorded: list[str] = []

    def work(job_run: JobRun) -> None:
        change(services, job.id, lease_until=now() - timedelta(seconds=1))
        other = services.jobs.claim(WORKER, "another worker", ["test"])
        assert other is not None
        with job_run.finishing({"made": "late"}) as unit:
            recorded.append(unit.record("test.made", subject=("test", "1")))

    with pytest.raises(LostLease):
        attempt(services, monkeypatch, work)
    found = read(services, job.id)
    assert (found.status, found.result, found.attempt) == (JobState.RUNNING, {}, 2)
    assert recorded == []


def test_what_a_job_made_and_its_end_are_one_transaction(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue(services, "test")

    def work(job_run: JobRun) -> None:
        with job_run.finishing({"made": "it"}) as unit:
            unit.session.add(Job(id="made-by-the-job", kind="other", title="x", created_by="x"))
            unit.session.flush()
            raise ZeroDivisionError

    attempt(services, monkeypatch, work)
    assert read(services, job.id).status is JobState.FAILED
    with services.context.database.session() as session:
        assert session.get(Job, "made-by-the-job") is None


def test_a_heartbeat_does_not_take_the_end_of_its_own_job_for_a_lost_lease(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(services, "test")
    monkeypatch.setattr("workbench.worker.job_run.HEARTBEAT_SECONDS", 0.05)
    finish = services.jobs.finish

    def slowly(*arguments: Any, **named: Any) -> None:
        finish(*arguments, **named)
        made[0]._wake.set()
        made[0].lost.wait(1.5)

    made: list[JobRun] = []
    monkeypatch.setattr(services.jobs, "finish", slowly)
    attempt(services, monkeypatch, made.append)
    assert made[0].finished
    assert not made[0].lost.is_set()


def test_the_worker_runs_a_job_in_a_process_group_of_its_own_and_tells_that_it_lives(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_llama(tmp_path / "base")
    monkeypatch.setenv("WORKBENCH_BASE_MODEL", str(base))
    job = queue(services, "convert_base")
    worker = Worker(services)
    worker.look_once()
    child = worker.children[0]
    assert os.getpgid(child.process.pid) == child.process.pid != os.getpgid(0)
    assert read(services, job.id).leased_by == worker.name
    wait_for(lambda: read(services, job.id).status.is_terminal)
    ended = read(services, job.id)
    assert ended.status is JobState.SUCCEEDED, ended.error
    assert ended.result["content_hash"].startswith("sha256:")
    child.process.wait(20)
    worker.look_once()
    assert worker.children == []
    log_text = (services.context.settings.home / "logs" / "jobs" / f"{job.id}.log").read_text()
    assert "attempt 1" in log_text
    with services.context.database.session() as session:
        beat = session.get(ProcessHeartbeat, "worker")
    assert beat is not None
    assert beat.process_id == os.getpid()


SLEEPER = """
import sys, time
sys.path.insert(0, {root!r})
from workbench.worker import kinds, run
def work(job_run):
    while True:
        job_run.check()
        (job_run.folder / "steps").open("a").write("x")
        job_run.progress(1, 2, "steps", "sleeping")
        time.sleep(0.1)
kinds.KINDS["sleep"] = work
sys.exit(run.main(sys.argv[1:]))
"""


def sleeping_worker(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker whose jobs of the kind `sleep` run until they are stopped."""
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER.format(root=str(Path(__file__).resolve().parents[2])))
    monkeypatch.setitem(kinds.KINDS, "sleep", lambda job_run: None)
    worker = Worker(services)
    monkeypatch.setattr("workbench.worker.loop.RUN_COMMAND", [sys.executable, str(script)])
    return worker


def started(services: Services, worker: Worker, job: Job) -> psutil.Process:
    """Let the worker start the job, and wait until its process has the lease."""
    worker.look_once()
    wait_for(lambda: read(services, job.id).progress.get("message") == "sleeping")
    return psutil.Process(int(read(services, job.id).process_id or 0))


def test_a_killed_process_gives_its_job_back_at_once_and_the_next_attempt_resumes(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = sleeping_worker(services, tmp_path, monkeypatch)
    job = queue(services, "sleep")
    process = started(services, worker, job)
    process.kill()
    worker.children[0].process.wait(10)
    wait_for(lambda: (worker.look_once(), read(services, job.id).attempt == 2)[1], 15)
    assert read(services, job.id).status is JobState.RUNNING
    services.jobs.cancel(local_administrator(), job.id)
    wait_for(lambda: read(services, job.id).status is JobState.CANCELLED, 30)
    worker.stop_jobs(10)


def test_a_job_outlives_its_worker_and_a_new_worker_leaves_it_alone(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sleeping_worker(services, tmp_path, monkeypatch)
    job = queue(services, "sleep")
    process = started(services, first, job)
    second = Worker(services)  # The first is gone, as after kill -9: nobody looks after its children any more.
    waiting = queue(services, "sleep")
    before = (read(services, job.id).lease_until, read(services, job.id).fence)
    for _ in range(10):
        second.look_once()
        time.sleep(0.5)
    after = read(services, job.id)
    assert (after.status, after.fence) == (JobState.RUNNING, before[1])
    assert before[0] is not None
    assert after.lease_until is not None
    assert after.lease_until > before[0]
    assert read(services, waiting.id).status is JobState.QUEUED
    assert second.children == []

    second.stop_jobs(20)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert read(services, job.id).status is JobState.INTERRUPTED


def test_a_process_that_does_not_stop_in_time_is_killed_and_its_job_resumed_later(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = sleeping_worker(services, tmp_path, monkeypatch)
    job = queue(services, "sleep")
    process = started(services, worker, job)
    process.send_signal(signal.SIGSTOP)
    worker.stop_jobs(0.5)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert read(services, job.id).status is JobState.RUNNING
    resumed = services.jobs.claim(WORKER, "next start", ["sleep"])
    assert resumed is not None
    assert resumed.attempt == 2


def test_what_an_ended_job_left_is_swept_at_the_next_start_and_what_another_needs_is_kept(services: Services) -> None:
    ended, waiting = queue(services, "test"), queue(services, "test")
    services.jobs.cancel(local_administrator(), ended.id)
    folders = [services.context.artifacts.root / "tmp" / f"job-{job.id}" for job in (ended, waiting)]
    for folder in folders:
        folder.mkdir()
    Worker(services).sweep()
    assert [folder.exists() for folder in folders] == [False, True]


def test_a_number_that_now_belongs_to_another_process_is_never_signalled(services: Services) -> None:
    job = queue(services, "sleep")
    claimed = services.jobs.claim(WORKER, "gone", ["sleep"])
    assert claimed is not None
    services.jobs.heartbeat(WORKER, job.id, claimed.fence, process_id=os.getpid())
    assert Worker(services)._processes() == []
