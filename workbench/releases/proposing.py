"""Making a release from a candidate: its manifest, its evidence, its makers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session, col, func, select

from workbench.core.clock import now
from workbench.core.errors import InvalidInput, Unavailable
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.evaluation.models import Comparison
from workbench.identity.models import Project
from workbench.knowledge.policy import CorpusPolicy
from workbench.knowledge.queries import head
from workbench.prompts.queries import by_hash
from workbench.releases.evidence import adapters_of, as_evidence, gather, makers, unproven_slots
from workbench.releases.manifest import SLOT_NAMES, Evidence, Proposal, Slot, changed_slots, hash_of
from workbench.releases.models import Release, ReleaseState
from workbench.releases.pins import high_water
from workbench.releases.signing import sign_manifest
from workbench.releases.verify import LiveRelease, verified
from workbench.serving.configuration import ServingConfiguration

NO_INCUMBENT = "There is no incumbent: this is the first release."


def incumbent_of(context: Context, session: Session, project_id: str, channel: str) -> LiveRelease | None:
    """What is live in this session's view, verified; None when nothing was released yet.

    Raises:
        IntegrityError: what is live does not verify.
    """
    seen = high_water(context.settings, project_id, channel)
    try:
        return verified(context, session, project_id, channel, seen)
    except Unavailable:
        return None


@dataclass(frozen=True)
class Assessment:
    """What a candidate would change, and what speaks for it, before anything is stored."""

    incumbent: LiveRelease | None
    changed: list[Slot]
    comparisons: list[Comparison]
    evidence: list[Evidence]
    unproven: list[Slot]
    """Changed slots that no comparison with what is live speaks for."""

    @property
    def failed(self) -> bool:
        """Whether nobody could approve it."""
        return any(item.verdict == "FAIL" for item in self.evidence)

    @property
    def needs_explanation(self) -> bool:
        """Whether its proposer has to say why it is proposed all the same."""
        return any(item.verdict != "PASS" for item in self.evidence) or bool(self.unproven and self.incumbent)


def assess(
    context: Context, session: Session, candidate: ServingConfiguration, *, comparison_ids: Sequence[str], channel: str
) -> Assessment:
    """Look at a candidate as `make_release` will.

    Raises:
        NotFound, Conflict, InvalidInput: a named comparison cannot be evidence.
        IntegrityError: what is live does not verify.
    """
    incumbent = incumbent_of(context, session, candidate.project_id, channel)
    before = incumbent.configuration if incumbent else None
    changed = changed_slots(candidate, before)
    comparisons = gather(session, candidate=candidate, incumbent=before, changed=changed, named=comparison_ids)
    evidence = [as_evidence(comparison, incumbent=before, changed=changed) for comparison in comparisons]
    return Assessment(incumbent, changed, comparisons, evidence, unproven_slots(changed, evidence))


def make_release(
    context: Context,
    work: UnitOfWork,
    *,
    candidate: ServingConfiguration,
    channel: str,
    name: str,
    reason: str,
    despite: str,
    comparison_ids: Sequence[str],
    publish: CorpusPolicy | None,
) -> tuple[Release, bool]:
    """Store a proposed release; the second value is False when the same one waits already.

    Raises:
        InvalidInput: nothing changes, a reason is missing, or a component does not fit.
        NotFound: a component or a comparison is not known.
        Conflict: a comparison has no verdict.
        IntegrityError: what is live does not verify.
    """
    if not reason.strip():
        raise InvalidInput("A release needs a reason.", todo="Write what it is meant to improve.")
    candidate = replace(candidate, corpus_commit=None, release_id=None, manifest_hash=None)
    project = work.get(Project, candidate.project_id, lock=True)
    session = work.session
    found = assess(context, session, candidate, comparison_ids=comparison_ids, channel=channel)
    incumbent, changed = found.incumbent, found.changed
    in_force = incumbent.release.corpus_policy if incumbent else CorpusPolicy()
    publish = publish or in_force
    if incumbent is not None and not changed and publish == in_force:
        raise InvalidInput("That is what is live already.", todo="Choose another component in at least one slot.")
    adapters = adapters_of(session, candidate)
    by_hash(session, project.id, candidate.prompt_version)
    _validate_exceptions_are_explained(found, despite)
    hashes = {"generator_adapter": candidate.generator_adapter, "triage_adapter": candidate.triage_adapter}
    makers_of = [adapters[name] for slot, name in hashes.items() if slot in changed and name is not None]
    proposal = Proposal(
        project_id=project.id,
        project_key=project.key,
        number=_next_number(session, project.id),
        name=name.strip(),
        configuration=candidate,
        adapters={h: {"dataset": a.dataset_hash, "base": a.base_hash} for h, a in adapters.items()},
        baseline=head(session, project.id, candidate.tenant),
        publish=publish,
        parent=incumbent.release.manifest_hash if incumbent else None,
        changed=changed,
        evidence=found.evidence,
        unproven={slot: despite.strip() or NO_INCUMBENT for slot in found.unproven},
        makers=makers(work.actor, found.comparisons, makers_of),
        reason=reason.strip(),
        despite=despite.strip(),
        proposed_at=now().isoformat(),
    )
    manifest = proposal.as_json()
    waiting = _same_waiting(session, manifest)
    if waiting is not None:
        return waiting, False
    manifest_hash = hash_of(manifest)
    release = Release(
        project_id=project.id,
        number=proposal.number,
        name=proposal.name,
        manifest=manifest,
        manifest_hash=manifest_hash,
        manifest_signature=sign_manifest(context.settings, manifest_hash),
        proposed_by=work.actor.id,
        proposed_by_name=work.actor.name,
        reason=proposal.reason,
    )
    work.add(release)
    return release, True


def _validate_exceptions_are_explained(found: Assessment, despite: str) -> None:
    if despite.strip() or not found.needs_explanation:
        return
    short = sorted({item.verdict for item in found.evidence if item.verdict != "PASS"})
    if short:
        raise InvalidInput(
            f"A comparison of this candidate says {' and '.join(short)}.",
            why="Approvers have to know why it is proposed all the same.",
            todo="Write the reason.",
        )
    named = " and ".join(SLOT_NAMES[slot] for slot in found.unproven)
    raise InvalidInput(
        f"No comparison against what is live now speaks for the {named}.",
        why="A release rests on evidence.",
        todo="Run a comparison against the live release, or write why there is none.",
    )


def _next_number(session: Session, project_id: str) -> int:
    return (session.exec(select(func.max(col(Release.number))).where(Release.project_id == project_id)).one() or 0) + 1


def _same_waiting(session: Session, manifest: dict[str, Any]) -> Release | None:
    """A proposal that waits and differs in nothing but its number, name, words and time."""
    loose = {"number", "name", "reason", "despite", "proposed_at", "unproven", "makers", "corpus_policy"}
    wanted = {key: value for key, value in manifest.items() if key not in loose} | _publish(manifest)
    waiting = select(Release).where(
        Release.project_id == manifest["project"]["id"], Release.state == ReleaseState.PROPOSED.value
    )
    for release in session.exec(waiting):
        there = {key: value for key, value in release.manifest.items() if key not in loose} | _publish(release.manifest)
        if there == wanted:
            return release
    return None


def _publish(manifest: dict[str, Any]) -> dict[str, Any]:
    return {"publish": manifest["corpus_policy"]["publish"]}
