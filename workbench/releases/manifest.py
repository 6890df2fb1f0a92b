"""The manifest: a release as one canonical JSON value that names every component by hash.

Whoever approves signs the hash of this value, so it holds all that an approver relies on: the components, the evidence
with its verdicts, who made what (and so may not approve), and who may publish knowledge under it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from workbench.core.canonical import content_hash
from workbench.core.errors import IntegrityError
from workbench.knowledge.models import CorpusCommit
from workbench.knowledge.policy import CorpusPolicy
from workbench.serving.configuration import GuardPolicy, Routing, ServingConfiguration

SCHEMA = "workbench.release/1"

Slot = Literal["base_model", "generator_adapter", "triage_adapter", "prompt_version", "routing", "guard_policy"]
SLOTS: tuple[Slot, ...] = ("base_model", "generator_adapter", "triage_adapter", "prompt_version", "routing", "guard_policy")

SLOT_NAMES: dict[Slot, str] = {
    "base_model": "base model",
    "generator_adapter": "generator adapter",
    "triage_adapter": "triage adapter",
    "prompt_version": "prompt version",
    "routing": "routing",
    "guard_policy": "guard policy",
}
"""Slots as people read them."""

HASHED_SLOTS: frozenset[Slot] = frozenset({"base_model", "generator_adapter", "triage_adapter", "prompt_version"})
"""Slots that hold a content hash; the others hold their settings themselves."""

SLOTS_BY_TASK: dict[str, tuple[Slot, ...]] = {
    "triage": ("triage_adapter",),
    "answers": ("base_model", "generator_adapter", "prompt_version", "routing", "guard_policy"),
}
"""Which slots a comparison on a golden set of this task is evidence for."""

APPROVALS_NEEDED = 1
"""How many people other than the makers have to approve."""


@dataclass(frozen=True)
class Evidence:
    """A comparison that a release rests on, as it stood when the release was proposed."""

    comparison_id: str
    task: str
    """triage or answers."""
    verdict: str
    """PASS, FAIL or INCONCLUSIVE."""
    statistics_hash: str
    golden_set_hash: str
    slots: list[Slot]
    """Changed slots that it speaks for."""
    against_live: bool
    """Whether its incumbent was what was live when the release was proposed."""


@dataclass(frozen=True)
class Maker:
    """Somebody who made the release or its evidence, and so may not approve it."""

    id: str
    name: str
    did: str
    """What they did, as the page says it: "proposed this release"."""


@dataclass(frozen=True)
class Proposal:
    """All that goes into a manifest."""

    project_id: str
    project_key: str
    number: int
    name: str
    configuration: ServingConfiguration
    adapters: Mapping[str, dict[str, str]]
    """Adapter hash → {"dataset", "base"}: the hashes that the adapter is bound to."""
    baseline: CorpusCommit | None
    """The corpus commit that was live when the release was proposed; None: there was none yet."""
    publish: CorpusPolicy
    """Who may make knowledge live under this release, by risk tier."""
    parent: str | None
    """Manifest hash of the release that was live when this one was proposed."""
    changed: list[Slot]
    evidence: list[Evidence]
    unproven: dict[Slot, str]
    """Changed slot without a comparison → the reason given."""
    makers: list[Maker]
    reason: str
    despite: str
    """Why it is proposed although a verdict is not PASS or a slot is unproven; approvers see it."""
    proposed_at: str
    """ISO 8601 UTC."""

    def as_json(self) -> dict[str, Any]:
        """The manifest."""
        configuration, baseline = self.configuration, self.baseline
        return {
            "schema": SCHEMA,
            "project": {"id": self.project_id, "key": self.project_key},
            "number": self.number,
            "name": self.name,
            "tenant": configuration.tenant,
            "slots": slots_of(configuration, self.adapters),
            "corpus_policy": {
                "baseline": None if baseline is None else {"commit": baseline.id, "hash": baseline.content_hash},
                "publish": self.publish.as_json(),
            },
            "approval_policy": {"needed": APPROVALS_NEEDED},
            "parent": self.parent,
            "changed": list(self.changed),
            "evidence": [asdict(item) for item in self.evidence],
            "unproven": {slot: self.unproven[slot] for slot in sorted(self.unproven)},
            "makers": [asdict(maker) for maker in self.makers],
            "reason": self.reason,
            "despite": self.despite,
            "proposed_at": self.proposed_at,
        }


def slots_of(configuration: ServingConfiguration, adapters: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    """The slots of a manifest: {"base_model": {"hash"}, "generator_adapter": {"hash", …} | None, …, "routing": {…}, …}."""

    def adapter(name: str | None) -> dict[str, str] | None:
        return None if name is None else {"hash": name, **adapters.get(name, {})}

    return {
        "base_model": {"hash": configuration.base_model},
        "generator_adapter": adapter(configuration.generator_adapter),
        "triage_adapter": adapter(configuration.triage_adapter),
        "prompt_version": {"hash": configuration.prompt_version},
        "routing": asdict(configuration.routing),
        "guard_policy": asdict(configuration.guard),
    }


def configuration_of(
    manifest: Mapping[str, Any], *, release_id: str | None = None, manifest_hash: str | None = None
) -> ServingConfiguration:
    """The serving configuration that a manifest names; the inverse of `slots_of`.

    Raises:
        IntegrityError: the manifest is of another schema or lacks a slot.
    """
    try:
        if manifest["schema"] != SCHEMA:
            raise IntegrityError(
                f"The manifest has the schema {manifest['schema']!r}.",
                why=f"This version reads {SCHEMA}.",
                todo="Propose it again.",
            )
        slots = manifest["slots"]
        return ServingConfiguration(
            project_id=manifest["project"]["id"],
            tenant=manifest["tenant"],
            base_model=slots["base_model"]["hash"],
            prompt_version=slots["prompt_version"]["hash"],
            generator_adapter=_hash_in(slots["generator_adapter"]),
            triage_adapter=_hash_in(slots["triage_adapter"]),
            routing=Routing(**slots["routing"]),
            guard=GuardPolicy(**slots["guard_policy"]),
            release_id=release_id,
            manifest_hash=manifest_hash,
        )
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            "The release's manifest is not complete.", why=f"It lacks or garbles {error}.", todo="Propose the release again."
        ) from error


def slot_values(configuration: ServingConfiguration) -> dict[Slot, Any]:
    """Slot → what it holds, ready to compare: a hash, None, or settings as JSON."""
    slots = slots_of(configuration, {})
    return {slot: _hash_in(slots[slot]) if slot in HASHED_SLOTS else slots[slot] for slot in SLOTS}


def changed_slots(candidate: ServingConfiguration, incumbent: ServingConfiguration | None) -> list[Slot]:
    """Slots in which the candidate differs; without an incumbent every slot that holds something."""
    after = slot_values(candidate)
    before = slot_values(incumbent) if incumbent is not None else dict.fromkeys(SLOTS)
    return [slot for slot in SLOTS if after[slot] != before[slot]]


def same_slots(one: ServingConfiguration, other: ServingConfiguration, slots: tuple[Slot, ...]) -> bool:
    """Whether two configurations hold the same in these slots."""
    first, second = slot_values(one), slot_values(other)
    return all(first[slot] == second[slot] for slot in slots)


def hash_of(manifest: Mapping[str, Any]) -> str:
    """The hash that names a manifest."""
    return content_hash(dict(manifest))


def _hash_in(component: dict[str, str] | None) -> str | None:
    return None if component is None else component["hash"]
