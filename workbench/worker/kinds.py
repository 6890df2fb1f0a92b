"""Which function does which kind of job."""

from collections.abc import Callable
from typing import Any

from workbench.worker.job_run import JobRun, Stopped

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


def compare(run: JobRun) -> dict[str, Any]:
    """Run a comparison. It asks the runtime as people do, in the lane that lets them go first."""
    from workbench.core.runtime_client import RuntimeClient
    from workbench.evaluation.runner import run as run_comparison

    result = run_comparison(
        run.services.context,
        RuntimeClient(run.settings),
        run.spec["comparison_id"],
        progress=run.report,
        should_stop=run.should_stop,
        write=run.fenced,
        sleep=run.sleep,
    )
    if result["stopped"]:
        raise Stopped
    return result


def demo_incumbent(run: JobRun) -> dict[str, Any]:
    """One step of the demo's first release: train, or release what was trained."""
    from workbench.workflows.demo_incumbent import release, train

    if run.spec["step"] == "train":
        return train(run.services.context, run.spec, run.check)
    return release(run.services.context, run.spec["job_id"], run.check)


KINDS: dict[str, Work] = {
    "convert_base": convert_base,
    "tune": tune,
    "compare": compare,
    "demo_incumbent": demo_incumbent,
}
"""Kind → function. Each function imports what it needs itself, so that a small job starts quickly."""
