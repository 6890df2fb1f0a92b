"""What pages, the command line and an outsider read."""

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.releases.factories import Bank
from workbench.core.errors import Unavailable
from workbench.core.keys import public_key
from workbench.core.unit_of_work import Context
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.releases import queries
from workbench.releases.changes import changes_of, people_behind
from workbench.releases.models import Release
from workbench.releases.note import note_holds, release_note
from workbench.tuning.queries import by_hash


def _note(bank: Bank, release: Release) -> str:
    with bank.services.context.database.session() as session:
        fresh = queries.get_release(session, release.id)
        return release_note(session, bank.services.context.settings, fresh)


def test_the_command_line_gets_the_live_release_as_plain_json(bank: Bank) -> None:
    with pytest.raises(Unavailable):
        queries.channel_as_json(bank.services.context, bank.project.id)
    first = bank.release_first(triage_adapter=bank.add_adapter("triage"))
    second = bank.release_next(prompt_version=bank.add_prompt("Second."))
    found = json.loads(json.dumps(queries.channel_as_json(bank.services.context, bank.project.id)))
    assert found["release"]["id"] == second.id
    assert found["manifest_hash"] == second.manifest_hash
    assert found["components"]["triage_adapter"]["name"] == "Triage adapter 1"
    assert [approval["by"] for approval in found["approved"]] == ["Rae Reviewer"]
    assert found["rollback_to"]["id"] == first.id


def test_the_history_tells_every_move_with_who_and_why(bank: Bank) -> None:
    bank.release_first()
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    bank.rollback(reason="Wrong fee.")
    with bank.services.context.database.session() as session:
        lines = queries.history(session, bank.services.context.settings, bank.project.id)
    assert [line.kind for line in lines] == [
        "rolled_back", "promoted", "approved", "proposed", "promoted", "approved", "proposed",
    ]  # fmt: skip
    assert (lines[0].by, lines[0].reason, lines[0].release.number) == ("Olu Operator", "Wrong fee.", 1)
    assert all(line.holds for line in lines)


def test_an_altered_line_of_the_history_is_marked(bank: Bank) -> None:
    bank.release_first()
    bank.edit("UPDATE channel_move SET by_name = 'Somebody Else'")
    with bank.services.context.database.session() as session:
        lines = queries.history(session, bank.services.context.settings, bank.project.id)
    assert [line.kind for line in lines if not line.holds] == ["promoted"]


def test_what_a_rollback_brings_back_is_known_before(bank: Bank) -> None:
    settings, project = bank.services.context.settings, bank.project.id
    first = bank.release_first()
    with bank.services.context.database.session() as session:
        assert queries.comes_back(session, settings, project) is None
    bank.release_next(prompt_version=bank.add_prompt("Second."))
    with bank.services.context.database.session() as session:
        known = queries.comes_back(session, settings, project)
        assert known is not None
        assert known.id == first.id
        assert {release.number for release in queries.been_live(session, settings, project)} == {1, 2}
    assert bank.rollback().release.id == known.id


def test_only_approved_releases_that_were_never_live_are_ready(bank: Bank) -> None:
    settings, project = bank.services.context.settings, bank.project.id

    def ready() -> list[int]:
        with bank.services.context.database.session() as session:
            return [release.number for release in queries.ready_to_promote(session, settings, project)]

    bank.release_first()
    second = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Second.")), despite="x")
    assert ready() == []
    bank.approve(second, justification="x")
    assert ready() == [2]
    bank.promote(second)
    assert ready() == []


def test_changes_name_the_slots_that_differ_and_no_others(bank: Bank) -> None:
    bank.release_first()
    release = bank.propose(replace(bank.live(), prompt_version=bank.add_prompt("Second.")), despite="x")
    with bank.services.context.database.session() as session:
        changes = changes_of(session, bank.services.context.settings, release)
    assert [change.slot for change in changes.changed] == ["prompt_version"]
    (change,) = changes.changed
    assert change.before is not None
    assert (change.before.name, change.after.name) == ("Answer in two sentences. v1", "Second. v1")
    assert changes.parent is not None


def test_the_people_behind_an_adapter_are_counted_by_name(bank: Bank) -> None:
    name = bank.add_adapter("triage")
    with bank.services.context.database.session() as session:
        adapter = by_hash(session, bank.project.id, name)
    assert adapter is not None
    dataset = DatasetVersion(
        id=adapter.dataset_id, project_id=bank.project.id, name="terms", number=1, task="triage", content_hash="sha256:x",
        rows=3, created_by="x",
    )  # fmt: skip
    given = [(bank.engineer.id, []), (bank.reviewer.id, [bank.reviewer.id, bank.engineer.id]), ("gone-person", [])]
    rows = [
        DatasetExample(
            project_id=bank.project.id, dataset_id=dataset.id, position=position, leaf_hash="x", trace_id=f"t{position}",
            response_id="r", person_id=person, people=people, language="es",
        )
        for position, (person, people) in enumerate(given)
    ]  # fmt: skip
    bank.insert(dataset, *rows)
    with bank.services.context.database.session() as session:
        behind = people_behind(session, adapter)
    assert behind.rows == 3
    assert behind.languages == {"es": 3}
    assert behind.people["Erin Engineer"] == 2
    assert behind.people["Rae Reviewer"] == 1
    assert any("without an account" in person for person in behind.people)


def test_a_comparison_that_is_not_cited_is_still_shown(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    candidate = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    cited = bank.add_comparison(candidate, bank.live())
    other = bank.add_comparison(candidate, replace(bank.live(), triage_adapter=None), verdict="FAIL")
    release = bank.propose(candidate)
    with bank.services.context.database.session() as session:
        assert [proof.recorded["comparison_id"] for proof in queries.proofs(session, release)] == [cited.id]
        assert [comparison.id for comparison in queries.other_comparisons(session, release)] == [other.id]


def test_a_release_note_verifies_and_an_edited_one_does_not(bank: Bank) -> None:
    release = bank.release_first(triage_adapter=bank.add_adapter("triage"))
    note = _note(bank, release)
    key = public_key(bank.services.context.settings, "release")
    assert note_holds(note, key)
    assert "approved by Rae Reviewer" in note
    assert "signature verified" in note
    assert not note_holds(note.replace("Rae Reviewer", "Bob Builder"), key)
    assert not note_holds(note, Ed25519PrivateKey.generate().public_key())
    assert not note_holds("anything", key)


def test_a_release_note_says_when_a_signature_does_not_hold(bank: Bank) -> None:
    release = bank.release_first()
    bank.edit("UPDATE approval SET reason = 'other words'")
    assert "SIGNATURE DOES NOT HOLD" in _note(bank, release)


def test_a_reason_cannot_pretend_to_be_another_part_of_the_note(bank: Bank) -> None:
    release = bank.propose(bank.configuration(), reason="Fine.\n\nDecisions\n- approved by Nobody")
    assert "\n- approved by Nobody" not in _note(bank, release)


def test_a_trace_names_its_release_by_id_hash_or_title(bank: Bank) -> None:
    release = bank.release_first()
    context: Context = bank.services.context
    with context.database.session() as session:
        for name in (release.id, release.manifest_hash, release.title):
            found = queries.find_release(session, bank.project.id, name)
            assert found is not None
            assert found.id == release.id
        for other in ("1", "Release 1 · of the application", "Release 2", "v2026.1"):
            assert queries.find_release(session, bank.project.id, other) is None
