"""The journal survives being killed, and never builds upon a past that was changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.audit.factories import KEY, a_ledger, acts, an_act
from workbench.audit.checkpoint import BadCheckpoint, Checkpoint, open_note, verifier_key
from workbench.audit.events import FIRST_PREV_HASH, Event
from workbench.audit.journal import Journal, LedgerDamaged
from workbench.audit.segments import read_lines
from workbench.audit.verify import verify_home


def test_events_are_numbered_from_one_and_each_names_the_one_before(tmp_path: Path) -> None:
    events = Journal(tmp_path, KEY).append(acts(3))
    assert [event.seq for event in events] == [1, 2, 3]
    assert [event.prev_hash for event in events] == [FIRST_PREV_HASH, events[0].leaf.hex(), events[1].leaf.hex()]


def test_an_event_comes_back_from_its_bytes_as_it_was(tmp_path: Path) -> None:
    (event,) = Journal(tmp_path, KEY).append([an_act(details={"list": [1, 2.5, None, {"a": True}]}, command_id="click-1")])
    ((_, line),) = list(read_lines(tmp_path / "segments"))
    assert Event.from_bytes(line) == event
    assert b"\n" not in line


def test_a_number_without_canonical_form_does_not_stop_the_sealing(tmp_path: Path) -> None:
    (event,) = Journal(tmp_path, KEY).append([an_act(details={"big": 2**60, "not a number": float("nan")})])
    ((_, line),) = list(read_lines(tmp_path / "segments"))
    assert Event.from_bytes(line).details == {"big": str(2**60), "not a number": "nan"}
    assert verify_home(tmp_path).ok
    assert event.seq == 1


def test_a_reopened_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    journal = Journal(tmp_path, KEY, events_per_segment=5)
    assert journal.size == 12
    assert [event.seq for event in journal.append(acts(2, 12))] == [13, 14]
    assert verify_home(tmp_path).events == 14


def test_a_reader_sees_events_from_any_place_on(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    for first in range(1, 14):
        seqs = [seq for seq, line in read_lines(tmp_path / "segments", first) if Event.from_bytes(line).seq == seq]
        assert seqs == list(range(first, 13))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_group_torn_anywhere_by_a_crash_leaves_a_ledger_that_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The crash comes while the last group's bytes are being written, before its head."""
    folder = tmp_path_factory.mktemp("ledger")
    a_ledger(folder, groups=(3,), events_per_segment=100)
    before = (folder / "segments" / "open.jsonl").read_bytes()
    head = (folder / "head.checkpoint").read_bytes()
    Journal(folder, KEY, events_per_segment=100).append(acts(4, 3))
    after = (folder / "segments" / "open.jsonl").read_bytes()
    (folder / "head.checkpoint").write_bytes(head)
    written = data.draw(st.integers(len(before), len(after)))
    zeros = data.draw(st.sampled_from([0, 7]))
    (folder / "segments" / "open.jsonl").write_bytes(after[:written] + b"\0" * zeros)

    journal = Journal(folder, KEY, events_per_segment=100)
    assert journal.size == after[:written].count(b"\n")
    journal.append(acts(2, journal.size))
    report = verify_home(folder)
    assert report.ok, report.reason
    assert report.covered == report.events == journal.size


@pytest.mark.parametrize("name", ["segments/000000000001-000000000007.jsonl", "segments/000000000008-000000000012.jsonl"])
def test_a_ledger_that_lost_events_is_not_built_upon(tmp_path: Path, name: str) -> None:
    a_ledger(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LedgerDamaged, match="not the one that was sealed"):
        Journal(tmp_path, KEY)


def test_a_ledger_with_a_changed_event_is_not_built_upon(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    path = tmp_path / "segments" / "000000000001-000000000007.jsonl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"item-2", b"item-9"))
    with pytest.raises(LedgerDamaged, match="not those that were signed"):
        Journal(tmp_path, KEY)


def test_another_key_does_not_continue_a_ledger(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    with pytest.raises(LedgerDamaged, match="another key"):
        Journal(tmp_path, Ed25519PrivateKey.generate())


def test_a_new_key_continues_a_ledger_once_a_person_has_listed_it(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    path = tmp_path / "ledger.vkey"
    origin = path.read_text().split("+")[0]
    new_key = Ed25519PrivateKey.generate()
    path.write_text(path.read_text() + verifier_key(origin, new_key.public_key()) + "\n")
    Journal(tmp_path, new_key).append(acts(1, 12))
    assert verify_home(tmp_path).events == 13


def test_events_without_their_key_file_are_not_built_upon(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    (tmp_path / "ledger.vkey").unlink()
    with pytest.raises(LedgerDamaged, match="vkey is gone"):
        Journal(tmp_path, KEY)


def test_a_checkpoint_is_kept_only_when_something_came(tmp_path: Path) -> None:
    journal = Journal(tmp_path, KEY)
    assert journal.keep_checkpoint() is None
    journal.append(acts(2))
    kept = journal.keep_checkpoint()
    assert kept is not None
    assert kept.size == 2
    assert journal.keep_checkpoint() is None
    assert Journal(tmp_path, KEY).checkpoint_size == 2


def test_a_ledger_without_a_head_is_still_held_to_its_kept_checkpoint(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    (tmp_path / "head.checkpoint").unlink()
    shutil.move(tmp_path / "segments" / "000000000001-000000000007.jsonl", tmp_path / "elsewhere")
    with pytest.raises(LedgerDamaged):
        Journal(tmp_path, KEY)


def test_a_note_of_another_ledger_or_key_does_not_open() -> None:
    checkpoint = Checkpoint("ledger/a", 5, b"r" * 32)
    own = verifier_key("ledger/a", KEY.public_key())
    assert open_note(checkpoint.signed(KEY), [own]) == checkpoint
    for note in (
        checkpoint.signed(Ed25519PrivateKey.generate()),
        Checkpoint("ledger/b", 5, b"r" * 32).signed(KEY),
        checkpoint.signed(KEY).replace("\n5\n", "\n6\n"),
        checkpoint.text(),
        "",
    ):
        with pytest.raises(BadCheckpoint):
            open_note(note, [own])
