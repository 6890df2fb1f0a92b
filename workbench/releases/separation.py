"""Separation of duties: who may decide about a release, and why somebody may not."""

import re
from collections.abc import Iterable

from sqlmodel import Session, col, select

from workbench.core.actors import Actor, ActorKind
from workbench.core.errors import NotAllowed
from workbench.identity.models import Person
from workbench.releases.models import Release

_TAG = re.compile(r"\+[^@]*(?=@)")


def why_not(session: Session, actor: Actor, release: Release) -> str | None:
    """Why this actor may not decide about the release, as a sentence for them; None when they may.

    Two accounts count as one human being when their printed names or their mailboxes are the same.
    """
    if actor.kind is not ActorKind.PERSON:
        return "Only a person can sign a decision, with their own password."
    me = session.get(Person, actor.id)
    if me is None:
        return "Your account is gone, so it cannot sign."
    made = {str(maker["id"]): maker for maker in release.manifest["makers"]}
    if me.id in made:
        return f"You {made[me.id]['did']}. Whoever makes a release or its evidence does not decide about it."
    others = _people(session, made)
    for maker_id, maker in made.items():
        other = others.get(maker_id)
        same_name = _name(str(maker["name"])) == _name(me.name) or (other is not None and _name(other.name) == _name(me.name))
        if same_name or (other is not None and mailbox(other.email) == mailbox(me.email)):
            return (
                f"Your account looks like another one of {maker['name']}, who {maker['did']}: "
                "the printed name or the mailbox is the same."
            )
    return None


def require_independent(session: Session, actor: Actor, release: Release) -> None:
    """Raises NotAllowed when the actor made the release, its evidence, or is somebody who did under another account."""
    reason = why_not(session, actor, release)
    if reason is not None:
        raise NotAllowed(
            f"{actor.name} may not decide about release {release.number}.", why=reason, todo="Ask another reviewer."
        )


def mailbox(email: str) -> str:
    """An address without what merely decorates it: `Ann+test@bank.example` and `ann@bank.example` are one mailbox."""
    return _TAG.sub("", email.strip().casefold())


def _name(name: str) -> str:
    return " ".join(name.casefold().split())


def _people(session: Session, ids: Iterable[str]) -> dict[str, Person]:
    return {person.id: person for person in session.exec(select(Person).where(col(Person.id).in_(list(ids))))}
