"""One attempt at a job, as the function that does the work sees it."""

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.jobs import Job, JobState, LostLease
from workbench.core.unit_of_work import UnitOfWork

log = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 3.0
_POINTS = "points.jsonl"
"""File in the job's folder: [name, step, value] a line."""


class Stopped(Exception):
    """The work ended early because it was asked to; what was done so far lies in the job's folder."""


class JobRun:
    """Progress, curves, stopping and the one transaction that ends the job.

    Every write carries the attempt's fence: an attempt that lost its lease changes nothing any more, and its process ends.
    """

    def __init__(self, services: Services, actor: Actor, job: Job, process_id: int) -> None:
        self.services = services
        self.settings = services.context.settings
        self.actor = actor
        self.job = job
        self.spec: dict[str, Any] = dict(job.spec)
        self.finished = False
        self.cancelled = threading.Event()
        """A person asked the job to stop for good."""
        self.interrupted = threading.Event()
        """The workbench is being stopped; the job goes on at its next start."""
        self.lost = threading.Event()
        """Another attempt has the job."""
        self._process_id = process_id
        self._progress: dict[str, Any] | None = None
        self._points: list[tuple[str, int, float]] = []
        self._lock = threading.Lock()
        self._ending = threading.Lock()  # a heartbeat must not take the end of the job for a lost lease
        self._wake = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def folder(self) -> Path:
        """A folder that all attempts at this job share, for checkpoints; removed when the job has ended."""
        path = self.services.context.artifacts.root / "tmp" / f"job-{self.job.id}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def should_stop(self) -> bool:
        """Whether the work should stop at the next point where it can."""
        return self.cancelled.is_set() or self.interrupted.is_set() or self.lost.is_set()

    def check(self) -> None:
        """Raises Stopped when the work should stop."""
        if self.should_stop():
            raise Stopped

    def progress(
        self, done: int, total: int, unit: str, message: str = "", *, remaining_seconds: float | None = None, **details: Any
    ) -> None:
        """Say how far the work is; shown within seconds."""
        value = {"done": done, "total": total, "unit": unit, "message": message, **details}
        if remaining_seconds is not None:
            value["remaining_seconds"] = round(remaining_seconds, 1)
        self.report(value)

    def report(self, value: dict[str, Any]) -> None:
        """The same with the value that the job's row shows."""
        with self._lock:
            self._progress = value
        self._wake.set()

    def metric(self, name: str, step: int, value: float) -> None:
        """Add a point to a live curve; the database gets it with the next heartbeat.

        It is on disk when this returns: an attempt that goes on from a checkpoint does not repeat the steps before it, so their
        points must not be lost with a process that is killed between two heartbeats.
        """
        with self._lock:
            with (self.folder / _POINTS).open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps([name, step, value]))  # the break first, so that a torn line spoils no other
                file.flush()
                os.fsync(file.fileno())
            self._points.append((name, step, value))

    def fenced(self) -> AbstractContextManager[tuple[UnitOfWork, Job]]:
        """A transaction in the middle of the work that only commits while this attempt holds the job."""
        return self.services.jobs.fenced(self.actor, self.job.id, self.job.fence)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the work should stop."""
        deadline = time.monotonic() + seconds
        while not self.should_stop() and time.monotonic() < deadline:
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))

    @contextmanager
    def finishing(self, result: dict[str, Any]) -> Iterator[UnitOfWork]:
        """The transaction that stores what the job made and ends it, both or neither.

        Args:
            result: what the job's row shows; it may be filled inside the block.

        Raises:
            LostLease: another attempt has the job; nothing was written.
        """
        self._flush()
        jobs = self.services.jobs
        with self._ending:
            with jobs.fenced(self.actor, self.job.id, self.job.fence) as (work, job):
                yield work
                jobs.finish_in(work, job, JobState.SUCCEEDED, result=result)
            self.finished = True

    def finish(self, state: JobState, *, result: dict[str, Any] | None = None, error: str | None = None) -> None:
        """End the job without rows of its own."""
        self._flush()
        with self._ending:
            self.services.jobs.finish(self.actor, self.job.id, self.job.fence, state, result=result, error=error)
            self.finished = True

    def start(self) -> None:
        """Take the job over and keep its lease.

        Raises:
            LostLease: another attempt has the job.
        """
        self._send()
        with self._lock:
            self._points = [*self._earlier_points(), *self._points]
        self._thread.start()

    def _earlier_points(self) -> list[tuple[str, int, float]]:
        """The points of the attempts before this one; writing one again replaces it by itself."""
        if self.job.attempt == 1:
            return []
        points: list[tuple[str, int, float]] = []
        try:
            lines = (self.folder / _POINTS).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                name, step, value = json.loads(line)
            except ValueError:
                continue  # empty, or torn by the kill: then its step comes after the last checkpoint and is trained again
            points.append((str(name), int(step), float(value)))
        return points

    def stop(self) -> None:
        """End the heartbeat; remove the shared folder when the job has ended for good."""
        self._done.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def remove_folder(self) -> None:
        """Remove what attempts shared."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._done.is_set():
            self._wake.wait(HEARTBEAT_SECONDS)
            self._wake.clear()
            # Progress is shown quickly, but a fast trainer must not write for every step.
            if self._done.wait(max(0.0, 0.7 - (time.monotonic() - last))):
                return
            last = time.monotonic()
            try:
                with self._ending:
                    if self.finished:
                        return
                    self._send()
            except LostLease as error:
                log.warning("%s", error)
                self.lost.set()
                return
            except Exception as error:  # A locked or moved database: the lease may yet be renewed in time.
                log.warning("no heartbeat: %s", str(error).splitlines()[0])

    def _send(self) -> None:
        with self._lock:
            progress, self._progress = self._progress, None
        asked = self.services.jobs.heartbeat(
            self.actor, self.job.id, self.job.fence, process_id=self._process_id, progress=progress
        )
        if asked:
            self.cancelled.set()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            points, self._points = self._points, []
        if not points:
            return
        try:
            self.services.jobs.add_metrics(self.actor, self.job.id, self.job.fence, points)
        except BaseException:
            with self._lock:  # the next heartbeat tries again
                self._points = [*points, *self._points]
            raise
