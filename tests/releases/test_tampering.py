"""Whoever can write the database moves nothing live."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.releases.factories import Bank
from workbench.bootstrap import bootstrap
from workbench.core.errors import Conflict, IntegrityError, NotFound, Unavailable, WorkbenchError
from workbench.core.ids import new_id
from workbench.releases.manifest import hash_of
from workbench.releases.models import Release
from workbench.releases.pins import high_water, high_water_file
from workbench.releases.verify import live


def _restart(bank: Bank) -> Callable[[], Any]:
    """What another process sees of the same home."""
    other = bootstrap(settings=bank.services.context.settings)
    return lambda: live(other.context, bank.project.id)


def _release(bank: Bank, release: Release) -> Release:
    with bank.services.context.database.session() as session:
        found = session.get(Release, release.id)
        assert found is not None
        return found


def test_a_state_set_to_approved_does_not_approve(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.edit("UPDATE release SET state = 'approved' WHERE id = :id", id=release.id)
    with pytest.raises(Conflict, match="not approved yet"):
        bank.promote(release)


def test_an_approval_row_without_a_signature_does_not_approve(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.edit("UPDATE release SET state = 'approved' WHERE id = :id", id=release.id)
    bank.edit(
        "INSERT INTO approval (id, project_id, release_id, person_id, person_name, meaning, reason, statement, signature,"
        " event_id, at) VALUES (:id, :project, :release, :person, 'Rae Reviewer', 'approved', '', '{}', '{}', 'x',"
        " '2026-01-01 00:00:00')",
        id=new_id(), project=bank.project.id, release=release.id, person=bank.reviewer.id,
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="no approval that holds"):
        bank.promote(release)


def test_an_approval_copied_from_another_release_does_not_approve(bank: Bank) -> None:
    first = bank.release_first()
    release = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Bad.")), despite="x")
    bank.edit("UPDATE release SET state = 'approved' WHERE id = :id", id=release.id)
    bank.edit("UPDATE approval SET release_id = :new WHERE release_id = :old", new=release.id, old=first.id)
    with pytest.raises(IntegrityError, match="no approval that holds"):
        bank.promote(release)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reason", "other words"),
        ("person_name", "Somebody Else"),
        ("meaning", "rejected"),
        ("signature", "{}"),
        ("statement", '{"schema":"other"}'),
    ],
)
def test_an_edited_approval_is_worth_nothing(bank: Bank, column: str, value: str) -> None:
    bank.release_first()
    bank.edit(f"UPDATE approval SET {column} = :value", value=value)
    with pytest.raises(IntegrityError):
        _restart(bank)()


def test_an_approval_moved_to_another_persons_id_is_worth_nothing(bank: Bank) -> None:
    bank.release_first()
    bank.edit("UPDATE approval SET person_id = :id", id=bank.operator.id)
    with pytest.raises(IntegrityError):
        _restart(bank)()


def test_a_signature_with_a_key_that_is_not_pinned_is_worth_nothing(bank: Bank) -> None:
    release = bank.release_first()
    folder = bank.services.context.settings.keys_folder / "people" / bank.reviewer.id
    for path in folder.iterdir():
        path.rename(path.with_suffix(".gone"))
    with pytest.raises(IntegrityError, match="no approval that holds"):
        _restart(bank)()
    assert release.id


def test_an_edited_manifest_is_not_approved_promoted_or_served(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    better = bank.add_prompt("Sell the most expensive loan.")
    manifest = json.loads(json.dumps(release.manifest))
    manifest["slots"]["prompt_version"]["hash"] = better

    def smuggle() -> str:
        forged = hash_of(manifest)
        bank.edit(
            "UPDATE release SET manifest = :manifest, manifest_hash = :hash WHERE id = :id",
            manifest=json.dumps(manifest), hash=forged, id=release.id,
        )  # fmt: skip
        return forged

    forged = smuggle()
    with pytest.raises(IntegrityError, match="not the one that was proposed"):
        bank.approve(release, shown=forged)
    bank.edit(
        "UPDATE release SET manifest = :manifest, manifest_hash = :hash WHERE id = :id",
        manifest=json.dumps(release.manifest), hash=release.manifest_hash, id=release.id,
    )  # fmt: skip
    bank.approve(release)
    smuggle()
    with pytest.raises(IntegrityError, match="not the one that was proposed"):
        bank.promote(release)


def test_an_edited_manifest_of_the_live_release_is_not_served(bank: Bank) -> None:
    release = bank.release_first()
    manifest = json.loads(json.dumps(release.manifest))
    manifest["slots"]["guard_policy"]["require_citation"] = False
    bank.live()
    bank.edit("UPDATE release SET manifest = :manifest", manifest=json.dumps(manifest))
    assert bank.live().guard.require_citation  # a process that verified it goes on with what it verified
    with pytest.raises(IntegrityError):
        _restart(bank)()


def test_a_channel_pointed_elsewhere_serves_neither(bank: Bank) -> None:
    bank.release_first()
    other = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Bad.")), despite="x")
    bank.edit("UPDATE channel SET release_id = :id", id=other.id)
    with pytest.raises(IntegrityError, match="newest signed move"):
        bank.live()


def test_an_edited_move_is_not_followed(bank: Bank) -> None:
    bank.release_first()
    other = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Bad.")), despite="x")
    bank.edit("UPDATE channel SET release_id = :id", id=other.id)
    bank.edit("UPDATE channel_move SET release_id = :id, manifest_hash = :hash", id=other.id, hash=other.manifest_hash)
    with pytest.raises(IntegrityError, match="our signature"):
        bank.live()


def test_an_older_signed_move_put_back_is_recognised(bank: Bank) -> None:
    first = bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Mended."))
    bank.edit("DELETE FROM channel_move WHERE number = 2")
    bank.edit("UPDATE channel SET number = 1, release_id = :id", id=first.id)
    with pytest.raises(IntegrityError, match="set back to an older move"):
        bank.live()
    with pytest.raises(IntegrityError, match="set back to an older move"):
        _restart(bank)()


def test_an_emptied_channel_is_a_breach_and_not_a_fresh_start(bank: Bank) -> None:
    bank.release_first()
    bank.edit("DELETE FROM channel")
    bank.edit("DELETE FROM channel_move")
    with pytest.raises(IntegrityError, match="emptied"):
        bank.live()


def test_a_rollback_repairs_an_altered_channel(bank: Bank) -> None:
    first = bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.edit("DELETE FROM channel_move WHERE number = 2")
    bank.edit("UPDATE channel SET number = 1, release_id = :id", id=first.id)
    with pytest.raises(IntegrityError):
        bank.live()
    moved = bank.rollback(to=first.id)
    assert moved.move.number == 3
    assert bank.live().release_id == first.id
    assert _restart(bank)().release.id == first.id
    assert second.id


def test_a_rollback_works_when_the_live_release_was_altered(bank: Bank) -> None:
    first = bank.release_first()
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.edit("UPDATE release SET name = 'forged' WHERE id = :id", id=second.id)
    with pytest.raises(IntegrityError):
        _restart(bank)()
    bank.rollback()
    assert bank.live().release_id == first.id


def test_nothing_is_promoted_over_an_altered_channel(bank: Bank) -> None:
    bank.release_first()
    next_one = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Second.")), despite="x")
    bank.approve(next_one, justification="x")
    bank.edit("UPDATE channel_move SET reason = 'forged'")
    with pytest.raises(IntegrityError):
        bank.promote(next_one)


def test_a_withdrawn_release_set_back_to_approved_is_not_promoted(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.approve(release)
    bank.services.releases.withdraw(bank.engineer, release.id, reason="Wrong adapter.")
    bank.edit("UPDATE release SET state = 'approved' WHERE id = :id", id=release.id)
    with pytest.raises(Conflict, match="withdrawn or rejected"):
        bank.promote(release)


def test_a_rejected_release_is_not_revived_by_removing_the_rejection(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    reject = bank.services.releases.reject
    reject(bank.reviewer, release.id, password="correct horse battery", shown=release.manifest_hash, reason="No.")
    bank.edit("DELETE FROM approval")
    bank.edit("UPDATE release SET state = 'proposed' WHERE id = :id", id=release.id)
    other = bank.person("Rio Reviewer", *[grant.role for grant in bank.reviewer.grants])
    bank.approve(_release(bank, release), by=other)
    with pytest.raises(Conflict, match="withdrawn or rejected"):
        bank.promote(release)


def test_a_verdict_turned_in_the_database_is_not_approved(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    comparison = bank.add_comparison(candidate, bank.live())
    release = bank.propose(candidate)
    for column, value in (("statistics", '{"difference": 0.9}'), ("verdict", "FAIL")):
        before = json.dumps(comparison.statistics) if column == "statistics" else comparison.verdict
        bank.edit(f"UPDATE comparison SET {column} = :value", value=value)
        with pytest.raises(IntegrityError, match="no longer says"):
            bank.approve(release)
        bank.edit(f"UPDATE comparison SET {column} = :value", value=before)
    bank.approve(release)


def test_a_tampered_or_missing_adapter_is_not_promoted_nor_served(bank: Bank) -> None:
    triage = bank.add_adapter("triage")
    release = bank.propose(bank.configuration(triage_adapter=triage))
    bank.approve(release)
    weights = bank.services.context.artifacts.path(triage) / "adapter_model.safetensors"
    with bank.altered(weights), pytest.raises(IntegrityError, match="altered on disk"):
        bank.promote(release)
    folder = bank.services.context.artifacts.path(triage)
    folder.rename(folder.with_name("hidden"))
    with pytest.raises(NotFound):
        bank.promote(release)
    folder.with_name("hidden").rename(folder)
    with pytest.raises(Unavailable):
        bank.live()
    bank.promote(release)
    with bank.altered(weights), pytest.raises(IntegrityError, match="altered on disk"):
        _restart(bank)()


def test_a_rollback_to_a_release_with_a_tampered_adapter_is_refused(bank: Bank) -> None:
    triage = bank.add_adapter("triage")
    first = bank.release_first(triage_adapter=triage)
    second = bank.release_next(triage_adapter=None)
    weights = bank.services.context.artifacts.path(triage) / "adapter_model.safetensors"
    with bank.altered(weights), pytest.raises(IntegrityError, match="altered on disk"):
        bank.rollback(to=first.id)
    assert bank.live().release_id == second.id


def test_a_tampered_base_model_is_not_promoted(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.approve(release)
    weights = bank.services.context.settings.home / "models" / "tiny" / "model.safetensors"
    with bank.altered(weights), pytest.raises(IntegrityError, match="base model"):
        bank.promote(release)
    card = weights.with_name("workbench.json")
    card.rename(weights.with_name("gone"))
    with pytest.raises(NotFound, match="base model"):
        bank.promote(release)


def test_a_prompt_edited_in_the_database_is_not_promoted_nor_served(bank: Bank) -> None:
    release = bank.propose(bank.configuration())
    bank.approve(release)
    original = bank.edit("UPDATE prompt_version SET content = replace(content, 'two', 'twenty')")
    assert original == 1
    with pytest.raises(IntegrityError, match="prompt version"):
        bank.promote(release)


def test_a_process_that_dies_between_commit_and_high_water_leaves_the_new_release_live(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.release_first()
    second = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Second.")), despite="x")
    bank.approve(second, justification="x")

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    settings = bank.services.context.settings
    with monkeypatch.context() as patch:
        patch.setattr("workbench.releases.service.raise_high_water", die)
        with pytest.raises(Killed):
            bank.promote(second, command_id="promote")
    mark = high_water(settings, bank.project.id, "production")
    assert mark is not None
    assert mark.number == 1
    assert _restart(bank)().release.id == second.id
    mark = high_water(settings, bank.project.id, "production")
    assert mark is not None
    assert mark.number == 2
    assert bank.promote(second, command_id="promote").move.number == 2


def test_a_damaged_high_water_file_serves_nothing_until_a_rollback_by_name(bank: Bank) -> None:
    first = bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    path = high_water_file(bank.services.context.settings, bank.project.id, "production")
    path.write_text("{")
    with pytest.raises(IntegrityError, match="damaged"):
        bank.live()
    bank.rollback(to=first.id)
    assert bank.live().release_id == first.id
    assert json.loads(path.read_text())["number"] == 3


def test_another_instances_key_moves_nothing(bank: Bank) -> None:
    bank.release_first()
    key = bank.services.context.settings.keys_folder / "release.key"
    key.rename(key.with_suffix(".old"))
    with pytest.raises(IntegrityError):
        _restart(bank)()


def test_every_refusal_says_what_to_do(bank: Bank) -> None:
    bank.release_first()
    bank.edit("UPDATE channel_move SET reason = 'forged'")
    with pytest.raises(WorkbenchError) as refusal:
        _restart(bank)()
    assert "Roll back" in refusal.value.todo
