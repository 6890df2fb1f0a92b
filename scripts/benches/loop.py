"""The loop's long steps on this machine, with the real models and the demo project, each as the jobs that people launch.

Starts a workbench over a temporary home, so the base model is converted anew; that takes about ten minutes in all on two cores.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from scripts.benches.figures import Figure
from scripts.benches.running import free_port, running
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor
from workbench.core.clock import now
from workbench.core.errors import Unavailable
from workbench.core.jobs import Job, JobState, list_jobs
from workbench.core.settings import Settings
from workbench.datasets.models import DatasetVersion
from workbench.datasets.settings import BuildSettings
from workbench.evaluation.models import Comparison
from workbench.golden.queries import list_sets
from workbench.identity.models import Project
from workbench.knowledge.content import EntryContent
from workbench.prompts.queries import list_versions
from workbench.releases.verify import LiveRelease, live
from workbench.workflows.demo import demo_people, find_project

Say = Callable[[str], None]
EDITS = 20
REWRITES = 60
TRIAGE_EXAMPLES = 200


def run(say: Say) -> list[Figure]:
    """Measure everything; see the module's first lines."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        settings = Settings(home=Path(folder) / "home", port=free_port())
        with running(settings):
            figures = _Loop(settings, say).measure()
        begun = time.monotonic()
        with running(settings):
            figures.append(
                Figure("start, installed and converted: until the first page can be used", time.monotonic() - begun, "s", 20)
            )
    return figures


class _Loop:
    """The steps over one running workbench."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.services: Services = bootstrap(settings=settings)
        self.say = say
        with self.services.context.database.session() as session:
            project = find_project(session)
        assert project is not None
        self.project: Project = project
        self.people: dict[str, Actor] = demo_people(self.services.context)

    @property
    def engineer(self) -> Actor:
        return self.people["engineer"]

    def measure(self) -> list[Figure]:
        self.say("waiting for the first release (the base model is converted first)")
        begun = time.monotonic()
        release = self._first_release()
        figures = [Figure("first start: base model converted, version 1 trained and live", time.monotonic() - begun, "s")]
        self.say(f"{EDITS} edits of a knowledge entry, each asked for at the gateway")
        waits = self._edits()
        figures += [
            Figure("edit: from saving until the gateway cites it, median", statistics.median(waits), "s"),
            Figure(f"edit: the longest of {EDITS}", max(waits), "s", 1),
        ]

        triage = self._freeze("Triage", BuildSettings(task="triage"), at_least=TRIAGE_EXAMPLES)
        self.say(f"triage recipe on {triage.rows} examples")
        job, adapter = self._tune("triage", triage)
        figures.append(Figure(f"triage recipe on {triage.rows} examples", _seconds(job), "s", 120))
        compared, seconds, cases = self._compare(
            "triage", release, replace(release.configuration, triage_adapter=adapter, release_id=None, manifest_hash=None)
        )
        difference = compared.statistics["difference"]
        figures += [
            Figure(f"triage comparison, {cases} cases × 2 arms", seconds, "s", 30),
            Figure("triage: candidate minus incumbent", 100 * difference["value"], "points"),
            Figure("triage: lower end of its 95% interval", 100 * difference["low"], "points", 0, "higher"),
        ]

        rewrites = self._freeze("Answers", self._sixty_rewrites(), at_least=REWRITES)
        self.say(f"generative recipe on {rewrites.rows} rewrites")
        job, adapter = self._tune("generative", rewrites)
        figures.append(Figure(f"generative recipe on {rewrites.rows} rewrites", _seconds(job), "s", 600))
        bare = replace(
            release.configuration, guard=replace(release.configuration.guard, on_failure="deliver"), release_id=None,
            manifest_hash=None,
        )  # fmt: skip
        compared, seconds, cases = self._compare("answers", release, replace(bare, generator_adapter=adapter), bare)
        difference = compared.statistics["difference"]
        figures += [
            Figure(f"answers comparison, {cases} cases × 2 arms", seconds, "s", 240),
            Figure("answers: candidate minus bare base model", 100 * difference["value"], "points"),
            Figure("answers: lower end of its 95% interval", 100 * difference["low"], "points"),
            Figure("answers: upper end of its 95% interval", 100 * difference["high"], "points"),
        ]
        self.say(f"verdict of the triage adapter: see above; of the generative adapter: {compared.verdict}")
        return figures

    def _first_release(self) -> LiveRelease:
        while True:
            with self.services.context.database.session() as session:
                failed = [job for job in list_jobs(session) if job.state == JobState.FAILED]
            assert not failed, failed[0].error
            try:
                return live(self.services.context, self.project.id)
            except Unavailable:
                time.sleep(2)

    def _edits(self) -> list[float]:
        """Seconds from the click on save until an answer of the gateway cites the new text, one an edit."""
        expert, knowledge = self.people["expert"], self.services.knowledge
        _, key = self.services.identity.create_key(
            self.people["admin"], project_id=self.project.id, name="bench", scopes=["gateway"]
        )

        def content(hour: int) -> EntryContent:
            text = f"The glasshouse counter opens at {hour}:15 every day."
            return EntryContent(title="Glasshouse counter", text=text, source="Benchmark")

        entry = knowledge.create(expert, self.project.id, key="glasshouse-counter", content=content(0))
        waits = []
        with httpx.Client(base_url=f"http://127.0.0.1:{self.services.context.settings.port + 1}", timeout=60) as gateway:
            for hour in range(1, EDITS + 1):
                begun = time.monotonic()
                entry = knowledge.edit(expert, entry.entry.id, base_version_id=entry.version.id, content=content(hour))
                while f" {hour}:15 " not in self._evidence(gateway, key):
                    assert time.monotonic() - begun < 60, "the edit is not retrieved"
                waits.append(time.monotonic() - begun)
        knowledge.retire(expert, entry.entry.id, reason="Only for the benchmark")
        return waits

    @staticmethod
    def _evidence(gateway: httpx.Client, key: str) -> str:
        answer = gateway.post(
            "/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}", "X-Workbench-Mode": "evidence"},
            json={"model": "live", "messages": [{"role": "user", "content": "When does the glasshouse counter open?"}]},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    def _sixty_rewrites(self) -> BuildSettings:
        """Settings that take the newest sixty rewrites: the latest day from which there are that many."""
        with self.services.context.database.session() as session:
            prompt = list_versions(session, self.project.id)[0].content_hash
        since: datetime = now()
        while True:
            since -= timedelta(days=1)
            settings = BuildSettings(task="generation", since=since, prompt_version=prompt, validation_share=0.0)
            found, _ = self.services.datasets.preview(self.engineer, self.project.id, settings)
            if len(found.rows) >= REWRITES:
                return settings

    def _freeze(self, name: str, settings: BuildSettings, *, at_least: int) -> DatasetVersion:
        datasets = self.services.datasets
        version = datasets.build(self.engineer, self.project.id, settings, name=name)
        assert version.rows >= at_least, f"{name}: {version.rows} rows"
        return datasets.freeze(
            self.engineer, version.id, content_hash=version.content_hash, reason="Benchmark of the long steps"
        )

    def _tune(self, recipe: str, dataset: DatasetVersion) -> tuple[Job, str]:
        job = self.services.tuning.launch(self.engineer, self.project.id, recipe=recipe, dataset_id=dataset.id)
        ended = self._wait(job.id)
        return ended, str(ended.result["adapter_hash"])

    def _compare(self, task: str, release: LiveRelease, candidate: Any, incumbent: Any = None) -> tuple[Comparison, float, int]:
        self.say(f"comparison on the {task} golden set")
        with self.services.context.database.session() as session:
            golden = next(item for item in list_sets(session, self.project.id, newest_only=True) if item.task == task)
        comparison = self.services.evaluation.launch(
            self.engineer, self.project.id, golden_set_id=golden.id, candidate=candidate,
            incumbent=incumbent or release.configuration, candidate_name="candidate", incumbent_name="incumbent",
        )  # fmt: skip
        seconds = _seconds(self._wait(str(comparison.job_id)))
        with self.services.context.database.session() as session:
            done = session.get(Comparison, comparison.id)
        assert done is not None
        return done, seconds, golden.size

    def _wait(self, job_id: str) -> Job:
        while True:
            with self.services.context.database.session() as session:
                job = session.get(Job, job_id)
            assert job is not None
            if job.status.is_terminal:
                assert job.status is JobState.SUCCEEDED, job.error
                return job
            time.sleep(0.5)


def _seconds(job: Job) -> float:
    assert job.started_at is not None
    assert job.finished_at is not None
    return (job.finished_at - job.started_at).total_seconds()
