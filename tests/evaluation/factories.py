"""Comparisons for tests, with arms that need no model."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from workbench.bootstrap import Services
from workbench.core.actors import Actor, Permission, process_actor
from workbench.core.ids import new_id
from workbench.core.jobs import Job
from workbench.core.unit_of_work import UnitOfWork
from workbench.evaluation.arms import Response
from workbench.evaluation.models import Comparison
from workbench.golden.models import GoldenSet
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter

BASE = "sha256:" + "b" * 64
WORKER = process_actor("worker", Permission.RUN_JOBS, Permission.READ_PROJECT)


def fake_hash(letter: str) -> str:
    return "sha256:" + letter * 64


def make_adapter(services: Services, project_id: str, letter: str, kind: str = "triage", dataset_id: str = "none") -> Adapter:
    with services.context.unit_of_work(WORKER) as work:
        job = Job(kind="tune", title="Test", project_id=project_id, created_by="test")
        work.add(job)
        adapter = Adapter(
            project_id=project_id,
            kind=kind,
            number=1,
            content_hash=fake_hash(letter),
            base_hash=BASE,
            dataset_id=dataset_id,
            dataset_hash=fake_hash("d"),
            recipe="triage",
            job_id=job.id,
            launched_by="test",
        )
        work.add(adapter)
        return adapter


def configuration(project_id: str, **changes: Any) -> ServingConfiguration:
    return ServingConfiguration(**{"project_id": project_id, "base_model": BASE, "prompt_version": fake_hash("e"), **changes})


def triage_set(services: Services, actor: Actor, project_id: str, count: int = 20, **tags: Any) -> GoldenSet:
    rows = [
        {"text": f"Question number {n}", "label": "cards" if n % 2 else "loans", "tags": {"language": "en", **tags}}
        for n in range(count)
    ]
    data = "\n".join(json.dumps(row) for row in rows)
    return services.golden.import_jsonl(actor, project_id, name=f"Triage {count}", task="triage", data=data)


def launch_triage(services: Services, actor: Actor, project_id: str, count: int = 20, **options: Any) -> Comparison:
    """Candidate: adapter c. Incumbent: adapter a."""
    for letter in "ca":
        make_adapter(services, project_id, letter)
    return services.evaluation.launch(
        actor,
        project_id,
        golden_set_id=triage_set(services, actor, project_id, count).id,
        candidate=configuration(project_id, triage_adapter=fake_hash("c")),
        incumbent=configuration(project_id, triage_adapter=fake_hash("a")),
        candidate_name="New",
        incumbent_name="Old",
        command_id=new_id(),
        **options,
    )


class Attempt:
    """A worker that holds the comparison's job."""

    def __init__(self, services: Services) -> None:
        self.services = services
        job = services.jobs.claim(WORKER, "test", ["compare"])
        assert job is not None
        self.job = job

    @contextmanager
    def write(self) -> Iterator[tuple[UnitOfWork, Job]]:
        with self.services.jobs.fenced(WORKER, self.job.id, self.job.fence) as entered:
            yield entered


class FakeArms:
    """Labels by arm; counts what it was asked."""

    def __init__(self, label: Callable[[str, str], str]) -> None:
        self.label = label
        self.asked: list[tuple[str, str]] = []

    def __call__(self, arm: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        letter = str(arm.triage_adapter)[-1]
        self.asked += [(letter, text) for text in texts]
        return [Response(self.label(letter, text)) for text in texts]


def right(text: str) -> str:
    return "cards" if int(text.rsplit(" ", 1)[1]) % 2 else "loans"
