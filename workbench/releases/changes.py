"""What a release is made of in words, and what changed since the last approval."""

from collections import Counter
from dataclasses import dataclass, field

from sqlmodel import Session, col, select

from workbench.core.canonical import short_hash
from workbench.core.errors import NotFound
from workbench.core.settings import Settings
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.identity.queries import names_of
from workbench.knowledge.models import CorpusCommit
from workbench.knowledge.queries import CorpusChange, diff, head
from workbench.prompts.queries import by_hash as prompt_by_hash
from workbench.releases.components import base_model_name
from workbench.releases.manifest import HASHED_SLOTS, SLOT_NAMES, SLOTS, Slot, slot_values
from workbench.releases.models import Release
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning.models import Adapter
from workbench.tuning.queries import by_hash as adapter_by_hash


@dataclass(frozen=True)
class Component:
    """What fills a slot."""

    slot: Slot
    name: str
    """As people read it: “Triage adapter 3”, “answers v2”, “2 passages, from 0.35”."""
    content_hash: str | None
    """None for an empty slot, and for settings, which the manifest holds themselves."""
    detail: str = ""


@dataclass(frozen=True)
class SlotChange:
    """One slot before and after."""

    slot: Slot
    before: Component | None
    """None: there was no release before."""
    after: Component

    @property
    def changed(self) -> bool:
        return self.before is None or (self.before.name, self.before.content_hash) != (self.after.name, self.after.content_hash)

    @property
    def title(self) -> str:
        return SLOT_NAMES[self.slot].capitalize()


@dataclass(frozen=True)
class Behind:
    """The dataset and the people behind an adapter."""

    adapter: Adapter
    dataset: DatasetVersion | None
    """None: its row is gone."""
    rows: int
    people: dict[str, int]
    """Printed name → examples they answered, most first."""
    languages: dict[str, int]
    without_consent: int
    erased: int


@dataclass(frozen=True)
class CorpusDelta:
    """What happened to the knowledge since a baseline; it went live by certification, not by a release."""

    baseline: CorpusCommit | None
    head: CorpusCommit | None
    commits: list[CorpusCommit] = field(default_factory=list)
    """Newest first."""
    changes: list[CorpusChange] = field(default_factory=list)


@dataclass(frozen=True)
class Changes:
    """What an approver has to know about a release."""

    parent: Release | None
    """The release it was proposed over; None: it is the first."""
    slots: list[SlotChange]
    corpus: CorpusDelta
    behind: list[Behind]
    """Of the adapters that changed."""

    @property
    def changed(self) -> list[SlotChange]:
        return [change for change in self.slots if change.changed]


def changes_of(session: Session, settings: Settings, release: Release) -> Changes:
    """What differs between a release and the one it was proposed over, and what is behind the difference."""
    parent = parent_of(session, release)
    after = components_of(session, settings, release.configuration)
    before = components_of(session, settings, parent.configuration) if parent else {}
    slots = [SlotChange(slot, before.get(slot), after[slot]) for slot in SLOTS]
    configuration = release.configuration
    names = {"generator_adapter": configuration.generator_adapter, "triage_adapter": configuration.triage_adapter}
    behind = [
        people_behind(session, adapter)
        for change in slots
        if change.changed
        and (name := names.get(change.slot)) is not None
        and (adapter := adapter_by_hash(session, release.project_id, name)) is not None
    ]
    return Changes(parent, slots, corpus_delta(session, parent or release), behind)


def parent_of(session: Session, release: Release) -> Release | None:
    """The release that was live when this one was proposed."""
    parent = release.manifest["parent"]
    if parent is None:
        return None
    return session.exec(
        select(Release).where(Release.project_id == release.project_id, Release.manifest_hash == parent)
    ).first()


def components_of(session: Session, settings: Settings, configuration: ServingConfiguration) -> dict[Slot, Component]:
    """Every slot of a configuration in words."""
    values = slot_values(configuration)
    routing, guard = configuration.routing, configuration.guard
    how = "the model writes" if routing.mode == "generate" else "the cited evidence is the answer"
    policy = [f"at most {guard.max_sentences} sentence{'s' if guard.max_sentences != 1 else ''}"]
    policy += ["cites its evidence"] if guard.require_citation else []
    policy += ["declines without evidence"] if guard.decline_without_evidence else []
    names: dict[Slot, tuple[str, str]] = {
        "base_model": (base_model_name(settings, configuration.base_model) or "a model that is not on this machine", ""),
        "generator_adapter": _adapter(session, configuration, configuration.generator_adapter, "none: the bare base model"),
        "triage_adapter": _adapter(session, configuration, configuration.triage_adapter, "none: no triage"),
        "prompt_version": _prompt(session, configuration),
        "routing": (f"{how}; {routing.passages} passages, similarity from {routing.minimum_score:g}", ""),
        "guard_policy": (", ".join(policy), f"otherwise: {_ON_FAILURE[guard.on_failure]}"),
    }
    return {
        slot: Component(slot, names[slot][0], values[slot] if slot in HASHED_SLOTS else None, names[slot][1]) for slot in SLOTS
    }


_ON_FAILURE = {
    "deliver": "delivered as written, marked",
    "evidence": "the cited evidence instead",
    "decline": "a polite refusal instead",
}


def people_behind(session: Session, adapter: Adapter) -> Behind:
    """The dataset of an adapter, and whose answers are in it."""
    rows = session.exec(select(DatasetExample).where(DatasetExample.dataset_id == adapter.dataset_id)).all()
    given = Counter(person for row in rows for person in (row.people or [row.person_id]))
    names = names_of(session, set(given))
    people: Counter[str] = Counter()
    for person, count in given.items():
        people[names.get(person, f"somebody without an account ({person[:8]})")] += count
    return Behind(
        adapter=adapter,
        dataset=session.get(DatasetVersion, adapter.dataset_id),
        rows=len(rows),
        people=dict(people.most_common()),
        languages=dict(Counter(row.language or "unknown" for row in rows).most_common()),
        without_consent=sum(not row.consent for row in rows),
        erased=sum(row.erased_at is not None for row in rows),
    )


def corpus_delta(session: Session, release: Release) -> CorpusDelta:
    """What happened to the knowledge since the commit that a release names as its baseline."""
    named = release.manifest["corpus_policy"]["baseline"]
    baseline = session.get(CorpusCommit, named["commit"]) if named else None
    present = head(session, release.project_id, release.configuration.tenant)
    if present is None:
        return CorpusDelta(baseline, None)
    since = session.exec(
        select(CorpusCommit)
        .where(CorpusCommit.project_id == release.project_id, CorpusCommit.tenant == present.tenant)
        .where(CorpusCommit.number > (baseline.number if baseline else 0))
        .order_by(col(CorpusCommit.number).desc())
    ).all()
    if baseline is not None and baseline.id == present.id:
        return CorpusDelta(baseline, present)
    return CorpusDelta(baseline, present, list(since), diff(session, baseline, present))


def _adapter(session: Session, configuration: ServingConfiguration, name: str | None, empty: str) -> tuple[str, str]:
    if name is None:
        return empty, ""
    adapter = adapter_by_hash(session, configuration.project_id, name)
    if adapter is None:
        return f"an adapter without a record ({short_hash(name)})", ""
    dataset = session.get(DatasetVersion, adapter.dataset_id)
    trained = f"trained on {dataset.name} v{dataset.number}, {dataset.rows} examples" if dataset else ""
    return adapter.title, trained


def _prompt(session: Session, configuration: ServingConfiguration) -> tuple[str, str]:
    try:
        prompt = prompt_by_hash(session, configuration.project_id, configuration.prompt_version)
    except NotFound:
        return f"a prompt without a record ({short_hash(configuration.prompt_version)})", ""
    return f"{prompt.name} v{prompt.number}", prompt.reason
