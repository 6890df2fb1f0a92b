"""The job that trains an adapter, stores it by its hash and registers it."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from workbench.core.errors import Conflict, WorkbenchError
from workbench.core.jobs import Job
from workbench.datasets import queries as datasets
from workbench.datasets.verify import verify
from workbench.runtime.base_models import BaseModels, LocalModel, embedding_model
from workbench.runtime.devices import use_threads
from workbench.tuning.estimate import calibrate
from workbench.worker.convert import prepare_base
from workbench.worker.job_run import JobRun, Stopped
from workbench.worker.trainers.spec import Progress, TrainResult, TrainSettings, TrainSpec

log = logging.getLogger(__name__)


def tune(run: JobRun) -> None:
    """Train what the job's spec says and register the adapter in the transaction that ends the job.

    An attempt goes on from the newest checkpoint of the attempts before it; one that finds the adapter already stored only
    registers it.
    """
    recipe = str(run.spec["recipe"])
    # The encoder's matrices are too small to share: one thread is as fast, and leaves a core to pages and gateway.
    use_threads(run.settings.threads if recipe == "generative" else 1)
    base = _base(run, recipe)
    made = _read(run.folder / "made.json")
    if made is None or not _is_stored(run, made["content_hash"]):
        made = _train(run, recipe, base)
    run.progress(made["total_steps"], made["total_steps"], "steps", "registering the adapter", remaining_seconds=0)
    receipt: dict[str, Any] = {
        "adapter_hash": made["content_hash"],
        "base_hash": base.content_hash,
        "dataset_hash": run.spec["dataset_hash"],
        **made["result"],
    }
    with run.finishing(receipt) as work:
        job = work.get(Job, run.job.id)
        adapter = run.services.tuning.register_adapter(
            work, job, content_hash=made["content_hash"], base_hash=base.content_hash, result=made["result"]
        )
        receipt["adapter_id"] = adapter.id
    log.info("registered the adapter %s", made["content_hash"])


def _base(run: JobRun, recipe: str) -> LocalModel:
    if recipe == "generative":
        run.progress(0, 1, "steps", "preparing the base model")
        base = BaseModels(run.settings).find() or prepare_base(run)
    else:
        base = embedding_model()
    expected = run.spec.get("base_hash")
    if expected and expected != base.content_hash:
        raise Conflict(
            "The base model is not the one the fine-tune was launched for.",
            why=f"It was {expected[:19]}…, and now {base.content_hash[:19]}… is installed.",
            todo="Launch the fine-tune again.",
        )
    return base


def _train(run: JobRun, recipe: str, base: LocalModel) -> dict[str, Any]:
    run.progress(0, 1, "steps", "loading the model and the examples")
    train_rows, held_out = _rows(run)
    parent = run.spec.get("continue_from")
    spec = TrainSpec(
        recipe=recipe,
        base_folder=base.folder,
        base_name=base.name,
        base_hash=base.content_hash,
        dataset_hash=run.spec["dataset_hash"],
        settings=TrainSettings.for_recipe(recipe, run.spec.get("settings") or {}),
        continue_from=run.services.context.artifacts.verify(parent) if parent else None,
        labels=tuple(run.spec.get("labels") or ()),
    )
    if recipe == "generative":
        from workbench.worker.trainers.generative import train
    else:
        from workbench.worker.trainers.triage import train
    run.check()
    spent = _Spent(run.folder / f"spent-{run.job.fence}.json")

    def on_progress(at: Progress) -> None:
        spent.set(at.seconds, at.tokens)
        run.progress(
            at.step,
            at.total,
            "steps",
            f"loss {at.loss:.3f}",
            remaining_seconds=at.remaining_seconds,
            tokens=at.tokens,
            loss=round(at.loss, 4),
        )
        run.metric("loss", at.step, at.loss)

    result = train(
        spec,
        train_rows,
        run.folder,
        held_out=held_out,
        on_progress=on_progress,
        on_metric=run.metric,
        should_stop=run.should_stop,
    )
    if result.resumed_from_step:
        log.info("this attempt began going on from step %d", result.resumed_from_step)
    if result.adapter_folder is None:
        raise Stopped
    calibrate(run.settings, recipe, tokens=result.tokens, seconds=result.seconds, last_layers=spec.settings.last_layers)
    made = {
        "content_hash": run.services.context.artifacts.put_folder(result.adapter_folder),
        "total_steps": result.steps,
        "result": _as_json(result, spec, base, _Spent.total(run.folder)),
    }
    _write(run.folder / "made.json", made)
    return made


def _rows(run: JobRun) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows to learn from and rows held out, each checked against its leaf; an erased example has no content any more."""
    with run.services.context.database.session() as session:
        dataset = datasets.get_dataset(session, run.spec["dataset_id"])
        if dataset.content_hash != run.spec["dataset_hash"]:
            raise Conflict("The dataset version is not what the job was launched with.", todo="Launch the fine-tune again.")
        verify(session, dataset)
        examples = [example for example in datasets.examples(session, dataset.id) if example.content]
    train_rows = [dict(example.content) for example in examples if example.split == "train"]
    held_out = [dict(example.content) for example in examples if example.split == "validation"]
    return train_rows, held_out


def _as_json(result: TrainResult, spec: TrainSpec, base: LocalModel, spent: tuple[float, int]) -> dict[str, Any]:
    return {
        "metrics": {name: round(value, 6) for name, value in result.metrics.items()},
        "settings": result.settings,
        "versions": result.versions,
        "labels": result.labels,
        "seconds": round(spent[0], 2),
        "tokens": spent[1],
        "peak_rss_bytes": result.peak_rss_bytes,
        "base_name": base.name,
    }


def _is_stored(run: JobRun, content_hash: str) -> bool:
    try:
        run.services.context.artifacts.verify(content_hash)
    except WorkbenchError:
        return False
    return True


class _Spent:
    """What an attempt has cost so far, on disk, so that the receipt counts attempts that were killed too."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def set(self, seconds: float, tokens: int) -> None:
        _write(self._file, {"seconds": seconds, "tokens": tokens})

    @staticmethod
    def total(folder: Path) -> tuple[float, int]:
        """Seconds and tokens of all attempts."""
        values = [value for file in folder.glob("spent-*.json") if (value := _read(file)) is not None]
        return sum(value["seconds"] for value in values), sum(value["tokens"] for value in values)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value


def _write(file: Path, value: dict[str, Any]) -> None:
    temporary = file.with_name(file.name + ".part")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    os.replace(temporary, file)
