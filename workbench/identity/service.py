"""Commands over people, sessions, roles, projects and keys."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from ipaddress import ip_address

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlmodel import Session, col, select

from workbench.core.actors import Actor, ActorKind, Grant, Permission, Role, process_actor
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, NotSignedIn
from workbench.core.unit_of_work import Service
from workbench.identity.models import ApiKey, Person, Project, RoleGrant, WebSession
from workbench.identity.policy import SCOPE_PERMISSIONS
from workbench.identity.signatures import make_person_key

_HASHER = PasswordHasher()
_MAX_FAILURES = 5
_LOCK = timedelta(minutes=5)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
_PROJECT_KEY = re.compile(r"[a-z0-9][a-z0-9-]{1,40}")
MINIMUM_PASSWORD = 10


@dataclass(frozen=True)
class SignedIn:
    """A new session: the token goes into the browser's cookie and is stored nowhere else."""

    token: str
    person_id: str
    seconds: int


class IdentityService(Service):
    """People, sessions, roles, projects and API keys."""

    def add_project(
        self,
        actor: Actor,
        *,
        key: str,
        name: str,
        description: str = "",
        languages: list[str] | None = None,
        teams: list[dict[str, str]] | None = None,
        is_demo: bool = False,
    ) -> Project:
        """Create a project.

        Raises:
            InvalidInput: the key is not lower-case letters, digits and dashes.
            Conflict: the key is taken.
        """
        if not _PROJECT_KEY.fullmatch(key):
            raise InvalidInput(f"{key!r} is no project key.", todo="Use 2 to 41 lower-case letters, digits and dashes.")
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PROJECTS)
            if work.session.exec(select(Project).where(Project.key == key)).first():
                raise Conflict(f"There is a project {key!r} already.")
            project = Project(
                key=key, name=name.strip() or key, description=description, languages=languages or [], teams=teams or [],
                is_demo=is_demo,
            )  # fmt: skip
            work.add(project)
            work.record("identity.project_added", subject=project, project_id=project.id, key=key, name=name)
            return project

    def add_person(self, actor: Actor, *, email: str, name: str, password: str, is_demo: bool = False) -> Person:
        """Create an account with a password and a signing key.

        Raises:
            InvalidInput: no e-mail address, no name, or a short password.
            Conflict: the address has an account.
        """
        email = email.strip().lower()
        if not _EMAIL.fullmatch(email):
            raise InvalidInput(f"{email!r} is no e-mail address.")
        if not name.strip():
            raise InvalidInput("A person needs a name, since it is printed beside their signatures.")
        _check_password(password)
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PEOPLE)
            if work.session.exec(select(Person).where(Person.email == email)).first():
                raise Conflict(f"{email} has an account already.", todo="Grant roles to it instead.")
            person = Person(email=email, name=name.strip(), password_hash=_HASHER.hash(password), is_demo=is_demo)
            work.add(person)
            key_id = make_person_key(self.context.settings, person.id, password)
            work.record("identity.person_added", subject=person, email=email, signing_key=key_id)
            return person

    def set_password(self, actor: Actor, person_id: str, password: str) -> None:
        """Set a password; makes a new signing key and ends the person's sessions. People may set their own."""
        _check_password(password)
        with self.unit_of_work(actor) as work:
            if actor.id != person_id:
                work.require(Permission.MANAGE_PEOPLE)
            person = work.get(Person, person_id, lock=True)
            person.password_hash = _HASHER.hash(password)
            person.failed_sign_ins, person.locked_until = 0, None
            work.add(person)
            for session in work.session.exec(
                select(WebSession).where(WebSession.person_id == person_id, col(WebSession.ended_at).is_(None))
            ):
                session.ended_at = now()
                work.session.add(session)
            key_id = make_person_key(self.context.settings, person.id, password)
            work.record("identity.password_set", subject=person, signing_key=key_id)

    def grant(self, actor: Actor, person_id: str, role: Role, project_id: str | None) -> None:
        """Give a role in a project, or with None in every project. Granting twice changes nothing."""
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PEOPLE, project_id)
            person = work.get(Person, person_id)
            if project_id is not None:
                work.get(Project, project_id)
            if _find_grant(work.session, person_id, role, project_id):
                return
            work.add(RoleGrant(person_id=person_id, role=role.value, project_id=project_id))
            work.record("identity.role_granted", subject=person, project_id=project_id, role=role.value)

    def revoke(self, actor: Actor, person_id: str, role: Role, project_id: str | None) -> None:
        """Take a role away.

        Raises:
            NotFound: the person does not hold it.
            Conflict: it is the last admin's.
        """
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PEOPLE, project_id)
            found = _find_grant(work.session, person_id, role, project_id)
            if found is None:
                raise NotFound("The person does not hold that role there.")
            if role is Role.ADMIN and project_id is None:
                admins = work.session.exec(
                    select(RoleGrant).where(RoleGrant.role == Role.ADMIN, col(RoleGrant.project_id).is_(None))
                ).all()
                if len(admins) == 1:
                    raise Conflict("This is the last admin.", todo="Make somebody else an admin first.")
            work.session.delete(found)
            work.record("identity.role_revoked", subject=("person", person_id), project_id=project_id, role=role.value)

    def set_active(self, actor: Actor, person_id: str, active: bool, *, reason: str) -> None:
        """Suspend or restore an account. Suspension ends the person's sessions at once."""
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_PEOPLE)
            person = work.get(Person, person_id, lock=True)
            if person.id == actor.id and not active:
                raise Conflict("You cannot suspend yourself.", todo="Ask another admin.")
            person.active = active
            work.add(person)
            kind = "identity.person_restored" if active else "identity.person_suspended"
            work.record(kind, subject=person, reason=reason)

    def sign_in(self, email: str, password: str, *, client_host: str | None) -> SignedIn:
        """Check a password and open a session.

        Raises:
            NotSignedIn: unknown address, wrong password, suspended or locked account. The message does not say which of
                the first two it was.
            NotAllowed: a demo account from another machine.
        """
        email = email.strip().lower()
        refusal: NotSignedIn | None = None
        with self.unit_of_work(process_actor("sign-in")) as work:
            person = work.session.exec(select(Person).where(Person.email == email).with_for_update()).first()
            if person is None or person.password_hash is None:
                _matches(_decoy_hash(), password)  # equal time whether or not the account exists
                raise NotSignedIn("E-mail address or password is wrong.")
            if person.locked_until is not None and person.locked_until > now():
                raise NotSignedIn(
                    "This account is locked for a few minutes.",
                    why=f"A wrong password was given {_MAX_FAILURES} times.",
                    todo="Wait five minutes, or ask an admin.",
                )
            if not person.active:
                raise NotSignedIn("This account is suspended.", todo="Ask an admin.")
            if person.is_demo and not _is_loopback(client_host):
                raise NotAllowed("Demo accounts work on this machine only.", todo="Use an account of your own.")
            if not _matches(person.password_hash, password):
                person.failed_sign_ins += 1
                if person.failed_sign_ins >= _MAX_FAILURES:
                    person.failed_sign_ins = 0
                    person.locked_until = now() + _LOCK
                    work.record("identity.account_locked", subject=person)
                work.add(person)
                refusal = NotSignedIn("E-mail address or password is wrong.")
            else:
                person.failed_sign_ins, person.locked_until = 0, None
                work.add(person)
                token = secrets.token_urlsafe(32)
                lifetime = timedelta(hours=self.context.settings.session_hours)
                session = WebSession(token_hash=_token_hash(token), person_id=person.id, expires_at=now() + lifetime)
                work.add(session)
                work.actor = Actor(id=person.id, name=person.name, kind=ActorKind.PERSON)
                work.record("identity.signed_in", subject=session)
        if refusal is not None:  # raised outside, so that the failed try stays counted
            raise refusal
        return SignedIn(token, person.id, int(lifetime.total_seconds()))

    def sign_out(self, token: str) -> None:
        """End the session of this token, if it is open."""
        with self.unit_of_work(process_actor("sign-out")) as work:
            session = work.session.exec(select(WebSession).where(WebSession.token_hash == _token_hash(token))).first()
            if session is not None and session.ended_at is None:
                session.ended_at = now()
                work.add(session)
                person = work.get(Person, session.person_id)
                work.actor = Actor(id=person.id, name=person.name, kind=ActorKind.PERSON)
                work.record("identity.signed_out", subject=session)

    def create_key(self, actor: Actor, *, project_id: str, name: str, scopes: list[str]) -> tuple[ApiKey, str]:
        """Make an API key; the second value is the key itself, shown once.

        Raises:
            InvalidInput: no name, no scope, or an unknown scope.
        """
        unknown = sorted(set(scopes) - SCOPE_PERMISSIONS.keys())
        if unknown or not scopes:
            raise InvalidInput(
                f"Unknown scope {', '.join(unknown)}." if unknown else "A key needs at least one scope.",
                todo="Scopes are " + ", ".join(SCOPE_PERMISSIONS) + ".",
            )
        if not name.strip():
            raise InvalidInput("A key needs a name that says who uses it.")
        with self.unit_of_work(actor) as work:
            work.require(Permission.MANAGE_KEYS, project_id)
            secret = "wb_" + secrets.token_urlsafe(30)
            key = ApiKey(
                project_id=project_id, name=name.strip(), prefix=secret[:9], key_hash=_token_hash(secret),
                scopes=sorted(set(scopes)), created_by=actor.id,
            )  # fmt: skip
            work.add(key)
            work.record("identity.key_created", subject=key, name=key.name, scopes=key.scopes, prefix=key.prefix)
            return key, secret

    def revoke_key(self, actor: Actor, key_id: str, *, reason: str = "") -> None:
        """End a key at once. Revoking twice changes nothing."""
        with self.unit_of_work(actor) as work:
            key = work.get(ApiKey, key_id, lock=True)
            work.require(Permission.MANAGE_KEYS, key.project_id)
            if key.revoked_at is None:
                key.revoked_at = now()
                work.add(key)
                work.record("identity.key_revoked", subject=key, reason=reason, prefix=key.prefix)


def actor_of_session(session: Session, token: str | None) -> Actor:
    """The person behind a session token.

    Raises:
        NotSignedIn: no token, or its session is over.
    """
    if not token:
        raise NotSignedIn("You are not signed in.")
    row = session.exec(select(WebSession).where(WebSession.token_hash == _token_hash(token))).first()
    if row is None or row.ended_at is not None or row.expires_at <= now():
        raise NotSignedIn("Your session has ended.", todo="Sign in again.")
    return actor_of_person(session, row.person_id)


def actor_of_person(session: Session, person_id: str) -> Actor:
    """A person with the roles they hold now.

    Raises:
        NotSignedIn: the account is suspended or gone.
    """
    person = session.get(Person, person_id)
    if person is None or not person.active:
        raise NotSignedIn("This account is suspended.", todo="Ask an admin.")
    grants = session.exec(select(RoleGrant).where(RoleGrant.person_id == person_id)).all()
    return Actor(
        id=person.id,
        name=person.name,
        kind=ActorKind.PERSON,
        grants=frozenset(Grant(Role(g.role), g.project_id) for g in grants),
    )


def actor_of_key(session: Session, secret: str | None) -> Actor:
    """The API key as an actor, bound to its project.

    Raises:
        NotSignedIn: no key, an unknown one, or a revoked one.
    """
    if not secret:
        raise NotSignedIn("An API key is needed.", todo="Send it as `Authorization: Bearer wb_…`.")
    key = session.exec(select(ApiKey).where(ApiKey.key_hash == _token_hash(secret))).first()
    if key is None or key.revoked_at is not None:
        raise NotSignedIn("The API key is unknown or revoked.", todo="Create a new one with `workbench keys create`.")
    permissions = frozenset[Permission]().union(*(SCOPE_PERMISSIONS[scope] for scope in key.scopes))
    return Actor(
        id=f"key:{key.id}", name=f"key {key.name}", kind=ActorKind.KEY, permissions=permissions, project_id=key.project_id
    )


def local_administrator() -> Actor:
    """The person at the shell of the machine: who can read the home can do everything in it."""
    return Actor(id="service:command-line", name="command line", kind=ActorKind.SERVICE, permissions=frozenset(Permission))


def _find_grant(session: Session, person_id: str, role: Role, project_id: str | None) -> RoleGrant | None:
    scope = col(RoleGrant.project_id).is_(None) if project_id is None else col(RoleGrant.project_id) == project_id
    return session.exec(select(RoleGrant).where(RoleGrant.person_id == person_id, RoleGrant.role == role.value, scope)).first()


def _check_password(password: str) -> None:
    if len(password) < MINIMUM_PASSWORD:
        raise InvalidInput(f"The password is too short; it needs {MINIMUM_PASSWORD} characters or more.")
    if len(password) > 1000:
        raise InvalidInput("The password is too long; at most 1000 characters.")


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _decoy_hash() -> str:
    return _HASHER.hash(secrets.token_urlsafe(16))


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
