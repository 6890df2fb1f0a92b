"""Making corpus commits inside a unit of work: two rows of membership an entry changed, one commit, one pointer moved."""

from collections.abc import Mapping

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict
from workbench.core.unit_of_work import UnitOfWork
from workbench.knowledge.models import CorpusCommit, CorpusHead, CorpusMembership, KnowledgeEntryVersion


def lock_head(work: UnitOfWork, project_id: str, tenant: str) -> CorpusHead | None:
    """The scope's head, held against other writers until the end of the transaction."""
    return work.session.get(CorpusHead, (project_id, tenant), with_for_update=True)


def live_version_ids(session: Session, project_id: str, tenant: str) -> dict[str, str]:
    """Entry id → id of its version in the head commit."""
    rows = session.exec(
        select(CorpusMembership.entry_id, CorpusMembership.version_id).where(
            CorpusMembership.project_id == project_id,
            CorpusMembership.tenant == tenant,
            col(CorpusMembership.to_number).is_(None),
        )
    )
    return dict(rows.all())


def corpus_hash(pairs: Mapping[str, str]) -> str:
    """The hash of a corpus: of its sorted pairs (entry id, content hash of the live version)."""
    return content_hash(sorted([entry_id, version_hash] for entry_id, version_hash in pairs.items()))


def commit(
    work: UnitOfWork,
    *,
    project_id: str,
    tenant: str,
    changes: Mapping[str, KnowledgeEntryVersion | None],
    act: str,
    reason: str,
    undoes: str | None = None,
) -> CorpusCommit:
    """Make a new head in which each entry of `changes` has the given version live, or with None no version.

    Raises:
        Conflict: the head moved meanwhile, or nothing would change.
    """
    session = work.session
    head = lock_head(work, project_id, tenant)
    expected = head.commit_id if head else None
    number = (head.number if head else 0) + 1
    rows = session.exec(
        select(CorpusMembership.entry_id, CorpusMembership.version_id, KnowledgeEntryVersion.content_hash)
        .join(KnowledgeEntryVersion, col(KnowledgeEntryVersion.id) == col(CorpusMembership.version_id))
        .where(
            CorpusMembership.project_id == project_id,
            CorpusMembership.tenant == tenant,
            col(CorpusMembership.to_number).is_(None),
        )
    ).all()
    before = {entry_id: version_id for entry_id, version_id, _ in rows}
    hashes = {entry_id: version_hash for entry_id, _, version_hash in rows}
    effective = {e: v for e, v in changes.items() if before.get(e) != (v.id if v else None)}
    if not effective:
        raise Conflict("Nothing would change: the corpus is in that state already.")
    for entry_id, version in effective.items():
        session.execute(
            update(CorpusMembership)
            .where(
                col(CorpusMembership.project_id) == project_id,
                col(CorpusMembership.tenant) == tenant,
                col(CorpusMembership.entry_id) == entry_id,
                col(CorpusMembership.to_number).is_(None),
            )
            .values(to_number=number)
        )
        hashes.pop(entry_id, None)
        if version is not None:
            hashes[entry_id] = version.content_hash
            session.add(
                CorpusMembership(
                    project_id=project_id, tenant=tenant, entry_id=entry_id, version_id=version.id, from_number=number
                )
            )
    row = CorpusCommit(
        project_id=project_id,
        tenant=tenant,
        number=number,
        parent_id=expected,
        content_hash=corpus_hash(hashes),
        members=len(hashes),
        act=act,
        undoes=undoes,
        reason=reason,
        created_by=work.actor.id,
        created_by_name=work.actor.name,
    )
    try:
        work.add(row)
        _move_head(session, row, expected)
    except IntegrityError as error:  # two first commits of a scope at the same moment: there is no head to lock yet
        raise _moved() from error
    return row


def _move_head(session: Session, row: CorpusCommit, expected: str | None) -> None:
    if expected is None:
        session.add(CorpusHead(project_id=row.project_id, tenant=row.tenant, commit_id=row.id, number=row.number))
        session.flush()
        return
    moved = session.execute(
        update(CorpusHead)
        .where(
            col(CorpusHead.project_id) == row.project_id,
            col(CorpusHead.tenant) == row.tenant,
            col(CorpusHead.commit_id) == expected,
        )
        .values(commit_id=row.id, number=row.number, moved_at=now())
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        raise _moved()


def _moved() -> Conflict:
    return Conflict("The knowledge was changed by someone else at the same moment.", todo="Try again.")


def changed_entries(session: Session, row: CorpusCommit) -> dict[str, tuple[str | None, str | None]]:
    """What a commit changed: entry id → (version id before, version id after)."""
    scope = (CorpusMembership.project_id == row.project_id, CorpusMembership.tenant == row.tenant)
    before = session.exec(
        select(CorpusMembership.entry_id, CorpusMembership.version_id).where(*scope, CorpusMembership.to_number == row.number)
    ).all()
    after = session.exec(
        select(CorpusMembership.entry_id, CorpusMembership.version_id).where(*scope, CorpusMembership.from_number == row.number)
    ).all()
    former, latter = dict(before), dict(after)
    return {entry_id: (former.get(entry_id), latter.get(entry_id)) for entry_id in {**former, **latter}}
