"""Which function does which kind of job."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workbench.worker.job_run import JobRun, Stopped

if TYPE_CHECKING:
    from workbench.workflows.bulk_run import Port

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


def trace_act(run: JobRun) -> dict[str, Any]:
    """An act on many traces."""
    from workbench.workflows.bulk_work import carry_out

    return _ended(carry_out(run.services.context, run.spec["act_id"], _port(run)))


def trace_undo(run: JobRun) -> dict[str, Any]:
    """The undo of an act on many traces."""
    from workbench.workflows.bulk_work import carry_out_undo

    return _ended(carry_out_undo(run.services.context, run.spec["act_id"], _port(run)))


def _port(run: JobRun) -> "Port":
    from workbench.workflows.bulk_run import Port

    return Port(run.fenced, run.folder, run.report, run.should_stop, run.cancelled.is_set, (run.job.id, run.job.fence))


def _ended(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("stopped"):
        raise Stopped
    return result


KINDS: dict[str, Work] = {
    "convert_base": convert_base,
    "tune": tune,
    "compare": compare,
    "demo_incumbent": demo_incumbent,
    "trace_act": trace_act,
    "trace_undo": trace_undo,
}
"""Kind → function. Each function imports what it needs itself, so that a small job starts quickly."""
