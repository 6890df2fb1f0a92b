"""Which function does which kind of job."""

from collections.abc import Callable
from typing import Any

from workbench.worker.job_run import JobRun

Work = Callable[[JobRun], dict[str, Any] | None]
"""Does a job. Returns its result, or ends it itself with `JobRun.finishing`.

It asks `should_stop` often and raises Stopped; any WorkbenchError ends the job as failed with its sentence.
"""


def convert_base(run: JobRun) -> dict[str, Any]:
    """Make the base model ready."""
    from workbench.worker.convert import convert_base

    return convert_base(run)


def tune(run: JobRun) -> None:
    """Train an adapter."""
    from workbench.worker.tune import tune

    tune(run)


KINDS: dict[str, Work] = {
    "convert_base": convert_base,
    "tune": tune,
}
"""Kind → function. Each function imports what it needs itself, so that a small job starts quickly."""
