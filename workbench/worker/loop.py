"""The worker's loop: lease a job, start its subprocess, look after it, and stop everything in order."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

import psutil
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.core.jobs import Job, JobState, LostLease, beat
from workbench.worker.kinds import KINDS
from workbench.worker.run import WORKER

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
BEAT_SECONDS = 3.0
STOP_SECONDS = 50.0
"""How long jobs get to write a checkpoint when the worker is stopped; the supervisor grants the worker 60 s."""
RUN_COMMAND = [sys.executable, "-m", "workbench.worker.run"]
"""Starts one attempt; the job's id and fence follow."""
AT_ONCE = 1
"""Jobs run one after another: two would share the same cores and memory."""


@dataclass
class Child:
    """A job's subprocess started by this worker."""

    job_id: str
    fence: int
    process: "subprocess.Popen[bytes]"
    log_file: IO[bytes]


class Worker:
    """Runs jobs until it is asked to stop. Killing it harms no job: each runs on in its own process."""

    def __init__(self, services: Services, *, name: str | None = None) -> None:
        self.services = services
        self.name = name or f"worker-{os.getpid()}-{new_id()[-6:]}"
        self.stopping = threading.Event()
        self.children: list[Child] = []
        self._started = now()
        self._beaten = 0.0

    def run(self) -> None:
        """Look for jobs until `stopping` is set, then let those that run write their checkpoint."""
        trouble = ""
        self.sweep()
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.look_once()
                trouble = ""
            except WorkbenchError as error:
                log.warning("%s", error)
            except Exception as error:  # A home that is being migrated, a database that restarts: try again, say it once.
                if trouble != type(error).__name__:
                    trouble = type(error).__name__
                    log.warning("cannot look for jobs: %s: %s", trouble, str(error).splitlines()[0])
        self.stop_jobs()

    def look_once(self) -> None:
        """Reap what ended, tell that this worker lives, and start a job when there is room."""
        self._reap()
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            beat(self.services.context, "worker", os.getpid(), self._started, detail=self._detail())
        if self._running() >= AT_ONCE:
            return
        job = self.services.jobs.claim(WORKER, self.name, list(KINDS))
        if job is not None:
            self._start(job)

    def sweep(self) -> None:
        """Remove folders of jobs that have ended: whoever ended them was killed before it came to that."""
        folders = {
            path.name.removeprefix("job-"): path for path in (self.services.context.artifacts.root / "tmp").glob("job-*")
        }
        if not folders:
            return
        try:
            with self.services.context.database.session() as session:
                jobs = session.exec(select(Job).where(col(Job.id).in_(list(folders)))).all()
        except SQLAlchemyError as error:
            log.warning("cannot tidy up: %s", str(error).splitlines()[0])
            return
        for job in jobs:
            if job.status.is_terminal:
                shutil.rmtree(folders[job.id], ignore_errors=True)

    def stop_jobs(self, seconds: float = STOP_SECONDS) -> None:
        """Ask every running job on this machine to save and be marked interrupted; those that do not are killed."""
        processes = self._processes()
        for process in processes:
            _signal(process, signal.SIGTERM)
        # Those that were children of an earlier worker count as well: stopping the workbench stops them all.
        _gone, alive = psutil.wait_procs(processes, timeout=seconds)
        for process in alive:
            log.warning("the job's process %d did not stop in %.0f s; it is resumed at the next start", process.pid, seconds)
            _kill_group(process)
        psutil.wait_procs(alive, timeout=5)
        self._reap()

    def _start(self, job: Job) -> None:
        folder = self.services.context.settings.folder("logs") / "jobs"
        folder.mkdir(exist_ok=True)
        log_file = (folder / f"{job.id}.log").open("ab")
        settings = self.services.context.settings
        process = subprocess.Popen(
            [*RUN_COMMAND, job.id, str(job.fence)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                **os.environ,
                "WORKBENCH_HOME": str(settings.home),
                "WORKBENCH_PORT": str(settings.port),
                "PYTHONUNBUFFERED": "1",
            },
        )
        log.info("job %s (%s), attempt %d, in process %d", job.id, job.kind, job.attempt, process.pid)
        self.children.append(Child(job.id, job.fence, process, log_file))

    def _reap(self) -> None:
        """Give a job whose process died without ending it back at once, instead of waiting for its lease."""
        for child in [child for child in self.children if child.process.poll() is not None]:
            self.children.remove(child)
            child.log_file.close()
            try:
                with self.services.jobs.fenced(WORKER, child.job_id, child.fence) as (work, job):
                    log.warning("the process of job %s ended with code %s", job.id, child.process.returncode)
                    job.lease_until = now() - timedelta(seconds=1)
                    work.session.add(job)
            except LostLease:
                log.info("job %s has ended", child.job_id)

    def _running(self) -> int:
        """Jobs that somebody holds; those started by an earlier worker run on and count."""
        with self.services.context.database.session() as session:
            held = session.exec(
                select(Job.id).where(
                    Job.state == JobState.RUNNING.value, col(Job.lease_until) >= now(), col(Job.kind).in_(list(KINDS))
                )
            ).all()
        return len({*held, *(child.job_id for child in self.children)})

    def _processes(self) -> list[psutil.Process]:
        """The live processes of running jobs on this machine, whoever started them."""
        with self.services.context.database.session() as session:
            rows = session.exec(select(Job.id, Job.process_id).where(Job.state == JobState.RUNNING.value)).all()
        known = {child.job_id: child.process.pid for child in self.children}
        found = []
        for job_id, process_id in rows:
            number = known.get(job_id, process_id)
            if number is not None:
                process = _process_of(job_id, number)
                if process is not None:
                    found.append(process)
        return found

    def _detail(self) -> str:
        return f"{len(self.children)} jobs running" if self.children else "waiting for jobs"


def _process_of(job_id: str, process_id: int) -> psutil.Process | None:
    """The process, if that number still belongs to this job."""
    try:
        process = psutil.Process(process_id)
        return process if job_id in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        log.info("process %d has ended", process.pid)


def _kill_group(process: psutil.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        _signal(process, signal.SIGKILL)
