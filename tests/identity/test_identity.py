import dataclasses
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from workbench.bootstrap import Services
from workbench.core.actors import Actor, ActorKind, Grant, Permission, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotSignedIn
from workbench.core.settings import Settings
from workbench.identity import signatures
from workbench.identity.models import Person, Project, WebSession
from workbench.identity.policy import ROLE_PERMISSIONS, allowed
from workbench.identity.service import actor_of_key, actor_of_session, local_administrator

ME = local_administrator()
PASSWORD = "correct horse battery"


def person(services: Services, email: str = "eve@example.org", *, is_demo: bool = False) -> Person:
    return services.identity.add_person(ME, email=email, name="Eve", password=PASSWORD, is_demo=is_demo)


def signed_in(services: Services, token: str) -> Actor:
    with services.context.database.session() as session:
        return actor_of_session(session, token)


def test_a_signed_in_person_acts_with_the_roles_of_this_moment(services: Services, project: Project) -> None:
    eve = person(services)
    opened = services.identity.sign_in("Eve@Example.org ", PASSWORD, client_host="10.0.0.9")
    assert not allowed(signed_in(services, opened.token), Permission.ANNOTATE, project.id)
    services.identity.grant(ME, eve.id, Role.ANNOTATOR, project.id)
    assert allowed(signed_in(services, opened.token), Permission.ANNOTATE, project.id)
    services.identity.revoke(ME, eve.id, Role.ANNOTATOR, project.id)
    assert not allowed(signed_in(services, opened.token), Permission.ANNOTATE, project.id)


def test_the_stored_session_does_not_contain_the_token(services: Services) -> None:
    person(services)
    opened = services.identity.sign_in("eve@example.org", PASSWORD, client_host=None)
    with services.context.database.session() as session:
        row = session.exec(select(WebSession)).one()
    assert opened.token not in row.model_dump_json()


def test_after_signing_out_the_token_opens_nothing(services: Services) -> None:
    person(services)
    opened = services.identity.sign_in("eve@example.org", PASSWORD, client_host=None)
    services.identity.sign_out(opened.token)
    with pytest.raises(NotSignedIn, match="session has ended"):
        signed_in(services, opened.token)


def test_a_session_ends_at_its_time(services: Services) -> None:
    person(services)
    opened = services.identity.sign_in("eve@example.org", PASSWORD, client_host=None)
    with services.context.unit_of_work(ME) as work:
        row = work.session.exec(select(WebSession)).one()
        row.expires_at = now() - timedelta(seconds=1)
        work.add(row)
    with pytest.raises(NotSignedIn):
        signed_in(services, opened.token)


def test_unknown_address_and_wrong_password_are_told_alike(services: Services) -> None:
    person(services)
    messages = set()
    for email, password in [("nobody@example.org", PASSWORD), ("eve@example.org", "wrong password")]:
        with pytest.raises(NotSignedIn) as caught:
            services.identity.sign_in(email, password, client_host=None)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_five_wrong_passwords_lock_the_account_even_for_the_right_one(services: Services) -> None:
    person(services)
    for _ in range(5):
        with pytest.raises(NotSignedIn):
            services.identity.sign_in("eve@example.org", "wrong password", client_host=None)
    with pytest.raises(NotSignedIn, match="locked"):
        services.identity.sign_in("eve@example.org", PASSWORD, client_host=None)


@pytest.mark.parametrize("host", ["10.1.2.3", "192.168.0.1", "8.8.8.8", "::2", None, "evil"])
def test_a_demo_account_refuses_another_machine(services: Services, host: str | None) -> None:
    person(services, is_demo=True)
    with pytest.raises(NotAllowed, match="this machine only"):
        services.identity.sign_in("eve@example.org", PASSWORD, client_host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_demo_account_works_on_this_machine(services: Services, host: str) -> None:
    person(services, is_demo=True)
    assert services.identity.sign_in("eve@example.org", PASSWORD, client_host=host).token


def test_suspending_a_person_ends_their_open_session(services: Services) -> None:
    eve = person(services)
    opened = services.identity.sign_in("eve@example.org", PASSWORD, client_host=None)
    services.identity.set_active(ME, eve.id, False, reason="left")
    with pytest.raises(NotSignedIn, match="suspended"):
        signed_in(services, opened.token)


def test_the_last_admin_cannot_be_revoked(services: Services) -> None:
    eve = person(services)
    services.identity.grant(ME, eve.id, Role.ADMIN, None)
    with pytest.raises(Conflict, match="last admin"):
        services.identity.revoke(ME, eve.id, Role.ADMIN, None)


@pytest.mark.parametrize(
    ("email", "name", "password"),
    [("no-at", "Eve", PASSWORD), ("", "Eve", PASSWORD), ("a@b", " ", PASSWORD), ("a@b", "Eve", "short")],
)
def test_an_account_that_could_not_work_is_refused(services: Services, email: str, name: str, password: str) -> None:
    with pytest.raises(InvalidInput):
        services.identity.add_person(ME, email=email, name=name, password=password)


def test_a_key_acts_in_its_project_with_its_scopes_until_revoked(services: Services, project: Project) -> None:
    key, secret = services.identity.create_key(ME, project_id=project.id, name="app", scopes=["ingest"])
    with services.context.database.session() as session:
        actor = actor_of_key(session, secret)
    assert allowed(actor, Permission.INGEST_TRACES, project.id)
    assert not allowed(actor, Permission.INGEST_TRACES, "another-project")
    assert not allowed(actor, Permission.USE_GATEWAY, project.id)
    services.identity.revoke_key(ME, key.id)
    with services.context.database.session() as session, pytest.raises(NotSignedIn, match="revoked"):
        actor_of_key(session, secret)


@given(st.sets(st.sampled_from(list(Role))), st.sampled_from(list(Permission)))
def test_a_person_may_do_exactly_what_one_of_their_roles_may(roles: set[Role], permission: Permission) -> None:
    actor = Actor("p", "P", ActorKind.PERSON, frozenset(Grant(role, "here") for role in roles))
    assert allowed(actor, permission, "here") == any(permission in ROLE_PERMISSIONS[role] for role in roles)
    assert not allowed(actor, permission, "elsewhere")


def test_the_auditor_changes_nothing() -> None:
    assert {p.value.split(".")[-1] for p in ROLE_PERMISSIONS[Role.AUDITOR]} == {"read"}


def sign(settings: Settings, who: str, password: str = PASSWORD) -> signatures.Signature:
    return signatures.sign_statement(
        settings, person_id=who, printed_name="Eve", password=password, meaning="approved", statement_hash="sha256:00"
    )


def test_a_signature_holds_and_no_field_of_it_can_be_changed(settings: Settings) -> None:
    signatures.make_person_key(settings, "p1", PASSWORD)
    made = sign(settings, "p1")
    assert signatures.verify_signature(settings, made)
    for field in dataclasses.fields(made):
        changed = dataclasses.replace(made, **{field.name: "p2" if field.name == "person_id" else "AAAA"})
        assert not signatures.verify_signature(settings, changed), field.name


def test_nobody_signs_with_another_password(settings: Settings) -> None:
    signatures.make_person_key(settings, "p1", PASSWORD)
    with pytest.raises(NotAllowed, match="nothing was signed"):
        sign(settings, "p1", "another password")


def test_older_signatures_hold_after_a_new_password(settings: Settings) -> None:
    signatures.make_person_key(settings, "p1", PASSWORD)
    older = sign(settings, "p1")
    time.sleep(0.002)
    signatures.make_person_key(settings, "p1", "a new password")
    assert signatures.verify_signature(settings, older)
    assert signatures.verify_signature(settings, sign(settings, "p1", "a new password"))
