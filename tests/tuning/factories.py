"""Dataset versions and finished fine-tunes for tests."""

from pathlib import Path
from typing import Any

from workbench.bootstrap import Services
from workbench.core.actors import Permission, process_actor
from workbench.core.clock import now
from workbench.core.errors import Unavailable
from workbench.core.ids import new_id
from workbench.core.jobs import Job
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.rows import root_hash
from workbench.datasets.verify import leaf_of_example
from workbench.tuning.models import Adapter

BASE = "sha256:" + "b" * 64
EMBEDDER = "sha256:" + "e" * 64
WORKER = process_actor("worker", Permission.RUN_JOBS, Permission.READ_PROJECT)

READY = {
    "status": "ok",
    "base": {"state": "ready", "name": "tiny", "hash": BASE},
    "embedder": {"state": "ready", "hash": EMBEDDER},
}


class FakeRuntime:
    """Says what it is told to about itself."""

    def __init__(self, health: dict[str, Any] | None = None) -> None:
        self.state = READY if health is None else health

    def health(self) -> dict[str, Any]:
        if not self.state:
            raise Unavailable("The runtime does not answer.")
        return self.state


def make_dataset(
    services: Services, project_id: str, contents: list[dict[str, str]], *, task: str = "triage", frozen: bool = True
) -> DatasetVersion:
    rows = [
        DatasetExample(
            project_id=project_id, dataset_id="", position=position, content=content, leaf_hash="", trace_id="t",
            response_id="r", person_id="p",
        )
        for position, content in enumerate(contents)
    ]  # fmt: skip
    for row in rows:
        row.leaf_hash = leaf_of_example(row)
    with services.context.unit_of_work(WORKER) as work:
        dataset = DatasetVersion(
            project_id=project_id,
            name=f"Set {new_id()[-6:]}",
            number=1,
            task=task,
            content_hash=root_hash(row.leaf_hash for row in rows),
            rows=len(contents),
            train_rows=len(contents),
            created_by="test",
            frozen_at=now() if frozen else None,
        )
        work.add(dataset)
        for row in rows:
            row.dataset_id = dataset.id
            work.session.add(row)
        return dataset


def triage_contents(count: int = 12, labels: tuple[str, ...] = ("cards", "loans")) -> list[dict[str, str]]:
    return [{"text": f"Please help with matter {n}", "label": labels[n % len(labels)]} for n in range(count)]


def answer_contents(count: int = 8) -> list[dict[str, str]]:
    return [{"prompt": f"Question: {n}?\nAnswer:", "completion": f" It is {n} [entry-{n}]."} for n in range(count)]


def store_adapter(services: Services, folder: Path, text: str = "weights") -> str:
    """Bytes in the artifact store that stand for an adapter; returns their hash."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter.json").write_text(text)
    return services.context.artifacts.put_folder(folder)


RESULT: dict[str, Any] = {
    "metrics": {"final_loss": 0.25},
    "versions": {"torch": "2.13.0"},
    "labels": ["cards", "loans"],
    "seconds": 12.5,
    "tokens": 4000,
    "peak_rss_bytes": 900_000_000,
    "base_name": "tiny",
}


def register(services: Services, job: Job, content_hash: str, base_hash: str = EMBEDDER) -> Adapter:
    with services.context.unit_of_work(WORKER) as work:
        return services.tuning.register_adapter(work, job, content_hash=content_hash, base_hash=base_hash, result=RESULT)
