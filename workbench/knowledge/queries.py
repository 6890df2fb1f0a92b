"""Reads over knowledge: what is live, what each entry's state is, what a commit changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select

from workbench.core.clock import now
from workbench.core.errors import NotFound
from workbench.knowledge.corpus import changed_entries
from workbench.knowledge.models import (
    DEFAULT_TENANT,
    CorpusCommit,
    CorpusHead,
    CorpusMembership,
    KnowledgeEntry,
    KnowledgeEntryVersion,
    KnowledgeWithdrawal,
)
from workbench.knowledge.policy import is_stale


class EntryState(StrEnum):
    """What an entry is to the application right now."""

    LIVE = "live"
    STALE = "stale"
    """Live, but its review date has passed."""
    DRAFT = "draft"
    """Never live so far, or retired with a new draft."""
    RETIRED = "retired"


@dataclass(frozen=True)
class EntryStatus:
    """An entry with the versions that matter."""

    entry: KnowledgeEntry
    live: KnowledgeEntryVersion | None
    """The version in the head commit."""
    draft: KnowledgeEntryVersion | None
    """The newest uncertified version that is newer than the live one and was not withdrawn."""
    newest: KnowledgeEntryVersion
    state: EntryState
    live_since: datetime | None = None
    """When the live version entered the head."""

    @property
    def current(self) -> KnowledgeEntryVersion:
        """What an edit starts from: the pending draft, else the live version, else the newest."""
        return self.draft or self.live or self.newest


@dataclass(frozen=True)
class CorpusChange:
    """One entry's part of the difference between two commits."""

    entry_id: str
    key: str
    before: KnowledgeEntryVersion | None
    after: KnowledgeEntryVersion | None

    @property
    def kind(self) -> str:
        """added, removed or changed."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


def scopes(session: Session) -> list[tuple[str, str]]:
    """Every (project_id, tenant) that has a corpus."""
    return [(p, t) for p, t in session.exec(select(CorpusHead.project_id, CorpusHead.tenant)).all()]


def head(session: Session, project_id: str, tenant: str = DEFAULT_TENANT) -> CorpusCommit | None:
    """The commit that is live for a scope; None before the first one."""
    return session.exec(
        select(CorpusCommit)
        .join(CorpusHead, col(CorpusHead.commit_id) == col(CorpusCommit.id))
        .where(CorpusHead.project_id == project_id, CorpusHead.tenant == tenant)
    ).first()


def commit_to_undo(session: Session, project_id: str, person_id: str, tenant: str = DEFAULT_TENANT) -> CorpusCommit | None:
    """The head commit when it is this person's and no undo: what an undo button takes back."""
    latest = head(session, project_id, tenant)
    return latest if latest and latest.created_by == person_id and latest.act != "undo" else None


def get_commit(session: Session, project_id: str, commit_id: str) -> CorpusCommit:
    """A commit by id.

    Raises:
        NotFound: there is none in this project.
    """
    row = session.get(CorpusCommit, commit_id)
    if row is None or row.project_id != project_id:
        raise NotFound(f"There is no corpus commit {commit_id!r} in this project.")
    return row


def member_ids(session: Session, commit: CorpusCommit) -> dict[str, str]:
    """Entry id → version id in a commit."""
    rows = session.exec(select(CorpusMembership.entry_id, CorpusMembership.version_id).where(*_in_commit(commit))).all()
    return dict(rows)


def members(session: Session, commit: CorpusCommit) -> dict[str, KnowledgeEntryVersion]:
    """Version id → version, for every entry that is live in a commit."""
    rows = session.exec(
        select(KnowledgeEntryVersion)
        .join(CorpusMembership, col(CorpusMembership.version_id) == col(KnowledgeEntryVersion.id))
        .where(*_in_commit(commit))
    ).all()
    return {version.id: version for version in rows}


def commits(session: Session, project_id: str, tenant: str = DEFAULT_TENANT, *, limit: int = 50) -> list[CorpusCommit]:
    """A scope's commits, newest first."""
    return list(
        session.exec(
            select(CorpusCommit)
            .where(CorpusCommit.project_id == project_id, CorpusCommit.tenant == tenant)
            .order_by(col(CorpusCommit.number).desc())
            .limit(limit)
        )
    )


def diff(session: Session, before: CorpusCommit | None, after: CorpusCommit) -> list[CorpusChange]:
    """What differs between two commits of one scope, by key. `before` None: against the empty corpus."""
    former = member_ids(session, before) if before else {}
    latter = member_ids(session, after)
    pairs = {e: (former.get(e), latter.get(e)) for e in {**former, **latter} if former.get(e) != latter.get(e)}
    return _changes(session, pairs)


def changes_of(session: Session, commit: CorpusCommit) -> list[CorpusChange]:
    """What one commit changed, by key."""
    return _changes(session, changed_entries(session, commit))


def entry_by_key(session: Session, project_id: str, key: str, tenant: str = DEFAULT_TENANT) -> KnowledgeEntry:
    """An entry by its key.

    Raises:
        NotFound
    """
    entry = session.exec(
        select(KnowledgeEntry).where(
            KnowledgeEntry.project_id == project_id, KnowledgeEntry.tenant == tenant, KnowledgeEntry.key == key
        )
    ).first()
    if entry is None:
        raise NotFound(f"There is no knowledge entry {key!r}.", todo="Look for it in the list: its key may have changed.")
    return entry


def versions_of(session: Session, entry_id: str) -> list[KnowledgeEntryVersion]:
    """An entry's versions, newest first."""
    return list(
        session.exec(
            select(KnowledgeEntryVersion)
            .where(KnowledgeEntryVersion.entry_id == entry_id)
            .order_by(col(KnowledgeEntryVersion.number).desc())
        )
    )


def get_version(session: Session, project_id: str, version_id: str) -> KnowledgeEntryVersion:
    """A version by id.

    Raises:
        NotFound: there is none in this project.
    """
    version = session.get(KnowledgeEntryVersion, version_id)
    if version is None or version.project_id != project_id:
        raise NotFound(f"There is no knowledge entry version {version_id!r} in this project.")
    return version


def versions_by_id(session: Session, project_id: str, ids: Sequence[str]) -> dict[str, KnowledgeEntryVersion]:
    """Versions of the project by id; those that do not exist are missing."""
    found = _versions_by_id(session, sorted(set(ids)))
    return {key: version for key, version in found.items() if version.project_id == project_id}


def live_by_key(
    session: Session, project_id: str, keys: Sequence[str], tenant: str = DEFAULT_TENANT
) -> dict[str, KnowledgeEntryVersion | None]:
    """The live version of each entry that exists, by key; None for an entry that is not live."""
    statement = (
        select(KnowledgeEntry.key, KnowledgeEntryVersion)
        .select_from(KnowledgeEntry)
        .join(
            CorpusMembership,
            (col(CorpusMembership.entry_id) == col(KnowledgeEntry.id)) & col(CorpusMembership.to_number).is_(None),
            isouter=True,
        )
        .join(KnowledgeEntryVersion, col(KnowledgeEntryVersion.id) == col(CorpusMembership.version_id), isouter=True)
        .where(
            KnowledgeEntry.project_id == project_id,
            KnowledgeEntry.tenant == tenant,
            col(KnowledgeEntry.key).in_(sorted(set(keys))[:500]),
        )
    )
    return dict(session.exec(statement).all())


def withdrawn_ids(session: Session, entry_ids: Sequence[str]) -> set[str]:
    """Ids of withdrawn versions among the entries'."""
    return set(
        session.exec(
            select(KnowledgeWithdrawal.version_id)
            .join(KnowledgeEntryVersion, col(KnowledgeEntryVersion.id) == col(KnowledgeWithdrawal.version_id))
            .where(col(KnowledgeEntryVersion.entry_id).in_(entry_ids))
        )
    )


def status_of(session: Session, entry: KnowledgeEntry) -> EntryStatus:
    """One entry with its live version, pending draft and state."""
    row = session.exec(
        select(CorpusMembership.version_id, CorpusCommit.created_at)
        .join(
            CorpusCommit,
            (col(CorpusCommit.project_id) == col(CorpusMembership.project_id))
            & (col(CorpusCommit.tenant) == col(CorpusMembership.tenant))
            & (col(CorpusCommit.number) == col(CorpusMembership.from_number)),
        )
        .where(CorpusMembership.entry_id == entry.id, col(CorpusMembership.to_number).is_(None))
    ).first()
    live_id, since = row if row else (None, None)
    return _status(entry, versions_of(session, entry.id), withdrawn_ids(session, [entry.id]), live_id, now(), since)


def list_entries(
    session: Session,
    project_id: str,
    tenant: str = DEFAULT_TENANT,
    *,
    text: str = "",
    kind: str | None = None,
    risk_tier: str | None = None,
    language: str | None = None,
    state: EntryState | None = None,
) -> list[EntryStatus]:
    """The entries of a scope by key, filtered by what their current version says; `text` looks in key, title, text, tags."""
    entries = session.exec(
        select(KnowledgeEntry).where(KnowledgeEntry.project_id == project_id, KnowledgeEntry.tenant == tenant)
    ).all()
    versions: dict[str, list[KnowledgeEntryVersion]] = {entry.id: [] for entry in entries}
    for version in session.exec(
        select(KnowledgeEntryVersion)
        .join(KnowledgeEntry, col(KnowledgeEntry.id) == col(KnowledgeEntryVersion.entry_id))
        .where(KnowledgeEntry.project_id == project_id, KnowledgeEntry.tenant == tenant)
        .order_by(col(KnowledgeEntryVersion.number).desc())
    ):
        versions[version.entry_id].append(version)
    withdrawn = set(
        session.exec(
            select(KnowledgeWithdrawal.version_id)
            .join(KnowledgeEntryVersion, col(KnowledgeEntryVersion.id) == col(KnowledgeWithdrawal.version_id))
            .where(KnowledgeEntryVersion.project_id == project_id)
        )
    )
    commit = head(session, project_id, tenant)
    live = member_ids(session, commit) if commit else {}
    moment = now()
    found = []
    for entry in sorted(entries, key=lambda entry: entry.key):
        status = _status(entry, versions[entry.id], withdrawn, live.get(entry.id), moment, None)
        current = status.current
        if (
            (kind is None or current.kind == kind)
            and (risk_tier is None or current.risk_tier == risk_tier)
            and (language is None or current.language == language)
            and (state is None or status.state == state or (state is EntryState.DRAFT and status.draft is not None))
            and _mentions(current, text)
        ):
            found.append(status)
    return found


def _status(
    entry: KnowledgeEntry,
    versions: list[KnowledgeEntryVersion],
    withdrawn: set[str],
    live_id: str | None,
    moment: datetime,
    since: datetime | None,
) -> EntryStatus:
    live = next((version for version in versions if version.id == live_id), None)
    kept = [version for version in versions if version.id not in withdrawn]
    certified = max((v.number for v in kept if v.certified_by is not None and live is None), default=0)
    floor = live.number if live else certified
    draft = next((version for version in kept if version.certified_by is None and version.number > floor), None)
    if live is not None:
        state = EntryState.STALE if is_stale(live, moment) else EntryState.LIVE
    else:
        state = EntryState.DRAFT if draft else EntryState.RETIRED
    return EntryStatus(entry, live, draft, versions[0], state, since)


def _mentions(version: KnowledgeEntryVersion, text: str) -> bool:
    """Whether every word of a search occurs in the version."""
    everything = " ".join([version.key, version.title, version.text, *version.tags]).casefold()
    return all(word in everything for word in text.casefold().split())


def _in_commit(commit: CorpusCommit) -> tuple[ColumnElement[bool], ...]:
    return (
        col(CorpusMembership.project_id) == commit.project_id,
        col(CorpusMembership.tenant) == commit.tenant,
        col(CorpusMembership.from_number) <= commit.number,
        col(CorpusMembership.to_number).is_(None) | (col(CorpusMembership.to_number) > commit.number),
    )


def _changes(session: Session, pairs: dict[str, tuple[str | None, str | None]]) -> list[CorpusChange]:
    ids = {version_id for pair in pairs.values() for version_id in pair if version_id}
    versions = _versions_by_id(session, sorted(ids))
    changes = []
    for entry_id, (old, new) in pairs.items():
        before, after = versions.get(old or ""), versions.get(new or "")
        known = after or before
        if known is not None:
            changes.append(CorpusChange(entry_id, known.key, before, after))
    return sorted(changes, key=lambda change: change.key)


def _versions_by_id(session: Session, ids: list[str]) -> dict[str, KnowledgeEntryVersion]:
    found: dict[str, KnowledgeEntryVersion] = {}
    for start in range(0, len(ids), 500):
        rows = session.exec(select(KnowledgeEntryVersion).where(col(KnowledgeEntryVersion.id).in_(ids[start : start + 500])))
        found.update({row.id: row for row in rows})
    return found
