"""Commands over knowledge entries and corpus commits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import select

from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.knowledge import corpus, importing, queries
from workbench.knowledge.content import EntryContent, checked, checked_key, content_of
from workbench.knowledge.models import (
    DEFAULT_TENANT,
    CorpusCommit,
    KnowledgeEntry,
    KnowledgeEntryVersion,
    KnowledgeWithdrawal,
    RiskTier,
)
from workbench.knowledge.policy import CorpusPolicy, policy_of
from workbench.knowledge.publishing import certified, in_role, publish_version, receipt, refusal_of, tier_of

LONGEST_CERTIFICATION = timedelta(days=730)


class EditConflict(Conflict):
    """Someone else changed the entry after the editor opened it. Nothing was stored; the editor still has their text."""

    def __init__(self, newest: KnowledgeEntryVersion) -> None:
        super().__init__(
            f"{newest.key} was changed meanwhile: version {newest.number} by {newest.certified_by_name or newest.author_name}.",
            todo="Compare it with your text below, then save yours on top of it.",
        )
        self.newest = newest
        """The version that an edit now has to start from."""


@dataclass(frozen=True)
class Edited:
    """What an edit or a certification made."""

    entry: KnowledgeEntry
    version: KnowledgeEntryVersion
    commit: CorpusCommit | None
    """The commit that made it live; None: it is a draft."""
    why_draft: str = ""
    """Why it is not live, in words."""


class KnowledgeService(Service):
    """Commands over knowledge entries and corpus commits."""

    def create(
        self,
        actor: Actor,
        project_id: str,
        *,
        key: str,
        content: EntryContent,
        tenant: str = DEFAULT_TENANT,
        review_at: datetime | None = None,
        reason: str = "",
        publish: bool = True,
        command_id: str | None = None,
    ) -> Edited:
        """Add an entry; live at once when the corpus policy lets the actor publish at its risk tier, else a draft.

        Raises:
            InvalidInput: a field cannot be used as it is.
            Conflict: the key is taken.
        """
        key, content = checked_key(key), checked(content)
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return _recall(work, done)
            work.require(Permission.EDIT_KNOWLEDGE, project_id)
            taken = work.session.exec(
                select(KnowledgeEntry).where(
                    KnowledgeEntry.project_id == project_id, KnowledgeEntry.tenant == tenant, KnowledgeEntry.key == key
                )
            ).first()
            if taken:
                raise Conflict(f"There is an entry {key!r} already.", todo="Edit it, or choose another key.")
            entry = KnowledgeEntry(project_id=project_id, tenant=tenant, key=key, created_by=actor.id)
            work.add(entry)
            return self._store(work, entry, content, base=None, review_at=review_at, reason=reason, publish=publish)

    def edit(
        self,
        actor: Actor,
        entry_id: str,
        *,
        base_version_id: str,
        content: EntryContent,
        review_at: datetime | None = None,
        reason: str = "",
        publish: bool = True,
        command_id: str | None = None,
    ) -> Edited:
        """Store a new version of an entry; live at once when the corpus policy allows, else a draft.

        Args:
            base_version_id: the version the editor saw: `EntryStatus.current` when the form was opened.
            review_at: when it has to be reviewed; None: the corpus policy's number of days from now.
            publish: False keeps a draft even where the actor may publish.

        Raises:
            EditConflict: another version is current by now.
            InvalidInput: a field cannot be used, or nothing was changed.
        """
        content = checked(content)
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return _recall(work, done)
            entry = work.get(KnowledgeEntry, entry_id, lock=True)
            work.require(Permission.EDIT_KNOWLEDGE, entry.project_id)
            status = queries.status_of(work.session, entry)
            if status.current.id != base_version_id:
                # A rollback would expire it, and the page has to show it.
                work.session.expunge(status.current)
                raise EditConflict(status.current)
            if content == content_of(status.current) and status.live is status.current:
                raise InvalidInput("Nothing was changed.", todo="To confirm the entry as it is, certify it again.")
            return self._store(work, entry, content, base=status, review_at=review_at, reason=reason, publish=publish)

    def certify(
        self, actor: Actor, version_id: str, *, until: datetime, reason: str = "", command_id: str | None = None
    ) -> Edited:
        """Certify a draft, or an entry as it is, until a review date; the certified version becomes live.

        Raises:
            NotAllowed: the corpus policy gives this risk tier to other roles, or asks for a second person.
            Conflict: the version is not the entry's current one.
            InvalidInput: the date is past, or more than two years away.
        """
        if until <= now():
            raise InvalidInput("The review date has passed already.", todo="Choose a day to come.")
        if until > now() + LONGEST_CERTIFICATION:
            raise InvalidInput("A certification lasts two years at most.", todo="Choose an earlier review date.")
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return _recall(work, done)
            draft = work.get(KnowledgeEntryVersion, version_id)
            entry = work.get(KnowledgeEntry, draft.entry_id, lock=True)
            work.require(Permission.CERTIFY_KNOWLEDGE, entry.project_id)
            status = queries.status_of(work.session, entry)
            if status.current.id != draft.id:
                raise Conflict(
                    f"Version {draft.number} is not the newest any more.", todo="Look at the newest one, then certify that."
                )
            policy = policy_of(self.context, work.session, entry.project_id, entry.tenant)
            if refusal := refusal_of(work.actor, policy, entry, draft, tier_of(status, draft.risk_tier)):
                raise NotAllowed(f"{actor.name} may not certify {entry.key}.", why=refusal)
            version = certified(work, draft, until=until, number=status.newest.number + 1, reason=reason)
            row = publish_version(work, entry, version, act="certify", reason=reason)
            work.record(
                "knowledge.certified", subject=version, reason=reason, key=entry.key, version=version.content_hash,
                former=status.live.content_hash if status.live else None, until=until.isoformat(), **receipt(row),
            )  # fmt: skip
            work.remember(entry=entry.id, version=version.id, commit=row.id)
            return Edited(entry, version, row)

    def certify_drafts(
        self,
        actor: Actor,
        project_id: str,
        *,
        tenant: str = DEFAULT_TENANT,
        reason: str,
        command_id: str | None = None,
    ) -> list[KnowledgeEntryVersion]:
        """Certify every pending draft that the actor may, in one commit, each until the date its author proposed.

        Returns the versions made; an empty list when there was nothing to certify.
        """
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return [work.get(KnowledgeEntryVersion, key) for key in done["versions"]]
            work.require(Permission.CERTIFY_KNOWLEDGE, project_id)
            policy = policy_of(self.context, work.session, project_id, tenant)
            changes: dict[str, KnowledgeEntryVersion | None] = {}
            made = []
            for status in queries.list_entries(work.session, project_id, tenant):
                draft = status.draft
                if draft is None:
                    continue
                tier = tier_of(status, draft.risk_tier)
                if refusal_of(work.actor, policy, status.entry, draft, tier):
                    continue
                until = draft.review_at or now() + timedelta(days=policy.rule(tier).review_days)
                version = certified(work, draft, until=until, number=status.newest.number + 1, reason=reason)
                changes[status.entry.id] = version
                made.append(version)
            if made:
                row = corpus.commit(work, project_id=project_id, tenant=tenant, changes=changes, act="certify", reason=reason)
                work.record(
                    "knowledge.drafts_certified", subject=row, reason=reason, **receipt(row),
                    versions={version.key: version.content_hash for version in made},
                )  # fmt: skip
            work.remember(versions=[version.id for version in made])
            return made

    def withdraw(self, actor: Actor, version_id: str, *, reason: str = "") -> None:
        """Take back a draft. Its author may, and whoever may certify. The text stays in the entry's history.

        Raises:
            Conflict: it is no pending draft.
        """
        with self.unit_of_work(actor) as work:
            version = work.get(KnowledgeEntryVersion, version_id)
            own = version.author_id == actor.id
            work.require(Permission.EDIT_KNOWLEDGE if own else Permission.CERTIFY_KNOWLEDGE, version.project_id)
            entry = work.get(KnowledgeEntry, version.entry_id, lock=True)
            status = queries.status_of(work.session, entry)
            if status.draft is None or status.draft.id != version.id:
                raise Conflict(f"Version {version.number} of {entry.key} is no pending draft.")
            work.add(KnowledgeWithdrawal(version_id=version.id, by=actor.id, reason=reason))
            work.record("knowledge.withdrawn", subject=version, reason=reason, key=entry.key, version=version.content_hash)

    def retire(self, actor: Actor, entry_id: str, *, reason: str, command_id: str | None = None) -> CorpusCommit:
        """Take an entry out of the live corpus. It stays in the history and can be restored.

        Raises:
            Conflict: it is not live.
            InvalidInput: no reason is given.
        """
        if not reason.strip():
            raise InvalidInput("Retiring an entry needs a reason.", todo="Say why the assistant must not use it any more.")
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(CorpusCommit, done["commit"])
            entry = work.get(KnowledgeEntry, entry_id, lock=True)
            work.require(Permission.CERTIFY_KNOWLEDGE, entry.project_id)
            live = queries.status_of(work.session, entry).live
            if live is None:
                raise Conflict(f"{entry.key} is not live.")
            row = corpus.commit(
                work, project_id=entry.project_id, tenant=entry.tenant, changes={entry.id: None}, act="retire", reason=reason
            )
            work.record(
                "knowledge.retired", subject=entry, reason=reason, key=entry.key, former=live.content_hash, **receipt(row)
            )
            work.remember(commit=row.id)
            return row

    def restore(self, actor: Actor, version_id: str, *, reason: str = "", command_id: str | None = None) -> CorpusCommit:
        """Make a version live again that was certified before and whose review date has not passed.

        Raises:
            Conflict: it was never certified, its review date has passed, or it is live already.
        """
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(CorpusCommit, done["commit"])
            version = work.get(KnowledgeEntryVersion, version_id)
            entry = work.get(KnowledgeEntry, version.entry_id, lock=True)
            work.require(Permission.CERTIFY_KNOWLEDGE, entry.project_id)
            if version.certified_by is None:
                raise Conflict("This version was never certified.", todo="Certify it.")
            if version.review_at is not None and version.review_at <= now():
                raise Conflict("Its review date has passed.", todo="Edit or certify the entry anew.")
            former = queries.status_of(work.session, entry).live
            self._require_tiers(work, entry, version, former)
            row = publish_version(work, entry, version, act="restore", reason=reason)
            work.record(
                "knowledge.restored", subject=version, reason=reason, key=entry.key, version=version.content_hash,
                former=former.content_hash if former else None, **receipt(row),
            )  # fmt: skip
            work.remember(commit=row.id)
            return row

    def undo(self, actor: Actor, commit_id: str, *, reason: str = "", command_id: str | None = None) -> CorpusCommit:
        """Take back one's own commit with a new one that restores what it changed.

        Raises:
            NotAllowed: the commit is someone else's.
            Conflict: an entry it changed was changed again since.
        """
        return self._take_back(actor, commit_id, act="undo", reason=reason, command_id=command_id)

    def revert(self, actor: Actor, commit_id: str, *, reason: str, command_id: str | None = None) -> CorpusCommit:
        """Take back any commit with a new one that restores what it changed.

        Raises:
            Conflict: an entry it changed was changed again since.
            InvalidInput: no reason is given.
        """
        if not reason.strip():
            raise InvalidInput("Reverting a commit needs a reason.")
        return self._take_back(actor, commit_id, act="revert", reason=reason, command_id=command_id)

    def return_to(self, actor: Actor, commit_id: str, *, reason: str, command_id: str | None = None) -> CorpusCommit:
        """Make the corpus as it was at a commit, with a new commit.

        Raises:
            Conflict: it is in that state already.
            InvalidInput: no reason is given.
        """
        if not reason.strip():
            raise InvalidInput("Going back to a commit needs a reason.")
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(CorpusCommit, done["commit"])
            target = work.get(CorpusCommit, commit_id)
            work.require(Permission.CERTIFY_KNOWLEDGE, target.project_id)
            corpus.lock_head(work, target.project_id, target.tenant)
            latest = queries.head(work.session, target.project_id, target.tenant)
            differences = queries.diff(work.session, latest, target)
            return self._apply(work, target, {c.entry_id: c.after for c in differences}, differences, "revert", reason)

    def import_jsonl(
        self,
        actor: Actor,
        project_id: str,
        text: str,
        *,
        tenant: str = DEFAULT_TENANT,
        reason: str = "",
        command_id: str | None = None,
    ) -> importing.ImportReport:
        """Add and change entries from lines of JSON, in one commit; see `importing`. A bad line keeps no other line out."""
        lines, errors = importing.parse(text)
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return importing.ImportReport(**{**done, "errors": [tuple(e) for e in done["errors"]]})
            work.require(Permission.EDIT_KNOWLEDGE, project_id)
            corpus.lock_head(work, project_id, tenant)
            policy = policy_of(self.context, work.session, project_id, tenant)
            statuses = {s.entry.key: s for s in queries.list_entries(work.session, project_id, tenant)}
            changes: dict[str, KnowledgeEntryVersion | None] = {}
            report = importing.ImportReport(errors=errors)
            for line in lines:
                status = statuses.get(line.key)
                if status is not None and content_of(status.current) == line.content:
                    report.unchanged.append(line.key)
                    continue
                entry = status.entry if status else KnowledgeEntry(
                    project_id=project_id, tenant=tenant, key=line.key, created_by=actor.id
                )  # fmt: skip
                if status is None:
                    work.add(entry)
                (report.changed if status else report.added).append(line.key)
                version, refusal = self._new_version(
                    work, policy, entry, line.content, base=status, review_at=line.review_at, reason=reason, publish=True
                )
                if refusal:
                    report.drafts.append(line.key)
                else:
                    changes[entry.id] = version
            details: dict[str, Any] = {"added": len(report.added), "changed": len(report.changed), "bad_lines": len(errors)}
            if changes:
                row = corpus.commit(work, project_id=project_id, tenant=tenant, changes=changes, act="import", reason=reason)
                report.commit_id = row.id
                hashes = {version.key: version.content_hash for version in changes.values() if version}
                work.record("knowledge.imported", subject=row, reason=reason, versions=hashes, **details, **receipt(row))
            else:
                work.record("knowledge.imported", subject=("project", project_id), project_id=project_id, **details)
            work.remember(**report.as_json())
            return report

    def _store(
        self,
        work: UnitOfWork,
        entry: KnowledgeEntry,
        content: EntryContent,
        *,
        base: queries.EntryStatus | None,
        review_at: datetime | None,
        reason: str,
        publish: bool,
    ) -> Edited:
        policy = policy_of(self.context, work.session, entry.project_id, entry.tenant)
        version, refusal = self._new_version(
            work, policy, entry, content, base=base, review_at=review_at, reason=reason, publish=publish
        )
        former = base.live.content_hash if base and base.live else None
        if refusal:
            work.record(
                "knowledge.drafted", subject=version, reason=reason, key=entry.key, version=version.content_hash, former=former
            )
            work.remember(entry=entry.id, version=version.id, commit=None, why_draft=refusal)
            return Edited(entry, version, None, refusal)
        row = publish_version(work, entry, version, act="edit", reason=reason)
        work.record(
            "knowledge.published", subject=version, reason=reason, key=entry.key, version=version.content_hash,
            former=former, risk_tier=version.risk_tier, **receipt(row),
        )  # fmt: skip
        work.remember(entry=entry.id, version=version.id, commit=row.id)
        return Edited(entry, version, row)

    def _new_version(
        self,
        work: UnitOfWork,
        policy: CorpusPolicy,
        entry: KnowledgeEntry,
        content: EntryContent,
        *,
        base: queries.EntryStatus | None,
        review_at: datetime | None,
        reason: str,
        publish: bool,
    ) -> tuple[KnowledgeEntryVersion, str]:
        """Add a version; the second value says why it is a draft, and is empty when the actor may make it live."""
        actor, moment = work.actor, now()
        tier = tier_of(base, content.risk_tier.value)
        version = KnowledgeEntryVersion(
            entry_id=entry.id, project_id=entry.project_id, number=base.newest.number + 1 if base else 1, key=entry.key,
            title=content.title, text=content.text, kind=content.kind, tags=list(content.tags), language=content.language,
            risk_tier=content.risk_tier.value, source=content.source, content_hash=content.hash(entry.key),
            author_id=actor.id, author_name=actor.name, reason=reason, based_on=base.current.id if base else None,
            review_at=review_at or moment + timedelta(days=policy.rule(tier).review_days), created_at=moment,
        )  # fmt: skip
        refusal = "It was saved as a draft." if not publish else refusal_of(actor, policy, entry, version, tier)
        if not refusal:
            try:
                work.require(Permission.CERTIFY_KNOWLEDGE, entry.project_id)
            except NotAllowed:
                refusal = "An expert has to certify it first."
        if not refusal:
            version.certified_by, version.certified_by_name, version.certified_at = actor.id, actor.name, moment
        work.add(version)
        return version, refusal

    def _take_back(self, actor: Actor, commit_id: str, *, act: str, reason: str, command_id: str | None) -> CorpusCommit:
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(CorpusCommit, done["commit"])
            target = work.get(CorpusCommit, commit_id)
            work.require(Permission.CERTIFY_KNOWLEDGE, target.project_id)
            if act == "undo" and target.created_by != actor.id:
                raise NotAllowed(
                    f"The commit is {target.created_by_name}'s.", todo="Revert it in the history, where it takes a reason."
                )
            corpus.lock_head(work, target.project_id, target.tenant)
            changes = queries.changes_of(work.session, target)
            live = corpus.live_version_ids(work.session, target.project_id, target.tenant)
            moved = [c.key for c in changes if live.get(c.entry_id) != (c.after.id if c.after else None)]
            if moved:
                raise Conflict(
                    f"{', '.join(moved[:5])} changed again since commit {target.number}.",
                    todo="Restore the version you want in the entry's history.",
                )
            back = [queries.CorpusChange(c.entry_id, c.key, c.after, c.before) for c in changes]
            return self._apply(work, target, {c.entry_id: c.after for c in back}, back, act, reason)

    def _apply(
        self,
        work: UnitOfWork,
        target: CorpusCommit,
        changes: dict[str, KnowledgeEntryVersion | None],
        differences: list[queries.CorpusChange],
        act: str,
        reason: str,
    ) -> CorpusCommit:
        for change in differences:
            entry = work.get(KnowledgeEntry, change.entry_id)
            self._require_tiers(work, entry, change.before, change.after)
        row = corpus.commit(
            work, project_id=target.project_id, tenant=target.tenant, changes=changes, act=act, reason=reason,
            undoes=target.id,
        )  # fmt: skip
        work.record(
            "knowledge.undone" if act == "undo" else "knowledge.reverted", subject=row, reason=reason, target=target.id,
            target_hash=target.content_hash, entries=[change.key for change in differences], **receipt(row),
        )  # fmt: skip
        work.remember(commit=row.id)
        return row

    def _require_tiers(self, work: UnitOfWork, entry: KnowledgeEntry, *versions: KnowledgeEntryVersion | None) -> None:
        """What was certified once goes back without a second person; the roles of its tier still hold."""
        policy = policy_of(self.context, work.session, entry.project_id, entry.tenant)
        tier = max((RiskTier(v.risk_tier) for v in versions if v), key=lambda tier: tier.rank)
        if not in_role(work.actor, policy, entry.project_id, tier):
            raise NotAllowed(
                f"{work.actor.name} may not change {entry.key}.",
                why=f"Entries of {tier.value} risk are for the role {' or '.join(policy.rule(tier).roles)}.",
            )


def _recall(work: UnitOfWork, done: dict[str, str | None]) -> Edited:
    return Edited(
        work.get(KnowledgeEntry, done["entry"]),
        work.get(KnowledgeEntryVersion, done["version"]),
        work.get(CorpusCommit, done["commit"]) if done["commit"] else None,
        done.get("why_draft") or "",
    )
