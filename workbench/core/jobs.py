"""Long work as rows: queued by a command, leased by a worker, written only with the attempt's fencing token.

Disconnecting a browser, restarting the pages or killing the worker never stops a job: it runs in a subprocess of its own
that renews its own lease. A lease that runs out returns the job to the queue; whoever held it before changes nothing
any more, since each claim raises the fence and each write checks it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlmodel import Field, Session, SQLModel, col, select

from workbench.core.actors import Actor, Permission
from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.errors import Conflict
from workbench.core.ids import new_id
from workbench.core.unit_of_work import Context, Service, UnitOfWork

LEASE = timedelta(seconds=20)
"""How long a job may be silent before another worker may take it."""

MAX_LOSSES = 4
"""A job that lost its worker this often ends as failed, so that a poisonous one does not run for ever."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """Stopped by an orderly shutdown after a checkpoint; the next start resumes it."""

    @property
    def is_terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Job(SQLModel, table=True):
    """One piece of long work and how far it is."""

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str | None = Field(default=None, index=True)
    kind: str
    """convert_base, tune, compare, …: see worker/kinds.py."""
    title: str
    """What a person reads in the list of jobs."""
    spec: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """All the job needs, as ids and hashes and settings."""
    state: str = Field(default=JobState.QUEUED.value, index=True)
    attempt: int = 0
    """How often it was begun; an orderly shutdown begins it once more too."""
    losses: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often its process ended without a word: killed, out of memory, crashed."""
    fence: int = 0
    """Raised at each claim. A write with an older fence is refused."""
    leased_by: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    process_id: int | None = None
    cancel_requested: bool = False
    progress: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """{"done": 12, "total": 60, "unit": "steps", "message": "…", "remaining_seconds": 40}"""
    result: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    error: str | None = None
    created_by: str
    created_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def status(self) -> JobState:
        return JobState(self.state)


class JobMetric(SQLModel, table=True):
    """One point of a job's live curves, such as the loss of a step."""

    __tablename__ = "job_metric"

    job_id: str = Field(primary_key=True, foreign_key="job.id")
    name: str = Field(primary_key=True)
    step: int = Field(primary_key=True)
    value: float
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class LostLease(Conflict):
    """This attempt no longer holds the job; what it wanted to write is refused."""


def enqueue(work: UnitOfWork, *, kind: str, title: str, spec: dict[str, Any], project_id: str | None, reason: str = "") -> Job:
    """Queue a job inside a command's transaction and record it."""
    job = Job(
        kind=kind, title=title, spec=spec, project_id=project_id, created_by=work.actor.id, created_by_name=work.actor.name
    )
    work.add(job)
    work.record("jobs.queued", subject=job, reason=reason, kind=kind, title=title)
    return job


class JobStore(Service):
    """The worker's side of the jobs table."""

    def claim(self, actor: Actor, worker: str, kinds: Sequence[str]) -> Job | None:
        """Lease the oldest job that is queued, interrupted, or whose lease ran out; None when there is none.

        A job that lost its worker `MAX_LOSSES` times is ended as failed instead.
        """
        with self.unit_of_work(actor) as work:
            moment = now()
            statement = (
                select(Job)
                .where(col(Job.kind).in_(list(kinds)))
                .where(
                    col(Job.state).in_([JobState.QUEUED, JobState.INTERRUPTED])
                    | ((col(Job.state) == JobState.RUNNING) & (col(Job.lease_until) < moment))
                )
                .order_by(col(Job.created_at), col(Job.id))
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            job = work.session.exec(statement).first()
            if job is None:
                return None
            if job.state == JobState.RUNNING:
                job.losses += 1
                work.add(job)
            if job.cancel_requested:
                self._end(work, job, JobState.CANCELLED, "Cancelled before it ran again.")
                return None
            if job.losses >= MAX_LOSSES:
                self._end(
                    work, job, JobState.FAILED, f"Its process ended {job.losses} times without a result. See the job's log."
                )
                return None
            job.state = JobState.RUNNING
            job.attempt += 1
            job.fence += 1
            job.leased_by = worker
            job.lease_until = moment + LEASE
            job.process_id = None
            job.started_at = job.started_at or moment
            work.session.add(job)
            work.record("jobs.started", subject=job, attempt=job.attempt, resumed=job.attempt > 1)
            return job

    @contextmanager
    def fenced(self, actor: Actor, job_id: str, fence: int) -> Iterator[tuple[UnitOfWork, Job]]:
        """A transaction that only commits when this attempt still holds the job.

        Raises:
            LostLease: another attempt has taken the job over, or it has ended.
        """
        with self.unit_of_work(actor) as work:
            job = work.get(Job, job_id, lock=True)
            if job.fence != fence or job.state != JobState.RUNNING:
                raise LostLease(f"The job {job_id} is no longer held by this attempt.", why=f"Its state is {job.state}.")
            yield work, job

    def heartbeat(
        self, actor: Actor, job_id: str, fence: int, *, process_id: int | None = None, progress: dict[str, Any] | None = None
    ) -> bool:
        """Renew the lease and write progress; returns whether a cancel was asked for.

        Raises:
            LostLease
        """
        with self.fenced(actor, job_id, fence) as (work, job):
            job.lease_until = now() + LEASE
            if process_id is not None:
                job.process_id = process_id
            if progress is not None:
                job.progress = progress
            work.session.add(job)
            return job.cancel_requested

    def add_metrics(self, actor: Actor, job_id: str, fence: int, points: Sequence[tuple[str, int, float]]) -> None:
        """Write points (name, step, value) of live curves; a repeated step replaces the point."""
        with self.fenced(actor, job_id, fence) as (work, _job):
            for name, step, value in points:
                work.session.merge(JobMetric(job_id=job_id, name=name, step=step, value=value))

    def finish(
        self,
        actor: Actor,
        job_id: str,
        fence: int,
        state: JobState,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """End this attempt. Results that are rows of their own are written with `fenced` and `finish_in`."""
        with self.fenced(actor, job_id, fence) as (work, job):
            self.finish_in(work, job, state, result=result, error=error)

    def finish_in(
        self, work: UnitOfWork, job: Job, state: JobState, *, result: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        """The same inside a fenced transaction that also stores what the job made."""
        if result is not None:
            job.result = result
        self._end(work, job, state, error)

    @staticmethod
    def _end(work: UnitOfWork, job: Job, state: JobState, error: str | None) -> None:
        job.state = state.value
        job.error = error
        job.lease_until = None
        job.process_id = None
        job.finished_at = now() if state.is_terminal else None
        work.session.add(job)
        work.record(f"jobs.{state.value}", subject=job, reason=error or "", attempt=job.attempt)

    def cancel(self, actor: Actor, job_id: str, *, reason: str = "") -> Job:
        """Ask a job to stop; one that waits ends at once. Whoever asked for it may, and whoever may stop any.

        Raises:
            Conflict: it has already ended.
        """
        with self.unit_of_work(actor) as work:
            job = work.get(Job, job_id, lock=True)
            work.require(Permission.READ_PROJECT if job.created_by == actor.id else Permission.CANCEL_JOBS, job.project_id)
            if job.status.is_terminal:
                raise Conflict(f"The job has already ended as {job.state}.")
            job.cancel_requested = True
            work.session.add(job)
            work.record("jobs.cancel_requested", subject=job, reason=reason)
            if job.status in (JobState.QUEUED, JobState.INTERRUPTED):
                self._end(work, job, JobState.CANCELLED, "Cancelled before it ran.")
            return job


def list_jobs(session: Session, project_id: str | None = None, *, kinds: Sequence[str] = (), limit: int = 100) -> list[Job]:
    """Jobs, newest first."""
    statement = select(Job).order_by(col(Job.created_at).desc(), col(Job.id).desc()).limit(limit)
    if project_id is not None:
        statement = statement.where((col(Job.project_id) == project_id) | col(Job.project_id).is_(None))
    if kinds:
        statement = statement.where(col(Job.kind).in_(list(kinds)))
    return list(session.exec(statement))


def metrics_of(session: Session, job_id: str) -> list[JobMetric]:
    """A job's curve points in order of name and step."""
    return list(session.exec(select(JobMetric).where(JobMetric.job_id == job_id).order_by(JobMetric.name, col(JobMetric.step))))


class ProcessHeartbeat(SQLModel, table=True):
    """One line a process of the workbench: that it lives, and what the supervisor saw of it."""

    __tablename__ = "process_heartbeat"

    name: str = Field(primary_key=True)
    """web, api, runtime, worker."""
    process_id: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    beat_at: datetime = Field(sa_type=UtcDateTime)
    restarts: int = 0
    state: str = "ok"
    detail: str = ""


def beat(context: Context, name: str, process_id: int, started_at: datetime, *, state: str = "ok", detail: str = "") -> None:
    """Write that the process `name` lives. Heartbeats are no governed state and leave no audit event."""
    with Session(context.database.writing) as session, session.begin():
        row = session.get(ProcessHeartbeat, name) or ProcessHeartbeat(
            name=name, process_id=process_id, started_at=started_at, beat_at=now()
        )
        row.process_id, row.started_at, row.beat_at, row.state, row.detail = process_id, started_at, now(), state, detail
        session.add(row)
