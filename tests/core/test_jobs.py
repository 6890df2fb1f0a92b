from datetime import timedelta

import pytest

from workbench.bootstrap import Services
from workbench.core import jobs
from workbench.core.actors import Permission, process_actor
from workbench.core.clock import now
from workbench.core.errors import Conflict
from workbench.core.jobs import Job, JobState, LostLease, enqueue
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

WORKER = process_actor("worker", Permission.RUN_JOBS)


def queued(services: Services, project: Project) -> Job:
    with services.context.unit_of_work(local_administrator()) as work:
        return enqueue(work, kind="tune", title="Tune", spec={"rows": 3}, project_id=project.id)


def run_out(services: Services, job_id: str) -> None:
    with services.context.unit_of_work(WORKER) as work:
        job = work.get(Job, job_id)
        job.lease_until = now() - timedelta(seconds=1)
        work.add(job)


def stored(services: Services, job_id: str) -> Job:
    with services.context.database.session() as session:
        job = session.get(Job, job_id)
        assert job is not None
        return job


def test_a_job_is_leased_to_one_worker_only(services: Services, project: Project) -> None:
    job = queued(services, project)
    first = services.jobs.claim(WORKER, "w1", ["tune"])
    assert first is not None
    assert first.id == job.id
    assert services.jobs.claim(WORKER, "w2", ["tune"]) is None


def test_a_worker_takes_only_kinds_it_knows(services: Services, project: Project) -> None:
    queued(services, project)
    assert services.jobs.claim(WORKER, "w1", ["compare"]) is None


def test_a_lost_worker_that_wakes_up_changes_nothing(services: Services, project: Project) -> None:
    job = queued(services, project)
    old = services.jobs.claim(WORKER, "w1", ["tune"])
    assert old is not None
    run_out(services, job.id)
    new = services.jobs.claim(WORKER, "w2", ["tune"])
    assert new is not None
    assert new.fence == old.fence + 1
    with pytest.raises(LostLease):
        services.jobs.heartbeat(WORKER, job.id, old.fence, progress={"done": 99})
    with pytest.raises(LostLease):
        services.jobs.finish(WORKER, job.id, old.fence, JobState.SUCCEEDED, result={"from": "the dead"})
    services.jobs.finish(WORKER, job.id, new.fence, JobState.SUCCEEDED, result={"from": "the living"})
    assert stored(services, job.id).result == {"from": "the living"}


def test_a_job_that_kills_its_workers_ends_as_failed_with_the_reason(services: Services, project: Project) -> None:
    job = queued(services, project)
    for _ in range(jobs.MAX_LOSSES):
        assert services.jobs.claim(WORKER, "w", ["tune"]) is not None
        run_out(services, job.id)
    assert services.jobs.claim(WORKER, "w", ["tune"]) is None
    ended = stored(services, job.id)
    assert ended.status is JobState.FAILED
    assert "ended 4 times" in (ended.error or "")


def test_any_number_of_orderly_interruptions_fails_no_job(services: Services, project: Project) -> None:
    job = queued(services, project)
    for _ in range(jobs.MAX_LOSSES + 2):
        claimed = services.jobs.claim(WORKER, "w", ["tune"])
        assert claimed is not None
        services.jobs.finish(WORKER, job.id, claimed.fence, JobState.INTERRUPTED)
    assert services.jobs.claim(WORKER, "w", ["tune"]) is not None
    run_out(services, job.id)
    after = services.jobs.claim(WORKER, "w", ["tune"])
    assert after is not None
    assert after.losses == 1


def test_cancelling_a_waiting_job_ends_it_and_a_running_one_is_asked(services: Services, project: Project) -> None:
    waiting, running = queued(services, project), queued(services, project)
    claimed = services.jobs.claim(WORKER, "w", ["tune"])
    assert claimed is not None
    other = running if claimed.id == waiting.id else waiting
    assert services.jobs.cancel(local_administrator(), other.id).status is JobState.CANCELLED
    assert services.jobs.cancel(local_administrator(), claimed.id).status is JobState.RUNNING
    assert services.jobs.heartbeat(WORKER, claimed.id, claimed.fence) is True


def test_an_ended_job_cannot_be_cancelled(services: Services, project: Project) -> None:
    job = queued(services, project)
    services.jobs.cancel(local_administrator(), job.id)
    with pytest.raises(Conflict, match="already ended as cancelled"):
        services.jobs.cancel(local_administrator(), job.id)


def test_an_interrupted_job_is_claimed_again(services: Services, project: Project) -> None:
    job = queued(services, project)
    first = services.jobs.claim(WORKER, "w", ["tune"])
    assert first is not None
    services.jobs.finish(WORKER, job.id, first.fence, JobState.INTERRUPTED)
    again = services.jobs.claim(WORKER, "w", ["tune"])
    assert again is not None
    assert again.attempt == 2


def test_a_repeated_step_replaces_the_point_of_a_curve(services: Services, project: Project) -> None:
    job = queued(services, project)
    claimed = services.jobs.claim(WORKER, "w", ["tune"])
    assert claimed is not None
    services.jobs.add_metrics(WORKER, job.id, claimed.fence, [("loss", 1, 3.0), ("loss", 2, 2.0)])
    services.jobs.add_metrics(WORKER, job.id, claimed.fence, [("loss", 2, 1.5)])
    with services.context.database.session() as session:
        assert [(m.step, m.value) for m in jobs.metrics_of(session, job.id)] == [(1, 3.0), (2, 1.5)]
