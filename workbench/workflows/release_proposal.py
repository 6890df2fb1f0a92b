"""Proposing a release from what was compared or trained: the candidate's slots over what is live, in one transaction."""

from collections.abc import Sequence
from dataclasses import replace

from sqlmodel import Session

from workbench.core.actors import Actor
from workbench.core.errors import Conflict, InvalidInput, NotFound
from workbench.core.jobs import Job
from workbench.core.unit_of_work import Context
from workbench.evaluation.models import Comparison
from workbench.evaluation.queries import by_job as comparison_by_job
from workbench.evaluation.queries import get_comparison
from workbench.knowledge.policy import CorpusPolicy
from workbench.releases.manifest import SLOT_NAMES, SLOTS_BY_TASK, same_slots
from workbench.releases.models import PRODUCTION, Release
from workbench.releases.proposing import incumbent_of
from workbench.releases.service import ReleaseService
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter
from workbench.tuning.queries import by_job as adapter_by_job


def propose_from_comparisons(
    context: Context,
    actor: Actor,
    project_id: str,
    comparison_ids: Sequence[str],
    *,
    reason: str,
    name: str = "",
    despite: str = "",
    publish: CorpusPolicy | None = None,
    channel: str = PRODUCTION,
    command_id: str | None = None,
) -> Release:
    """Propose what these comparisons were about, over what is live in every slot that they do not speak of.

    Raises:
        InvalidInput: none is named, or two of them are about different candidates.
        Everything that `ReleaseService.propose` raises.
    """
    releases = ReleaseService(context)
    with releases.transaction(actor) as work:
        comparisons = [get_comparison(work.session, comparison_id, project_id) for comparison_id in comparison_ids]
        candidate = over_live(context, work.session, project_id, comparisons, channel=channel)
        return releases.propose_in(
            work, candidate, reason=reason, name=name, comparison_ids=comparison_ids, despite=despite, publish=publish,
            channel=channel, command_id=command_id,
        )  # fmt: skip


def propose_from_job(
    context: Context,
    actor: Actor,
    job_id: str,
    *,
    reason: str,
    name: str = "",
    despite: str = "",
    channel: str = PRODUCTION,
    command_id: str | None = None,
) -> Release:
    """Propose what a job made: a comparison's candidate, or a fine-tune's adapter in its slot over what is live.

    Raises:
        NotFound: there is no such job, or it made nothing to propose.
        Conflict: it made an adapter, and nothing is live that it could go over.
        Everything that `ReleaseService.propose` raises.
    """
    releases = ReleaseService(context)
    with releases.transaction(actor) as work:
        job = work.get(Job, job_id)
        comparison, adapter = comparison_by_job(work.session, job_id), adapter_by_job(work.session, job_id)
        if job.project_id is None or (comparison is None and adapter is None):
            raise NotFound("That job made nothing to propose.", why=f"It is {job.state}.", todo="Choose a finished one.")
        if comparison is not None:
            candidate = over_live(context, work.session, job.project_id, [comparison], channel=channel)
        else:
            assert adapter is not None
            candidate = with_adapter(context, work.session, job.project_id, adapter, channel=channel)
        return releases.propose_in(
            work, candidate, reason=reason, name=name, comparison_ids=[comparison.id] if comparison else [], despite=despite,
            channel=channel, command_id=command_id,
        )  # fmt: skip


def over_live(
    context: Context, session: Session, project_id: str, comparisons: Sequence[Comparison], *, channel: str = PRODUCTION
) -> ServingConfiguration:
    """The slots that the comparisons speak of from their candidates, all others as they are live.

    Before the first release the other slots come from the candidates too.

    Raises:
        InvalidInput: no comparison, or two that are about different candidates in the same slot.
        IntegrityError: what is live does not verify.
    """
    if not comparisons:
        raise InvalidInput("Name the comparison that the release rests on.")
    incumbent = incumbent_of(context, session, project_id, channel)
    candidates = [(c.task, ServingConfiguration.from_json(c.candidate)) for c in comparisons]
    # Answers first: without an incumbent its candidate fills the other slots best.
    candidates.sort(key=lambda pair: pair[0] != "answers")
    made = incumbent.configuration if incumbent else candidates[0][1]
    for task, candidate in candidates:
        made = _with_slots(made, candidate, task)
    for task, candidate in candidates:
        for slot in SLOTS_BY_TASK[task]:
            if not same_slots(made, candidate, (slot,)):
                raise InvalidInput(
                    f"These comparisons are about different candidates: they differ in the {SLOT_NAMES[slot]}.",
                    todo="Propose them one after the other.",
                )
    return made


def with_adapter(
    context: Context, session: Session, project_id: str, adapter: Adapter, *, channel: str = PRODUCTION
) -> ServingConfiguration:
    """What is live, with this adapter in its slot.

    Raises:
        Conflict: nothing is live.
        IntegrityError: what is live does not verify.
    """
    incumbent = incumbent_of(context, session, project_id, channel)
    if incumbent is None:
        raise Conflict(
            "Nothing is live that the adapter could go over.", todo="Compare it first, or choose all components yourself."
        )
    if adapter.kind == "triage":
        return replace(incumbent.configuration, triage_adapter=adapter.content_hash)
    return replace(incumbent.configuration, generator_adapter=adapter.content_hash)


def _with_slots(made: ServingConfiguration, candidate: ServingConfiguration, task: str) -> ServingConfiguration:
    if task == "triage":
        return replace(made, triage_adapter=candidate.triage_adapter)
    return replace(
        made,
        base_model=candidate.base_model,
        generator_adapter=candidate.generator_adapter,
        prompt_version=candidate.prompt_version,
        routing=candidate.routing,
        guard=candidate.guard,
    )
