"""Approving and rejecting: a person's signature over what they were shown."""

from datetime import timedelta

from sqlmodel import Session, col, func, select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, IntegrityError, InvalidInput, NotAllowed, NotFound
from workbench.core.recording import AuditOutbox
from workbench.core.unit_of_work import Context
from workbench.evaluation.models import Comparison
from workbench.identity.models import Person
from workbench.identity.signatures import Signature, sign_statement
from workbench.releases.evidence import still_says
from workbench.releases.models import Release, ReleaseState
from workbench.releases.separation import require_independent
from workbench.releases.signing import APPROVED, decision_statement, manifest_holds
from workbench.releases.verify import needs_justification

_TRIES = 5
_WINDOW = timedelta(minutes=5)
_REFUSED = "releases.signature_refused"


def check_may_decide(session: Session, actor: Actor, release: Release, *, meaning: str, shown: str, reason: str) -> None:
    """Everything that must hold before a decision is signed; the permission is checked by the caller.

    Raises:
        Conflict: it is decided already, changed since it was shown, or rests on a comparison that failed.
        NotAllowed: the actor made it.
        InvalidInput: a reason is missing.
        IntegrityError: the evidence was altered since the proposal.
    """
    if release.status is not ReleaseState.PROPOSED:
        raise Conflict(f"Release {release.number} is already {release.state}.", todo="Reload the page.")
    if release.manifest_hash != shown:
        raise Conflict("What you were shown is not what is stored.", todo="Reload the page and look again.")
    require_independent(session, actor, release)
    if meaning != APPROVED:
        if not reason.strip():
            raise InvalidInput("A rejection needs a reason.", todo="Write what has to change, so that others can act on it.")
        return
    for item in release.manifest["evidence"]:
        if item["verdict"] == "FAIL":
            raise Conflict(
                f"Release {release.number} cannot be approved.",
                why="A comparison that it rests on failed, and nobody can approve past that.",
                todo="Reject it, or ask its proposer to withdraw it.",
            )
        if not still_says(session.get(Comparison, item["comparison_id"]), item):
            raise IntegrityError(
                "A comparison behind this release no longer says what it said when it was proposed.",
                todo="Reject the release, and look at the Audit page for who changed what.",
            )
    if needs_justification(release) and not reason.strip():
        raise InvalidInput(
            "This release needs your written justification.",
            why="A verdict is inconclusive, or a slot has no comparison with what is live.",
            todo="Write why it may go live all the same.",
        )


def require_unaltered(context: Context, release: Release) -> None:
    """Raises IntegrityError when the manifest is not the one that was proposed."""
    if not manifest_holds(context.settings, release):
        raise IntegrityError(
            f"The manifest of release {release.number} is not the one that was proposed.",
            todo="Reject it, and look at the Audit page for who changed what.",
        )


def sign_decision(context: Context, actor: Actor, release: Release, *, meaning: str, reason: str, password: str) -> Signature:
    """The person's signature; a wrong password is recorded, and too many of them are refused for a while.

    Raises:
        NotAllowed: the password is wrong, or was too often.
        NotFound: the person has no account or no key.
    """
    with context.database.session() as session:
        person = session.get(Person, actor.id)
        if person is None:
            raise NotFound("Your account is gone, so it cannot sign.")
        failures = session.exec(
            select(func.count())
            .select_from(AuditOutbox)
            .where(AuditOutbox.type == _REFUSED, AuditOutbox.actor_id == actor.id, col(AuditOutbox.at) > now() - _WINDOW)
        ).one()
    if failures >= _TRIES:
        raise NotAllowed(
            "Signing is locked for your account.",
            why=f"A wrong password was given {failures} times within five minutes.",
            todo="Wait five minutes. If it was not you, tell an admin now.",
        )
    statement = decision_statement(release, meaning=meaning, reason=reason)
    try:
        return sign_statement(
            context.settings,
            person_id=person.id,
            printed_name=person.name,
            password=password,
            meaning=meaning,
            statement_hash=content_hash(statement),
        )
    except NotAllowed:
        with context.unit_of_work(actor) as work:
            work.require(Permission.APPROVE_RELEASE, release.project_id)
            work.record(_REFUSED, subject=release, meaning=meaning)
        raise
