"""Reads over releases, decisions and channels."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from workbench.core.errors import NotFound
from workbench.core.settings import Settings
from workbench.core.unit_of_work import Context
from workbench.evaluation.models import Comparison
from workbench.evaluation.queries import CasePair, case_pairs
from workbench.golden.models import GoldenSet
from workbench.identity.models import Project
from workbench.releases.changes import components_of
from workbench.releases.evidence import of_candidate, still_says
from workbench.releases.models import PRODUCTION, Approval, Channel, ChannelMove, MoveKind, Release, ReleaseState
from workbench.releases.moves import moves_of, trusted, way_of
from workbench.releases.pins import is_withdrawn
from workbench.releases.signing import decision_holds, manifest_holds, move_holds
from workbench.releases.verify import decisions_on, live

_TITLE = re.compile(r"Release (\d{1,9})\b")


@dataclass(frozen=True)
class Proof:
    """One piece of evidence as the approver reads it."""

    recorded: dict[str, Any]
    """As the manifest holds it."""
    comparison: Comparison | None
    golden: GoldenSet | None
    intact: bool
    """Whether the comparison's row still says what the manifest recorded."""

    @property
    def verdict(self) -> str:
        return str(self.recorded["verdict"])

    @property
    def headline(self) -> str:
        return str(self.comparison.statistics.get("headline", "")) if self.comparison else ""

    @property
    def difference(self) -> dict[str, Any]:
        """{"value", "low", "high", "pairs", "gained", "lost", …} as shares; empty when the row is gone."""
        return dict(self.comparison.statistics.get("difference") or {}) if self.comparison else {}


@dataclass(frozen=True)
class Happening:
    """One line of the history."""

    at: datetime
    kind: str
    """proposed, approved, rejected, withdrawn, promoted, rolled_back."""
    release: Release
    by: str
    reason: str
    move: int | None = None
    """Number of the move, when the channel moved."""
    holds: bool = True
    """Whether the signature of this line holds; a proposal's is its manifest's."""


def get_release(session: Session, release_id: str, project_id: str | None = None) -> Release:
    """The release with this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    found = session.get(Release, release_id)
    if found is None or project_id not in (None, found.project_id):
        raise NotFound(f"There is no release with the id {release_id!r}.", todo="Choose one from the list.")
    return found


def find_release(session: Session, project_id: str, name: str) -> Release | None:
    """The release that a trace names, by id, manifest hash or title; None for an application's own release name."""
    of_project = select(Release).where(Release.project_id == project_id)
    if title := _TITLE.match(name):
        found = session.exec(of_project.where(Release.number == int(title[1]))).first()
        return found if found is not None and found.title == name else None
    return session.exec(of_project.where((col(Release.id) == name) | (col(Release.manifest_hash) == name))).first()


def releases(session: Session, project_id: str, *, state: ReleaseState | None = None) -> list[Release]:
    """Releases, newest first."""
    statement = select(Release).where(Release.project_id == project_id)
    if state is not None:
        statement = statement.where(Release.state == state.value)
    return list(session.exec(statement.order_by(col(Release.number).desc())))


def ready_to_promote(session: Session, settings: Settings, project_id: str, channel: str = PRODUCTION) -> list[Release]:
    """Approved releases that were never live on the channel, newest first."""
    been = {move.release_id for move in moves_of(session, project_id, channel)}
    return [
        release
        for release in releases(session, project_id, state=ReleaseState.APPROVED)
        if release.id not in been and not is_withdrawn(settings, release.manifest_hash)
    ]


def been_live(session: Session, settings: Settings, project_id: str, channel: str = PRODUCTION) -> list[Release]:
    """Releases that a rollback may name, the most recently live first; the present one is among them."""
    ids = dict.fromkeys(move.release_id for move in reversed(trusted(settings, moves_of(session, project_id, channel))))
    found = {row.id: row for row in session.exec(select(Release).where(col(Release.id).in_(list(ids))))}
    return [
        found[release_id]
        for release_id in ids
        if release_id in found and not is_withdrawn(settings, found[release_id].manifest_hash)
    ]


def comes_back(session: Session, settings: Settings, project_id: str, channel: str = PRODUCTION) -> Release | None:
    """The release that a one-click rollback puts back; None when there is none."""
    way = way_of(trusted(settings, moves_of(session, project_id, channel)))
    for release_id in reversed(way[:-1]):
        release = session.get(Release, release_id)
        if release is not None and release_id != way[-1] and not is_withdrawn(settings, release.manifest_hash):
            return release
    return None


def channel_row(session: Session, project_id: str, channel: str = PRODUCTION) -> Channel | None:
    """A channel's pointer as the database has it; `verify.live` says whether to believe it."""
    return session.exec(select(Channel).where(Channel.project_id == project_id, Channel.name == channel)).first()


def proofs(session: Session, release: Release) -> list[Proof]:
    """The evidence that a release's manifest names."""
    found: list[Proof] = []
    for recorded in release.manifest["evidence"]:
        comparison = session.get(Comparison, recorded["comparison_id"])
        golden = session.get(GoldenSet, comparison.golden_set_id) if comparison else None
        found.append(Proof(recorded, comparison, golden, still_says(comparison, recorded)))
    return found


def lost_cases(session: Session, comparison: Comparison) -> list[CasePair]:
    """Cases that the incumbent passed and the candidate did not."""
    return [pair for pair in case_pairs(session, comparison) if pair.outcome == "lost"]


def other_comparisons(session: Session, release: Release) -> list[Comparison]:
    """Finished comparisons of the same candidate that the manifest does not name, newest first."""
    named = {item["comparison_id"] for item in release.manifest["evidence"]}
    return [c for c in of_candidate(session, release.configuration, release.manifest["changed"]) if c.id not in named]


def decisions(session: Session, release_id: str) -> list[Approval]:
    """Every decision about a release, oldest first."""
    return decisions_on(session, release_id)


def history(session: Session, settings: Settings, project_id: str, channel: str = PRODUCTION) -> list[Happening]:
    """Who proposed, decided, promoted and rolled back what, when and why; newest first."""
    rows = {release.id: release for release in releases(session, project_id)}
    lines = [
        Happening(r.proposed_at, "proposed", r, r.proposed_by_name, r.reason, holds=manifest_holds(settings, r))
        for r in rows.values()
    ]
    for decision in session.exec(select(Approval).where(Approval.project_id == project_id)):
        release = rows.get(decision.release_id)
        if release is not None:
            holds = decision_holds(settings, release, decision)
            lines.append(Happening(decision.at, decision.meaning, release, decision.person_name, decision.reason, holds=holds))
    lines += [
        Happening(r.decided_at, "withdrawn", r, r.withdrawn_by_name, r.withdrawn_reason)
        for r in rows.values()
        if r.status is ReleaseState.WITHDRAWN and r.decided_at is not None
    ]
    for move in moves_of(session, project_id, channel):
        release = rows.get(move.release_id)
        if release is not None:
            holds = move_holds(settings, move)
            lines.append(Happening(move.at, move.kind, release, move.by_name, move.reason, move=move.number, holds=holds))
    return sorted(lines, key=lambda line: (line.at, line.move or 0), reverse=True)


def live_spans(
    session: Session, settings: Settings, release_id: str, channel: str = PRODUCTION
) -> list[tuple[datetime, datetime | None]]:
    """When a release was live on a channel: (from, until), oldest first; until None: it is live now."""
    release = get_release(session, release_id)
    moves: list[ChannelMove] = trusted(settings, moves_of(session, release.project_id, channel))
    ends = [*(move.at for move in moves[1:]), None]
    return [(move.at, end) for move, end in zip(moves, ends, strict=False) if move.release_id == release_id]


def channel_as_json(context: Context, project_id: str, channel: str = PRODUCTION) -> dict[str, Any]:
    """What `workbench release show` prints, verified.

    Raises:
        Unavailable: nothing is released yet.
        IntegrityError: what the database says is live does not verify.
    """
    found = live(context, project_id, channel)
    release, move = found.release, found.move
    with context.database.session() as session:
        project = session.get(Project, project_id)
        components = components_of(session, context.settings, found.configuration)
        before = comes_back(session, context.settings, project_id, channel)
    return {
        "channel": channel,
        "project": project.key if project else project_id,
        "verified": True,
        "release": {"id": release.id, "number": release.number, "name": release.name, "title": release.title},
        "manifest_hash": release.manifest_hash,
        "live_since": move.at.isoformat(),
        "move": {"number": move.number, "kind": MoveKind(move.kind).value, "by": move.by_name, "reason": move.reason},
        "proposed": {"by": release.proposed_by_name, "at": release.proposed_at.isoformat(), "reason": release.reason},
        "approved": [
            {
                "by": a.person_name,
                "at": a.signature["signed_at"],
                "meaning": a.meaning,
                "reason": a.reason,
                "key": a.signature["key_id"],
            }
            for a in found.approvals
        ],
        "components": {slot: {"name": c.name, "hash": c.content_hash} for slot, c in components.items()},
        "corpus_policy": release.manifest["corpus_policy"],
        "evidence": [
            {"comparison": item["comparison_id"], "task": item["task"], "verdict": item["verdict"]}
            for item in release.manifest["evidence"]
        ],
        "rollback_to": None if before is None else {"id": before.id, "title": before.title},
    }
