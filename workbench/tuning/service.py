"""Commands that launch fine-tunes and register adapters."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import col, func, select

from workbench.core.actors import Actor, Permission
from workbench.core.errors import InvalidInput, WorkbenchError
from workbench.core.jobs import Job, enqueue
from workbench.core.runtime_client import RuntimeClient
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.datasets.models import DatasetVersion
from workbench.datasets.queries import get_dataset
from workbench.identity.models import Project
from workbench.tuning import preflight, queries
from workbench.tuning.models import Adapter
from workbench.tuning.preflight import Preflight
from workbench.tuning.recipes import Recipe, Settings, get_recipe, settings_json


class TuningService(Service):
    """Fine-tunes are jobs of the kind `tune`; what one leaves behind is an adapter with its receipt."""

    def examine(
        self,
        actor: Actor,
        project_id: str,
        *,
        recipe: str,
        dataset_id: str,
        settings: Mapping[str, Any],
        continue_from: str | None = None,
    ) -> Preflight:
        """What is known about a fine-tune before it is launched: checks, rows, steps, time, memory. Changes nothing.

        Raises:
            InvalidInput: unknown recipe or setting. NotFound: no such dataset version.
        """
        plan, chosen = _plan(recipe, settings)
        health = self.runtime_health()
        with self.context.reading(actor, project_id) as session:
            dataset = get_dataset(session, dataset_id)
            return preflight.examine(
                session, self.context, project_id, plan, dataset, chosen, continue_from=continue_from, health=health
            )

    def launch(
        self,
        actor: Actor,
        project_id: str,
        *,
        recipe: str,
        dataset_id: str,
        settings: Mapping[str, Any] | None = None,
        continue_from: str | None = None,
        command_id: str | None = None,
        reason: str = "",
    ) -> Job:
        """Queue a fine-tune; the same command id queues it once.

        The job's spec holds ids, hashes and settings: recipe, dataset_id, dataset_hash, base_hash (None: not known when
        launched), base_model, settings, labels, continue_from.

        Args:
            settings: what differs from the recipe's defaults.
            continue_from: content hash of an adapter to go on from, instead of a fresh one.

        Raises:
            InvalidInput: a check of `preflight` does not hold. NotFound: no such dataset version.
        """
        plan, chosen = _plan(recipe, settings or {})
        health = self.runtime_health()
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(Job, done["job_id"])
            work.require(Permission.TUNE, project_id)
            dataset = get_dataset(work.session, dataset_id)
            checked = preflight.examine(
                work.session, self.context, project_id, plan, dataset, chosen, continue_from=continue_from, health=health
            )
            checked.require()
            spec = {
                "recipe": plan.key,
                "dataset_id": dataset.id,
                "dataset_hash": dataset.content_hash,
                "base_model": self.context.settings.base_model if plan.base_part == "base" else "all-MiniLM-L6-v2",
                "base_hash": preflight.base_hash(health, plan),
                "settings": settings_json(chosen),
                "labels": _labels(work, project_id, plan, checked, continue_from),
                "continue_from": continue_from,
                "rows": checked.train_rows,
                "reason": reason,
                "estimated_seconds": round(checked.estimate.seconds) if checked.estimate else None,
            }
            job = enqueue(
                work,
                kind=queries.TUNE,
                title=f"Fine-tune {plan.adapter_kind} on {dataset.name} v{dataset.number}",
                spec=spec,
                project_id=project_id,
                reason=reason,
            )
            work.record(
                "tuning.launched",
                subject=job,
                reason=reason,
                recipe=plan.key,
                dataset_id=dataset.id,
                dataset_hash=dataset.content_hash,
                base_hash=spec["base_hash"],
                continue_from=continue_from,
                settings=spec["settings"],
            )
            work.remember(job_id=job.id)
            return job

    def register_adapter(
        self, work: UnitOfWork, job: Job, *, content_hash: str, base_hash: str, result: Mapping[str, Any]
    ) -> Adapter:
        """Store the adapter a fine-tune made, inside the worker's fenced transaction. Once a job: again returns the same row.

        Args:
            content_hash: of the adapter's folder in the artifact store; its bytes are checked.
            result: what the trainer measured: metrics, settings, versions, labels, seconds, tokens, peak_rss_bytes, base_name.

        Raises:
            InvalidInput: the job is no fine-tune. NotFound, IntegrityError: the store does not hold these bytes.
        """
        known = queries.by_job(work.session, job.id)
        if known is not None:
            return known
        if job.kind != queries.TUNE or job.project_id is None:
            raise InvalidInput(f"The job {job.id} is no fine-tune.")
        self.context.artifacts.verify(content_hash)
        spec = job.spec
        plan = get_recipe(spec["recipe"])
        dataset = work.get(DatasetVersion, spec["dataset_id"])
        if dataset.content_hash != spec["dataset_hash"]:
            raise InvalidInput("The dataset version is not what the job was launched with.")
        adapter = Adapter(
            project_id=job.project_id,
            kind=plan.adapter_kind,
            number=self._next_number(work, job.project_id, plan),
            content_hash=content_hash,
            base_hash=base_hash,
            base_name=str(result.get("base_name") or spec.get("base_model") or ""),
            dataset_id=dataset.id,
            dataset_hash=dataset.content_hash,
            parent_hash=spec.get("continue_from"),
            recipe=plan.key,
            settings=dict(result.get("settings") or spec["settings"]),
            versions=dict(result.get("versions") or {}),
            metrics=dict(result.get("metrics") or {}),
            labels=list(result.get("labels") or spec.get("labels") or []),
            job_id=job.id,
            launched_by=job.created_by,
            launched_by_name=job.created_by_name,
            seconds=float(result.get("seconds") or 0.0),
            peak_memory_bytes=int(result.get("peak_rss_bytes") or 0),
            tokens=int(result.get("tokens") or 0),
        )
        work.add(adapter)
        work.record(
            "tuning.adapter_registered",
            subject=adapter,
            kind=adapter.kind,
            content_hash=content_hash,
            base_hash=base_hash,
            dataset_hash=adapter.dataset_hash,
            parent_hash=adapter.parent_hash,
            job_id=job.id,
            launched_by=job.created_by,
            settings=adapter.settings,
            versions=adapter.versions,
            seconds=round(adapter.seconds, 1),
        )
        return adapter

    def runtime_health(self) -> dict[str, Any] | None:
        """What the runtime says about itself; None when it does not answer."""
        client = self.context.extras.get("runtime_client") or RuntimeClient(self.context.settings)
        try:
            health: dict[str, Any] = client.health()
        except WorkbenchError:
            return None
        return health

    @staticmethod
    def _next_number(work: UnitOfWork, project_id: str, plan: Recipe) -> int:
        work.get(Project, project_id, lock=True)  # Two workers must not give the same number.
        last = work.session.exec(
            select(func.max(col(Adapter.number))).where(Adapter.project_id == project_id, Adapter.kind == plan.adapter_kind)
        ).one()
        return (last or 0) + 1


def _plan(recipe: str, settings: Mapping[str, Any]) -> tuple[Recipe, Settings]:
    plan = get_recipe(recipe)
    return plan, plan.make_settings(settings)


def _labels(work: UnitOfWork, project_id: str, plan: Recipe, checked: Preflight, continue_from: str | None) -> list[str]:
    """Labels in a fixed order: those of the adapter it goes on from, else those of the examples."""
    if not checked.labels:
        return []
    if continue_from is None:
        return sorted(checked.labels)
    parent = queries.by_hash(work.session, project_id, continue_from)
    known = list(parent.labels) if parent else []
    if new := sorted(set(checked.labels) - set(known)):
        raise InvalidInput(
            f"The adapter to go on from does not know {', '.join(new)}.",
            why="Its classification head has no output for them.",
            todo=f"Train a fresh {plan.adapter_kind} adapter.",
        )
    return known
