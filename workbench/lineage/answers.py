"""Where an answer comes from: its release, the components of it, their examples, and everybody behind them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from workbench.core.settings import Settings
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.queries import examples as examples_of
from workbench.identity.queries import names_of
from workbench.knowledge.models import KnowledgeEntryVersion
from workbench.releases.changes import Component, components_of
from workbench.releases.manifest import Slot
from workbench.releases.models import Release
from workbench.releases.queries import decisions, find_release
from workbench.releases.signing import APPROVED
from workbench.traces.models import Trace
from workbench.traces.queries import get_trace
from workbench.tuning.models import Adapter
from workbench.tuning.queries import by_hash


@dataclass(frozen=True)
class Involved:
    """A person and what they did for the answer."""

    id: str
    name: str
    did: str
    """Such as “approved release 3”, “answered 12 examples of triage adapter 2”."""


@dataclass(frozen=True)
class AdapterOrigin:
    """An adapter, the dataset version it learned from, and the adapters it went on from."""

    slot: Slot
    adapter: Adapter
    dataset: DatasetVersion | None
    """None: its row is gone; the adapter's record still names its hash."""
    examples: list[DatasetExample]
    """Its own and its parents'."""
    parents: list[Adapter]
    """Nearest first."""


@dataclass(frozen=True)
class Passage:
    """A document that was put before the model."""

    document: dict[str, Any]
    """As the trace has it: {"id", "score", "content", "version"?}."""
    version: KnowledgeEntryVersion | None
    """The entry version it names; None when the application retrieved it elsewhere."""


@dataclass(frozen=True)
class AnswerLineage:
    """Everything behind one answer that is on record."""

    trace: Trace
    release: Release | None
    components: dict[Slot, Component] = field(default_factory=dict)
    adapters: list[AdapterOrigin] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    people: list[Involved] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    """What is not on record, as sentences: a lineage says where it ends."""


def lineage_of(session: Session, settings: Settings, project_id: str, trace_id: str) -> AnswerLineage:
    """Follow an answer back to the people behind it.

    Raises:
        NotFound: there is no such trace.
        IntegrityError: the release's manifest cannot be read.
    """
    trace = get_trace(session, project_id, trace_id)
    passages = _passages(session, trace)
    people = _knowledge_people(passages)
    release = find_release(session, project_id, trace.release) if trace.release else None
    if release is None:
        named = (
            f"names the release {trace.release!r}, which this workbench did not make" if trace.release else "names no release"
        )
        return AnswerLineage(trace, None, passages=passages, people=people, gaps=[f"The trace {named}."])
    configuration = release.configuration
    slots: list[tuple[Slot, str | None]] = [
        ("generator_adapter", configuration.generator_adapter),
        ("triage_adapter", configuration.triage_adapter),
    ]
    gaps: list[str] = []
    origins: list[AdapterOrigin] = []
    for slot, name in slots:
        if name is None:
            continue
        adapter = by_hash(session, project_id, name)
        if adapter is None:
            gaps.append(f"There is no record of the {slot.replace('_', ' ')} {name[:19]}….")
            continue
        origins.append(_origin(session, slot, adapter))
        if origins[-1].dataset is None:
            gaps.append(f"The dataset of {adapter.title.lower()} is gone; its hash was {adapter.dataset_hash[:19]}….")
    return AnswerLineage(
        trace=trace,
        release=release,
        components=components_of(session, settings, configuration),
        adapters=origins,
        passages=passages,
        people=people + _release_people(session, release) + _example_people(session, origins),
        gaps=gaps,
    )


def parents_of(session: Session, adapter: Adapter) -> list[Adapter]:
    """The adapters that this one went on from, nearest first."""
    found: list[Adapter] = []
    seen = {adapter.content_hash}
    parent = adapter.parent_hash
    while parent is not None and parent not in seen:
        seen.add(parent)
        row = by_hash(session, adapter.project_id, parent)
        if row is None:
            break
        found.append(row)
        parent = row.parent_hash
    return found


def _origin(session: Session, slot: Slot, adapter: Adapter) -> AdapterOrigin:
    parents = parents_of(session, adapter)
    rows = [row for each in [adapter, *parents] for row in examples_of(session, each.dataset_id)]
    return AdapterOrigin(slot, adapter, session.get(DatasetVersion, adapter.dataset_id), rows, parents)


def _passages(session: Session, trace: Trace) -> list[Passage]:
    ids = {str(document["version"]) for document in trace.documents if document.get("version")}
    rows = session.exec(
        select(KnowledgeEntryVersion).where(
            KnowledgeEntryVersion.project_id == trace.project_id, col(KnowledgeEntryVersion.id).in_(ids)
        )
    )
    versions = {row.id: row for row in rows}
    return [Passage(document, versions.get(str(document.get("version")))) for document in trace.documents]


def _knowledge_people(passages: Iterable[Passage]) -> list[Involved]:
    found: list[Involved] = []
    for version in (passage.version for passage in passages):
        if version is None:
            continue
        found.append(Involved(version.author_id, version.author_name, f"wrote {version.key}"))
        if version.certified_by is not None:
            found.append(Involved(version.certified_by, version.certified_by_name or "", f"certified {version.key}"))
    return list(dict.fromkeys(found))


def _release_people(session: Session, release: Release) -> list[Involved]:
    made = [Involved(maker["id"], maker["name"], str(maker["did"])) for maker in release.manifest["makers"]]
    return made + [
        Involved(decision.person_id, decision.person_name, f"approved release {release.number}")
        for decision in decisions(session, release.id)
        if decision.meaning == APPROVED
    ]


def _example_people(session: Session, origins: Iterable[AdapterOrigin]) -> list[Involved]:
    found: list[Involved] = []
    for origin in origins:
        counts = Counter(person for row in origin.examples for person in (row.people or [row.person_id]))
        names = names_of(session, set(counts))
        for person, count in counts.most_common():
            name = names.get(person, f"somebody without an account ({person[:8]})")
            did = f"answered {count} example{'s' if count != 1 else ''} of {origin.adapter.title.lower()}"
            found.append(Involved(person, name, did))
    return found
