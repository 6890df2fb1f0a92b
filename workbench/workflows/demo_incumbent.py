"""The demo's first release: trained, proposed, approved and promoted by the demo people, each with their own signature."""

import time
from collections.abc import Callable
from typing import Any

from sqlmodel import col, select

from workbench.core.clock import from_iso
from workbench.core.errors import Conflict, Unavailable
from workbench.core.jobs import Job, JobState, enqueue
from workbench.core.runtime_client import RuntimeClient
from workbench.core.unit_of_work import Context
from workbench.datasets.service import DatasetService
from workbench.datasets.settings import BuildSettings
from workbench.identity.models import Project
from workbench.prompts.models import PromptVersion
from workbench.releases.service import ReleaseService
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter
from workbench.tuning.service import TuningService
from workbench.workflows.demo import DEMO_PASSWORD, demo_people, find_project

Check = Callable[[], None]
"""Raises when the job should stop."""


def train(context: Context, spec: dict[str, Any], check: Check) -> dict[str, Any]:
    """Freeze the dataset from before the confusions, launch the incumbent's fine-tune, and queue its release after it.

    Args:
        spec: {"before": ISO 8601 moment from which the confusions appear}.
    """
    project, people = _project(context), demo_people(context)
    _wait_for_embedder(context, check)
    datasets = DatasetService(context)
    version = datasets.build(
        people["engineer"],
        project.id,
        BuildSettings(task="triage", before=from_iso(spec["before"])),
        name="Triage",
        command_id="demo:incumbent:dataset",
    )
    datasets.freeze(
        people["engineer"],
        version.id,
        content_hash=version.content_hash,
        reason="All that was reviewed before the new products appeared",
        command_id="demo:incumbent:freeze",
    )
    check()
    dataset_id = version.id
    launched = TuningService(context).launch(
        people["engineer"],
        project.id,
        recipe="triage",
        dataset_id=dataset_id,
        reason="The first triage adapter",
        command_id="demo:incumbent:tune",
    )
    with context.unit_of_work(people["engineer"]) as work:
        if work.once("demo:incumbent:release") is None:
            queued = enqueue(
                work, kind="demo_incumbent", title="Release version 1", spec={"step": "release", "job_id": launched.id},
                project_id=project.id,
            )  # fmt: skip
            work.remember(job_id=queued.id)
    return {"dataset_id": dataset_id, "tune_job_id": launched.id}


def release(context: Context, job_id: str, check: Check) -> dict[str, Any]:
    """Propose, approve and promote version 1, once its adapter is there."""
    project, people = _project(context), demo_people(context)
    adapter = _wait_for_adapter(context, job_id, check)
    base = _wait_for_base(context, check)
    with context.database.session() as session:
        prompt = session.exec(
            select(PromptVersion).where(PromptVersion.project_id == project.id).order_by(col(PromptVersion.number))
        ).first()
    if prompt is None:
        raise Conflict("The demo project has no prompt version.", todo="Run `workbench demo load` again.")
    releases = ReleaseService(context)
    proposed = releases.propose(
        people["engineer"],
        ServingConfiguration(
            project_id=project.id, base_model=base, prompt_version=prompt.content_hash, triage_adapter=adapter.content_hash
        ),
        name="Version 1",
        reason="The assistant as it went live: the bare base model, and triage trained on the first weeks.",
        command_id="demo:incumbent:propose",
    )
    releases.approve(
        people["reviewer"],
        proposed.id,
        password=DEMO_PASSWORD,
        shown=proposed.manifest_hash,
        justification="First release; there is no incumbent to compare with.",
        command_id="demo:incumbent:approve",
    )
    moved = releases.promote(people["operator"], proposed.id, reason="Go live", command_id="demo:incumbent:promote")
    return {"release": moved.release_name, "release_id": proposed.id}


def _project(context: Context) -> Project:
    with context.database.session() as session:
        project = find_project(session)
    if project is None:
        raise Conflict("The demo project is not loaded.", todo="Run `workbench demo load`.")
    return project


def _wait_for_adapter(context: Context, job_id: str, check: Check) -> Adapter:
    while True:
        check()
        with context.database.session() as session:
            job = session.get(Job, job_id)
            adapter = session.exec(select(Adapter).where(Adapter.job_id == job_id)).first()
        if adapter is not None:
            return adapter
        if job is None or job.status in (JobState.FAILED, JobState.CANCELLED):
            raise Conflict(
                "The first triage adapter was not trained.",
                why=job.error or job.state if job else "",
                todo="See its job's log.",
            )
        time.sleep(1.0)


def _wait_for_base(context: Context, check: Check) -> str:
    return str(_wait_for_model(context, "base", check)["hash"])


def _wait_for_embedder(context: Context, check: Check) -> None:
    _wait_for_model(context, "embedder", check)


def _wait_for_model(context: Context, name: str, check: Check) -> dict[str, Any]:
    runtime = RuntimeClient(context.settings)
    try:
        while True:
            check()
            try:
                model: dict[str, Any] = runtime.health()[name]
            except Unavailable:
                model = {"state": "starting"}
            if model["state"] == "ready":
                return model
            if model["state"] == "failed":
                raise Conflict(f"The {name} model cannot be used.", why=str(model.get("reason", "")))
            time.sleep(1.0)
    finally:
        runtime.close()
