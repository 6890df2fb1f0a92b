"""`python -m workbench.worker.run JOB_ID FENCE`: one attempt at one job, in a process group of its own.

It outlives the worker that started it, renews its own lease, and ends the job itself.
"""

import logging
import os
import signal
import sys
import threading
from types import FrameType

from workbench.bootstrap import bootstrap
from workbench.core.actors import Permission, process_actor
from workbench.core.errors import WorkbenchError
from workbench.core.jobs import Job, JobState, LostLease
from workbench.core.settings import load_settings
from workbench.worker.job_run import JobRun, Stopped
from workbench.worker.kinds import KINDS

log = logging.getLogger("workbench.worker.run")
NICENESS = 5
"""Jobs give way to pages and the gateway."""
LOST = 3
"""Exit code of an attempt that no longer holds its job."""
WORKER = process_actor("worker", Permission.RUN_JOBS, Permission.READ_PROJECT)
"""Who acts when a job's own process writes."""


def main(arguments: list[str]) -> int:
    """Exit 0 when the job was ended or interrupted by this attempt."""
    job_id, fence = arguments[0], int(arguments[1])
    settings = load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    services = bootstrap(settings=settings)
    with services.context.database.session() as session:
        job = session.get(Job, job_id)
    if job is None or job.fence != fence:
        log.error("the job %s is not at fence %d", job_id, fence)
        return LOST
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    run = JobRun(services, WORKER, job, os.getpid())

    def interrupt(number: int, frame: FrameType | None) -> None:
        run.interrupted.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    try:
        run.start()
        threading.Thread(target=_leave_when_lost, args=(run,), daemon=True).start()
        _attempt(run)
    except LostLease as error:
        log.error("%s", error)
        return LOST
    finally:
        run.stop()
        services.context.database.dispose()
    return 0


def _attempt(run: JobRun) -> None:
    """Do the work and end the job in one of the ways a job can end."""
    log.info("attempt %d at %s: %s", run.job.attempt, run.job.kind, run.job.title)
    try:
        work = KINDS.get(run.job.kind)
        if work is None:
            run.finish(JobState.FAILED, error=f"This worker knows no jobs of the kind {run.job.kind!r}.")
            return
        run.check()
        result = work(run)
        if not run.finished:
            run.finish(JobState.SUCCEEDED, result=result or {})
    except LostLease:
        raise
    except Stopped:
        if run.lost.is_set():
            raise LostLease("Another attempt has taken the job over.") from None
        if not run.cancelled.is_set():
            run.finish(JobState.INTERRUPTED, error="Stopped with the workbench; it goes on at the next start.")
            log.info("interrupted")
            return  # The checkpoints stay.
        run.finish(JobState.CANCELLED, error="Cancelled.")
        log.info("cancelled")
    except WorkbenchError as error:
        log.error("%s", error)
        run.finish(JobState.FAILED, error=str(error))
    except Exception as error:
        log.exception("the job failed")
        run.finish(JobState.FAILED, error=f"{type(error).__name__}: {str(error)[:500]} See the job's log.")
    run.remove_folder()


def _leave_when_lost(run: JobRun) -> None:
    """End the process at once when another attempt holds the job: what it still did would be refused and waste the machine."""
    run.lost.wait()
    os._exit(LOST)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # Threads of model libraries, or a conversion that cannot be paused, must not hold the end up.
    os._exit(code)
