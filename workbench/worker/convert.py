"""The job that makes the base model ready."""

import threading
from typing import Any

from workbench.runtime.base_models import BaseModels, LocalModel
from workbench.runtime.convert import STAGES
from workbench.worker.job_run import JobRun, Stopped


def convert_base(run: JobRun) -> dict[str, Any]:
    """Convert the base model; the job's result says what it is."""
    model = prepare_base(run)
    return {"name": model.name, "content_hash": model.content_hash, "source": model.source, "terms": model.terms}


def prepare_base(run: JobRun) -> LocalModel:
    """Convert the base model, or wait for the process that does; shows the stages of whichever converts."""
    models = BaseModels(run.settings)
    outcome: dict[str, Any] = {}

    def convert() -> None:
        try:
            outcome["model"] = models.ensure()
        except Exception as error:
            outcome["error"] = error

    # In a thread, so that a stop is heard while the conversion, which cannot be paused, is under way. What it leaves is
    # cleaned up by the next converter.
    worker = threading.Thread(target=convert, daemon=True)
    worker.start()
    while worker.is_alive():
        worker.join(timeout=1.0)
        if run.should_stop():
            raise Stopped
        progress = models.progress()
        if progress is not None:
            run.progress(
                STAGES.index(progress.stage), len(STAGES), "stages", progress.stage, fraction=round(progress.fraction, 2)
            )
    if "error" in outcome:
        raise outcome["error"]
    run.progress(len(STAGES), len(STAGES), "stages", "ready", fraction=1.0)
    model: LocalModel = outcome["model"]
    return model
