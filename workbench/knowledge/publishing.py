"""Who may make a version live, and the rows that do it. Used inside the service's units of work."""

from datetime import datetime
from typing import Any

from workbench.core.actors import Actor, ActorKind, Permission
from workbench.core.clock import now
from workbench.core.unit_of_work import UnitOfWork
from workbench.knowledge import corpus
from workbench.knowledge.models import CorpusCommit, KnowledgeEntry, KnowledgeEntryVersion, RiskTier
from workbench.knowledge.policy import CorpusPolicy
from workbench.knowledge.queries import EntryStatus


def certified(
    work: UnitOfWork, draft: KnowledgeEntryVersion, *, until: datetime, number: int, reason: str
) -> KnowledgeEntryVersion:
    """Add the certified copy of a draft; the text's author stays its author."""
    version = KnowledgeEntryVersion(
        entry_id=draft.entry_id, project_id=draft.project_id, number=number, key=draft.key, title=draft.title,
        text=draft.text, kind=draft.kind, tags=list(draft.tags), language=draft.language, risk_tier=draft.risk_tier,
        source=draft.source, content_hash=draft.content_hash, author_id=draft.author_id, author_name=draft.author_name,
        certified_by=work.actor.id, certified_by_name=work.actor.name, certified_at=now(), review_at=until, reason=reason,
        based_on=draft.id,
    )  # fmt: skip
    work.add(version)
    return version


def publish_version(
    work: UnitOfWork, entry: KnowledgeEntry, version: KnowledgeEntryVersion, *, act: str, reason: str
) -> CorpusCommit:
    """Make the version live in a commit of its own."""
    return corpus.commit(
        work, project_id=entry.project_id, tenant=entry.tenant, changes={entry.id: version}, act=act, reason=reason
    )


def in_role(actor: Actor, policy: CorpusPolicy, project_id: str, tier: RiskTier) -> bool:
    """Whether the actor holds a role that may publish at this tier."""
    # The command line's actor has permissions instead of roles: who can read the home can do everything in it.
    service = actor.kind is ActorKind.SERVICE and Permission.CERTIFY_KNOWLEDGE in actor.permissions
    return service or policy.may_publish(tier, actor.roles(project_id))


def refusal_of(
    actor: Actor, policy: CorpusPolicy, entry: KnowledgeEntry, version: KnowledgeEntryVersion, tier: RiskTier
) -> str:
    """Why the actor may not make the version live; empty when they may."""
    if not in_role(actor, policy, entry.project_id, tier):
        return f"An entry of {tier.value} risk is certified by the role {' or '.join(policy.rule(tier).roles)}."
    if policy.rule(tier).second_person and version.author_id == actor.id:
        return f"An entry of {tier.value} risk is certified by a second person, not by the author of its text."
    return ""


def tier_of(status: EntryStatus | None, tier: str) -> RiskTier:
    """The tier whose rule holds: naming a lower one in an edit does not lower it before the edit is approved."""
    live = status.live if status else None
    return max([RiskTier(tier), *([RiskTier(live.risk_tier)] if live else [])], key=lambda tier: tier.rank)


def receipt(row: CorpusCommit) -> dict[str, Any]:
    """What an audit event says of a commit."""
    return {"commit": row.id, "commit_number": row.number, "corpus": row.content_hash, "tenant": row.tenant}


def tiers_in_words(actor: Actor, policy: CorpusPolicy, project_id: str, *, may_certify: bool) -> str:
    """What happens to an edit of this person, by risk tier, such as "Low and medium risk goes live at once. …"."""
    at_once = [
        tier
        for tier in RiskTier
        if may_certify and in_role(actor, policy, project_id, tier) and not policy.rule(tier).second_person
    ]
    waiting = [tier for tier in RiskTier if tier not in at_once]
    parts = []
    if at_once:
        parts.append(f"{_listed(at_once)} risk goes live at once.")
    if waiting:
        parts.append(f"{_listed(waiting)} risk is saved as a draft and waits for {'a second' if at_once else 'an'} expert.")
    return " ".join(parts)


def _listed(tiers: list[RiskTier]) -> str:
    names = [tier.value for tier in tiers]
    words = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return words.capitalize()
