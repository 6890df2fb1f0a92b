"""Where a trace's or a person's answers went: datasets, adapters, releases, and when those were live."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, String, cast
from sqlmodel import Session, col, select

from workbench.core.settings import Settings
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.releases.models import PRODUCTION, Release
from workbench.releases.queries import live_spans, releases
from workbench.tuning.models import Adapter


@dataclass(frozen=True)
class ReachedAdapter:
    """An adapter that learned from the answers."""

    adapter: Adapter
    inherited: bool
    """Whether only through the adapter that it went on from."""


@dataclass(frozen=True)
class ReachedRelease:
    """A release with such an adapter in it."""

    release: Release
    slots: list[str]
    live: list[tuple[datetime, datetime | None]]
    """When it was live on production, (from, until); until None: now."""

    @property
    def is_live(self) -> bool:
        return bool(self.live) and self.live[-1][1] is None


@dataclass(frozen=True)
class Reach:
    """All that some examples led to."""

    examples: list[DatasetExample] = field(default_factory=list)
    datasets: list[DatasetVersion] = field(default_factory=list)
    adapters: list[ReachedAdapter] = field(default_factory=list)
    releases: list[ReachedRelease] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        """Whether anything of it answers on production now."""
        return any(reached.is_live for reached in self.releases)


def reach_of_trace(session: Session, settings: Settings, project_id: str, trace_id: str) -> Reach:
    """What was learned from the responses to one trace."""
    return _reach(session, settings, project_id, col(DatasetExample.trace_id) == trace_id.lower())


def reach_of_person(session: Session, settings: Settings, project_id: str, person_id: str) -> Reach:
    """What was learned from one person's responses, those included in which others outvoted them."""
    named = cast(col(DatasetExample.people), String).contains(f'"{person_id}"', autoescape=True)
    return _reach(session, settings, project_id, (col(DatasetExample.person_id) == person_id) | named)


def reach_of_dataset(session: Session, settings: Settings, dataset: DatasetVersion) -> Reach:
    """What was made from a dataset version."""
    return _reach(session, settings, dataset.project_id, col(DatasetExample.dataset_id) == dataset.id)


def _reach(session: Session, settings: Settings, project_id: str, which: ColumnElement[bool]) -> Reach:
    rows = session.exec(
        select(DatasetExample)
        .where(DatasetExample.project_id == project_id, which)
        .order_by(col(DatasetExample.dataset_id), col(DatasetExample.position))
    ).all()
    ids = {row.dataset_id for row in rows}
    if not ids:
        return Reach()
    datasets = session.exec(
        select(DatasetVersion).where(col(DatasetVersion.id).in_(ids)).order_by(col(DatasetVersion.created_at))
    ).all()
    adapters = _adapters(session, project_id, ids)
    return Reach(list(rows), list(datasets), adapters, _releases(session, settings, project_id, adapters))


def _adapters(session: Session, project_id: str, dataset_ids: Iterable[str]) -> list[ReachedAdapter]:
    wanted = set(dataset_ids)
    every = session.exec(select(Adapter).where(Adapter.project_id == project_id).order_by(col(Adapter.created_at))).all()
    reached = {adapter.content_hash for adapter in every if adapter.dataset_id in wanted}
    grown = True
    while grown:  # an adapter that goes on from a reached one is reached, however long the chain
        more = {adapter.content_hash for adapter in every if adapter.parent_hash in reached} - reached
        grown = bool(more)
        reached |= more
    return [
        ReachedAdapter(adapter, inherited=adapter.dataset_id not in wanted)
        for adapter in every
        if adapter.content_hash in reached
    ]


def _releases(
    session: Session, settings: Settings, project_id: str, adapters: Iterable[ReachedAdapter]
) -> list[ReachedRelease]:
    hashes = {reached.adapter.content_hash for reached in adapters}
    found: list[ReachedRelease] = []
    for release in reversed(releases(session, project_id)):
        held = release.manifest["slots"].items()
        slots = [slot for slot, value in held if isinstance(value, dict) and value.get("hash") in hashes]
        if slots:
            found.append(ReachedRelease(release, slots, live_spans(session, settings, release.id, PRODUCTION)))
    return found
