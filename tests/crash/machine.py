"""A running workbench whose processes are killed one by one or all at once."""

import json
import signal
from pathlib import Path
from typing import Any

import psutil
from sqlmodel import col, select

from tests.browser.walking import RunningWorkbench, wait_for
from workbench.bootstrap import Services, bootstrap
from workbench.core import migrate
from workbench.core.jobs import Job
from workbench.core.settings import Settings

PATIENCE = 1200.0
"""Seconds that a step may take on a machine full of other work; an idle one needs a twentieth."""
CHILDREN = ("worker", "web", "api", "runtime")


class Machine(RunningWorkbench):
    """`workbench up` over a migrated home, with a look into its tables."""

    def __init__(self, home: Path, base_model: Path) -> None:
        super().__init__(home, environment={"WORKBENCH_BASE_MODEL": str(base_model)})
        self.services: Services = bootstrap(settings=Settings(home=home, base_model=str(base_model), port=self.port))
        migrate.migrate(self.services.context.database)

    def up(self) -> None:
        """Start it if it does not run."""
        if self.process is None or self.process.poll() is not None:
            self.start(PATIENCE)

    def number_of(self, name: str) -> int:
        """Process id of web, api, runtime or worker; 0 while it is not there."""
        try:
            report = json.loads((self.home / "run" / "supervisor.json").read_text())
        except (OSError, ValueError):
            return 0
        return int(report["children"][name]["pid"] or 0)

    def is_healthy(self) -> bool:
        """Whether pages, gateway and jobs can all be used."""
        found = self.health()
        return len(found) > 1 and set(found.values()) == {"ok"}

    def kill_supervisor(self) -> None:
        """kill -9 of `workbench up` alone; what it had started notices and ends by itself."""
        started = self._processes()
        self._kill_the_supervisor()
        wait_for(lambda: not any(map(_lives, started)), PATIENCE, what="the end of what it had started")

    def cut_power(self) -> None:
        """kill -9 of everything at the same moment."""
        running = self._processes()
        self._kill_the_supervisor()
        for process in running:
            _send(process, signal.SIGKILL)
        wait_for(lambda: not any(map(_lives, running)), 60, what="the end of every process")

    def _kill_the_supervisor(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _processes(self) -> list[psutil.Process]:
        """The four processes and those of running jobs."""
        jobs = [process for job in self.jobs() if (process := self.process_of(job))]
        return [psutil.Process(number) for name in CHILDREN if (number := self.number_of(name))] + jobs

    def jobs(self, kind: str | None = None, **spec: Any) -> list[Job]:
        """Jobs, the oldest first."""
        with self.services.context.database.session() as session:
            statement = select(Job).order_by(col(Job.created_at))
            found = list(session.exec(statement if kind is None else statement.where(Job.kind == kind)))
        return [job for job in found if all(job.spec.get(name) == value for name, value in spec.items())]

    def read(self, job_id: str) -> Job:
        with self.services.context.database.session() as session:
            job = session.get(Job, job_id)
        assert job is not None
        return job

    def process_of(self, job: Job) -> psutil.Process | None:
        """The live process of a job's present attempt."""
        try:
            process = psutil.Process(job.process_id) if job.process_id else None
            return process if process and job.id in process.cmdline() and _lives(process) else None
        except psutil.Error:
            return None

    def kill_process_of(self, job_id: str) -> bool:
        """kill -9 of a job's process; False when it has none at the moment."""
        process = self.process_of(self.read(job_id))
        return process is not None and _send(process, signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: int) -> bool:
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True
