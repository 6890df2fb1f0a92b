"""Propose, approve, promote, roll back: the ways that work, and the plain refusals on them."""

from dataclasses import replace

import pytest
from sqlmodel import select

from tests.releases.factories import PASSWORD, Bank
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from workbench.core.recording import AuditOutbox
from workbench.releases.models import ReleaseState
from workbench.releases.proposing import NO_INCUMBENT
from workbench.releases.verify import live


def test_nothing_is_live_before_the_first_promotion(bank: Bank) -> None:
    with pytest.raises(Unavailable, match="Nothing is released yet"):
        bank.live()
    release = bank.propose(bank.configuration())
    bank.approve(release)
    with pytest.raises(Unavailable):
        bank.live()


def test_the_first_release_says_that_there_was_no_incumbent(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    assert release.manifest["parent"] is None
    assert set(release.manifest["unproven"].values()) == {NO_INCUMBENT}


def test_a_promoted_release_is_live_with_its_components(bank: Bank) -> None:
    triage = bank.add_adapter("triage")
    release = bank.release_first(triage_adapter=triage)
    found = live(bank.services.context, bank.project.id)
    assert found.release.id == release.id
    assert found.configuration == replace(
        bank.configuration(triage_adapter=triage), release_id=release.id, manifest_hash=release.manifest_hash
    )
    assert [approval.person_name for approval in found.approvals] == ["Rae Reviewer"]


def test_evidence_against_what_is_live_proves_its_slots(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    comparison = bank.add_comparison(candidate, bank.live())
    release = bank.propose(candidate, comparison_ids=[comparison.id])
    assert release.manifest["changed"] == ["triage_adapter"]
    assert release.manifest["unproven"] == {}
    assert [item["verdict"] for item in release.manifest["evidence"]] == ["PASS"]
    bank.approve(release)
    bank.promote(release)
    assert bank.live().triage_adapter == candidate.triage_adapter


def test_a_changed_slot_without_evidence_needs_a_reason(bank: Bank) -> None:
    bank.release_first()
    candidate = replace(bank.live(), prompt_version=bank.add_prompt("Answer briefly."))
    with pytest.raises(InvalidInput, match="prompt version"):
        bank.propose(candidate)
    release = bank.propose(candidate, despite="Only a typing error was mended.")
    assert release.manifest["unproven"] == {"prompt_version": "Only a typing error was mended."}
    with pytest.raises(InvalidInput, match="justification"):
        bank.approve(release)
    bank.approve(release, justification="Read both texts; only the spelling differs.")


def test_a_comparison_with_another_incumbent_proves_nothing(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    easy = bank.add_comparison(candidate, replace(bank.live(), triage_adapter=None))
    with pytest.raises(InvalidInput, match="triage adapter"):
        bank.propose(candidate, comparison_ids=[easy.id])


def test_a_comparison_of_another_candidate_is_no_evidence(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    other = bank.add_comparison(replace(candidate, triage_adapter=bank.add_adapter("triage")), bank.live())
    with pytest.raises(InvalidInput, match="something else"):
        bank.propose(candidate, comparison_ids=[other.id])


def test_a_comparison_without_a_verdict_is_no_evidence(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    running = bank.add_comparison(candidate, bank.live(), verdict=None)
    with pytest.raises(Conflict, match="no verdict"):
        bank.propose(candidate, comparison_ids=[running.id])


def test_a_failed_comparison_can_be_proposed_with_a_reason_but_never_approved(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    failed = bank.add_comparison(candidate, bank.live(), verdict="FAIL")
    with pytest.raises(InvalidInput, match="FAIL"):
        bank.propose(candidate, comparison_ids=[failed.id])
    release = bank.propose(candidate, comparison_ids=[failed.id], despite="To discuss it.")
    with pytest.raises(Conflict, match="cannot be approved"):
        bank.approve(release, justification="I insist.")
    bank.services.releases.reject(
        bank.reviewer, release.id, password=PASSWORD, shown=release.manifest_hash, reason="It failed."
    )


def test_a_failed_comparison_cannot_be_left_out(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    golden = bank.add_golden("triage")
    failed = bank.add_comparison(candidate, bank.live(), verdict="FAIL", golden=golden)
    passed = bank.add_comparison(candidate, bank.live(), verdict="PASS", golden=golden)
    release = bank.propose(candidate, comparison_ids=[passed.id], despite="It passed the second time.")
    assert {item["comparison_id"] for item in release.manifest["evidence"]} == {failed.id, passed.id}
    with pytest.raises(Conflict, match="cannot be approved"):
        bank.approve(release, justification="Second time lucky.")


def test_a_failure_on_an_older_golden_set_does_not_count_against_the_newer(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    bank.add_comparison(candidate, bank.live(), verdict="FAIL", golden=bank.add_golden("triage", name="teams", number=1))
    passed = bank.add_comparison(candidate, bank.live(), golden=bank.add_golden("triage", name="teams", number=2))
    release = bank.propose(candidate)
    assert [item["comparison_id"] for item in release.manifest["evidence"]] == [passed.id]


def test_an_inconclusive_verdict_needs_the_approvers_words(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    bank.add_comparison(candidate, bank.live(), verdict="INCONCLUSIVE")
    release = bank.propose(candidate, despite="Too few cases in Spanish.")
    with pytest.raises(InvalidInput, match="justification"):
        bank.approve(release, justification="  ")
    approval = bank.approve(release, justification="The harm is small and can be taken back.").approval
    assert approval.reason == "The harm is small and can be taken back."
    assert approval.statement["reason"] == approval.reason


def test_proposing_what_is_live_is_refused(bank: Bank) -> None:
    bank.release_first()
    with pytest.raises(InvalidInput, match="live already"):
        bank.propose(bank.live())


def test_proposing_twice_makes_one_release(bank: Bank) -> None:
    first = bank.propose(bank.configuration(), command_id="click")
    assert bank.propose(bank.configuration(), command_id="click").id == first.id
    assert bank.propose(bank.configuration()).id == first.id
    assert first.number == 1


def test_components_have_to_exist_and_fit(bank: Bank) -> None:
    with pytest.raises(NotFound):
        bank.propose(bank.configuration(prompt_version="sha256:" + "0" * 64))
    with pytest.raises(NotFound, match="adapter"):
        bank.propose(bank.configuration(triage_adapter="sha256:" + "0" * 64))
    with pytest.raises(InvalidInput, match="slot"):
        bank.propose(bank.configuration(triage_adapter=bank.add_adapter("generator")))
    with pytest.raises(InvalidInput, match="another base model"):
        bank.propose(bank.configuration(generator_adapter=bank.add_adapter("generator", base="sha256:" + "1" * 64)))


def test_a_rejection_needs_a_reason_and_ends_the_release(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    reject = bank.services.releases.reject
    with pytest.raises(InvalidInput):
        reject(bank.reviewer, release.id, password=PASSWORD, shown=release.manifest_hash, reason=" ")
    decision = reject(bank.reviewer, release.id, password=PASSWORD, shown=release.manifest_hash, reason="Too risky.")
    assert decision.release.status is ReleaseState.REJECTED
    with pytest.raises(Conflict):
        bank.approve(release)
    with pytest.raises(Conflict):
        bank.promote(release)


def test_a_wrong_password_signs_nothing_is_recorded_and_locks_after_five(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    for _ in range(5):
        with pytest.raises(NotAllowed, match="not your password"):
            bank.approve(release, password="wrong password")
    with pytest.raises(NotAllowed, match="locked"):
        bank.approve(release)
    with bank.services.context.database.session() as session:
        refused = session.exec(select(AuditOutbox).where(AuditOutbox.type == "releases.signature_refused")).all()
        assert len(refused) == 5
    other = bank.person("Rio Reviewer", *[grant.role for grant in bank.reviewer.grants])
    bank.approve(release, by=other)


def test_what_was_not_shown_cannot_be_approved(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    with pytest.raises(Conflict, match="shown"):
        bank.approve(release, shown="sha256:" + "0" * 64)


def test_a_double_click_on_approve_signs_once(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    first = bank.approve(release, command_id="click")
    assert bank.approve(release, command_id="click").approval.id == first.approval.id
    with pytest.raises(Conflict, match="already approved"):
        bank.approve(release)


def test_without_the_ledger_nothing_is_promoted(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    decision = bank.services.releases.approve(bank.reviewer, release.id, password=PASSWORD, shown=release.manifest_hash)
    assert decision.sealed_seq is None
    with pytest.raises(Unavailable, match="did not seal"):
        bank.promote(release)
    with pytest.raises(Unavailable, match="Nothing is released"):
        bank.live()
    bank.seal()
    bank.promote(release)
    assert bank.live().release_id == release.id


def test_an_approval_that_the_outbox_has_forgotten_is_found_in_the_ledger(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    approval = bank.approve(release).approval
    bank.edit("DELETE FROM audit_outbox WHERE id = :id", id=approval.event_id)
    with pytest.raises(NotFound):
        bank.promote(release)
    segments = bank.services.context.settings.home / "ledger" / "segments"
    segments.mkdir(parents=True)
    (segments / "open.jsonl").write_text('{"event_id":"%s","seq":1}\n' % approval.event_id)  # noqa: UP031
    bank.promote(release)


def test_a_release_over_another_incumbent_is_not_promoted(bank: Bank) -> None:
    bank.release_first()
    one = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("One.")), despite="x")
    two = bank.propose(replace(bank.live(), triage_adapter=bank.add_adapter("triage")), despite="x")
    for release in (one, two):
        bank.approve(release, justification="x")
    bank.promote(one)
    with pytest.raises(Conflict, match="another release than what is live"):
        bank.promote(two)


def test_a_rollback_brings_the_previous_release_back_at_once(bank: Bank) -> None:
    first = bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    moved = bank.rollback()
    assert moved.release_name == first.title
    assert bank.live().release_id == first.id


def test_rolling_back_twice_goes_back_twice(bank: Bank) -> None:
    first = bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.release_next(prompt_version=bank.add_prompt("Third."))
    bank.rollback()
    bank.rollback()
    assert bank.live().release_id == first.id
    with pytest.raises(Conflict, match="no earlier release"):
        bank.rollback()


def test_a_double_click_on_rollback_goes_back_once(bank: Bank) -> None:
    bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.release_next(prompt_version=bank.add_prompt("Third."))
    first_click = bank.rollback(command_id="click", expected_move=3)
    assert bank.rollback(command_id="click", expected_move=3).move.id == first_click.move.id
    with pytest.raises(Conflict, match="has moved"):
        bank.rollback(command_id="another tab", expected_move=3)
    assert bank.live().release_id == second.id


def test_a_rollback_to_a_named_release_and_forward_again(bank: Bank) -> None:
    first = bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    third = bank.release_next(prompt_version=bank.add_prompt("Third."))
    bank.rollback(to=first.id)
    assert bank.live().release_id == first.id
    bank.rollback(to=third.id)
    assert bank.live().release_id == third.id
    with pytest.raises(Conflict, match="live already"):
        bank.rollback(to=third.id)


def test_what_was_never_live_cannot_be_rolled_back_to(bank: Bank) -> None:
    bank.release_first()
    proposed = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Second.")), despite="x")
    bank.approve(proposed, justification="x")
    with pytest.raises(Conflict, match="never live"):
        bank.rollback(to=proposed.id)


def test_a_rollback_needs_a_reason_and_the_role(bank: Bank) -> None:
    bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    with pytest.raises(InvalidInput):
        bank.rollback(reason=" ")
    with pytest.raises(NotAllowed):
        bank.rollback(by=bank.reviewer)
    with pytest.raises(NotAllowed):
        bank.rollback(by=bank.engineer)


def test_a_withdrawn_release_is_passed_over_by_a_rollback(bank: Bank) -> None:
    first = bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.release_next(prompt_version=bank.add_prompt("Third."))
    bank.services.releases.withdraw(bank.engineer, second.id, reason="It states a wrong fee.")
    assert bank.rollback().release.id == first.id


def test_what_is_live_cannot_be_withdrawn(bank: Bank) -> None:
    release = bank.release_first()
    with pytest.raises(Conflict, match="Roll back first"):
        bank.services.releases.withdraw(bank.engineer, release.id, reason="Oops.")


def test_only_its_proposer_or_a_reviewer_withdraws(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    for actor in (bank.launcher, bank.operator):
        with pytest.raises(NotAllowed):
            bank.services.releases.withdraw(actor, release.id, reason="No.")
    bank.services.releases.withdraw(bank.reviewer, release.id, reason="No longer needed.")


def test_every_step_leaves_an_event(bank: Bank) -> None:
    bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.rollback()
    with bank.services.context.database.session() as session:
        types = session.exec(select(AuditOutbox.type).order_by(AuditOutbox.id)).all()  # type: ignore[arg-type]
    steps = ["proposed", "approved", "promoted", "proposed", "approved", "promoted", "rolled_back"]
    assert [kind for kind in types if kind.startswith("releases.")] == [f"releases.{step}" for step in steps]


def test_channels_are_apart(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.approve(release)
    bank.promote(release, channel="staging")
    assert bank.live("staging").release_id == release.id
    with pytest.raises(Unavailable):
        bank.live()
