"""Nobody decides about their own work, under whichever account."""

from dataclasses import replace

import pytest

from tests.releases.factories import PASSWORD, Bank
from workbench.core.actors import Actor, Role
from workbench.core.errors import NotAllowed
from workbench.identity.service import local_administrator
from workbench.releases.models import Release
from workbench.releases.separation import mailbox, why_not

EVERYTHING = (Role.ENGINEER, Role.REVIEWER, Role.OPERATOR)


def _refused(bank: Bank, release: Release, actor: Actor) -> str:
    """Approving and rejecting are both refused, for the same reason; returns it."""
    with pytest.raises(NotAllowed) as approving:
        bank.approve(release, by=actor, justification="x")
    with pytest.raises(NotAllowed) as rejecting:
        bank.services.releases.reject(actor, release.id, password=PASSWORD, shown=release.manifest_hash, reason="x")
    assert approving.value.why == rejecting.value.why
    return approving.value.why


def test_the_proposer_does_not_decide(bank: Bank) -> None:
    both = bank.person("Bo Both", *EVERYTHING)
    release = bank.propose(bank.configuration(), by=both)
    assert "You proposed this release" in _refused(bank, release, both)


def test_whoever_launched_the_fine_tune_does_not_decide(bank: Bank) -> None:
    both = bank.person("Bo Both", *EVERYTHING)
    release = bank.propose(bank.configuration(triage_adapter=bank.add_adapter("triage", by=both)))
    assert "launched the fine-tune" in _refused(bank, release, both)


def test_whoever_launched_the_comparison_does_not_decide(bank: Bank) -> None:
    both = bank.person("Bo Both", *EVERYTHING)
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    bank.add_comparison(candidate, bank.live(), by=both)
    release = bank.propose(candidate)
    assert "launched the triage comparison" in _refused(bank, release, both)


def test_whoever_launched_a_comparison_that_was_not_named_does_not_decide_either(bank: Bank) -> None:
    both = bank.person("Bo Both", *EVERYTHING)
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    golden = bank.add_golden("triage")
    bank.add_comparison(candidate, bank.live(), by=both, golden=golden)
    named = bank.add_comparison(candidate, bank.live(), golden=golden)
    release = bank.propose(candidate, comparison_ids=[named.id])
    assert "launched" in _refused(bank, release, both)


def test_an_unchanged_adapter_binds_nobody(bank: Bank) -> None:
    both = bank.person("Bo Both", *EVERYTHING)
    bank.release_first(triage_adapter=bank.add_adapter("triage", by=both))
    release = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Other.")), despite="x")
    bank.approve(release, by=both, justification="I made the old adapter, nothing of this.")


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("erin  ENGINEER", "other@bank.example"),
        ("Somebody Else", "Erin@bank.example"),
        ("Somebody Else", "erin+review@bank.example"),
    ],
)
def test_a_second_account_of_the_proposer_does_not_decide(bank: Bank, name: str, email: str) -> None:
    proposer = bank.person("Erin Engineer", Role.ENGINEER, email="erin@bank.example")
    second = bank.person(name, Role.REVIEWER, email=email)
    release = bank.propose(bank.configuration(), by=proposer)
    assert "looks like another one" in _refused(bank, release, second)


def test_a_second_account_of_whoever_launched_a_job_does_not_decide(bank: Bank) -> None:
    second = bank.person("Lou Launcher", Role.REVIEWER)
    release = bank.propose(bank.configuration(triage_adapter=bank.add_adapter("triage")))
    assert "looks like another one" in _refused(bank, release, second)


def test_only_a_reviewer_decides(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    for role in set(Role) - {Role.REVIEWER}:
        other = bank.person(f"Ola {role}", role)
        with pytest.raises(NotAllowed, match="It takes the role reviewer"):
            bank.approve(release, by=other)


def test_a_process_or_key_cannot_sign_a_decision(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    assert "Only a person" in _refused(bank, release, local_administrator())


def test_a_reviewer_of_another_project_does_not_decide(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    stranger = bank.person("Sam Stranger")
    with pytest.raises(NotAllowed):
        bank.approve(release, by=stranger)


def test_only_an_operator_promotes(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.approve(release)
    for actor in (bank.engineer, bank.reviewer, bank.launcher):
        with pytest.raises(NotAllowed, match="It takes the role operator"):
            bank.promote(release, by=actor)
    bank.promote(release)


def test_only_an_engineer_proposes(bank: Bank) -> None:
    for actor in (bank.reviewer, bank.operator):
        with pytest.raises(NotAllowed, match="It takes the role engineer"):
            bank.propose(bank.configuration(), by=actor)


def test_an_independent_reviewer_is_told_nothing_stands_against_it(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    with bank.services.context.database.session() as session:
        assert why_not(session, bank.reviewer, release) is None


def test_a_mailbox_is_the_same_whatever_its_decoration() -> None:
    assert mailbox(" Ann+x+y@Bank.example") == mailbox("ann@bank.example")
    assert mailbox("ann@bank.example") != mailbox("anna@bank.example")
