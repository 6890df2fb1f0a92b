"""Saying in words what an entry is to the application: live for whom, since when, by whom, until when."""

from datetime import datetime

from workbench.core.clock import now
from workbench.knowledge.models import DEFAULT_TENANT, CorpusCommit
from workbench.knowledge.policy import CorpusPolicy, is_stale
from workbench.knowledge.queries import EntryState, EntryStatus


def for_whom(tenant: str) -> str:
    """The audience of a tenant's corpus."""
    return "everyone who asks this application" if tenant == DEFAULT_TENANT else f"askers of the tenant {tenant}"


def why_live(status: EntryStatus, *, head: CorpusCommit | None, policy: CorpusPolicy, at: datetime | None = None) -> str:
    """One or two sentences on whether an entry is live and why.

    Args:
        head: the scope's head commit.
        policy: the corpus policy in force.
        at: the moment it is asked for; None: now.
    """
    moment, audience = at or now(), for_whom(status.entry.tenant)
    live = status.live
    if live is None or head is None:
        if status.state is EntryState.RETIRED:
            return "Not live. It was retired or taken back; nobody gets answers from it."
        return f"Not live. Version {status.current.number} is a draft by {status.current.author_name} and waits for an expert."
    since = f" since {status.live_since:%d %b %Y, %H:%M} UTC" if status.live_since else ""
    by = live.certified_by_name or live.author_name
    words = f"Live for {audience}{since}: version {live.number}, certified by {by}"
    if is_stale(live, moment) and live.review_at:
        overdue = f"; its review was due on {live.review_at:%d %b %Y}."
        used = (
            " The corpus policy keeps it out of answers until it is certified." if policy.drop_stale else " It is still used."
        )
        words += overdue + used
    else:
        words += f" until {live.review_at:%d %b %Y}." if live.review_at else "."
    if status.draft:
        words += f" Version {status.draft.number} by {status.draft.author_name} is a draft and waits for an expert."
    return words
