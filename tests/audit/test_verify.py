"""The stand-alone verifier finds every change, and accepts what nobody changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.factories import KEY, a_ledger, acts, an_act
from workbench.audit import merkle, verify
from workbench.audit.journal import Journal
from workbench.audit.verify import verify_home


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One ledger for the tests that put back what they change."""
    folder = tmp_path_factory.mktemp("ledger")
    a_ledger(folder)
    return folder


def segment_files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.jsonl"))


def place_of(folder: Path, seq: int) -> tuple[Path, int]:
    """File and line of an event."""
    for path in segment_files(folder):
        for number, line in enumerate(path.read_bytes().splitlines()):
            if json.loads(line)["seq"] == seq:
                return path, number
    raise AssertionError(seq)


def test_an_untouched_ledger_verifies(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    report = verify_home(tmp_path)
    assert report.ok, report.reason
    assert (report.events, report.covered, report.checkpoints, report.first_bad_seq) == (12, 12, 2, None)
    assert report.root == merkle.root_of(Journal(tmp_path, KEY).leaves()).hex()


def test_an_empty_ledger_verifies(tmp_path: Path) -> None:
    a_ledger(tmp_path, groups=())
    assert verify_home(tmp_path).ok


def test_a_folder_without_a_ledger_does_not_verify(tmp_path: Path) -> None:
    report = verify_home(tmp_path)
    assert not report.ok
    assert "holds no ledger" in report.reason


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_of_any_segment_is_found(ledger: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(segment_files(ledger)))
    untouched = path.read_bytes()
    content = bytearray(untouched)
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.chmod(0o600)
    path.write_bytes(content)
    try:
        report = verify_home(ledger)
    finally:
        path.write_bytes(untouched)
    assert not report.ok
    assert report.reason
    assert verify_home(ledger).ok


def test_the_first_changed_event_is_named(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    path, number = place_of(tmp_path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b"item-3", b"item-9")
    path.write_bytes(b"".join(lines))
    report = verify_home(tmp_path)
    assert report.first_bad_seq == 4
    assert "Event 4 was changed" in report.reason


def test_a_changed_link_is_blamed_on_the_event_that_holds_it(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    path, number = place_of(tmp_path, 4)
    lines = path.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[number])
    lines[number] = lines[number].replace(event["prev_hash"].encode(), b"f" * 64)
    path.write_bytes(b"".join(lines))
    assert verify_home(tmp_path).first_bad_seq == 4


@pytest.mark.parametrize("seq", [1, 4, 8, 12])
def test_an_event_taken_out_is_found(tmp_path: Path, seq: int) -> None:
    a_ledger(tmp_path)
    path, number = place_of(tmp_path, seq)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))
    report = verify_home(tmp_path)
    assert not report.ok
    assert report.first_bad_seq == seq


def test_a_missing_segment_is_found(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    segment_files(tmp_path)[0].unlink()
    report = verify_home(tmp_path)
    assert not report.ok
    assert report.first_bad_seq == 1


def test_an_event_id_that_occurs_twice_is_found(tmp_path: Path) -> None:
    act = an_act()
    journal = Journal(tmp_path, KEY)
    journal.append([act, act])
    report = verify_home(tmp_path)
    assert report.first_bad_seq == 2
    assert "an id that an earlier event has" in report.reason


def cut_off_with_its_own_notes(folder: Path) -> None:
    """What somebody with the signing key does to hide the end: a shorter ledger, properly signed again."""
    shutil.rmtree(folder)
    a_ledger(folder, groups=(4, 3))


def test_a_cut_tail_is_found_by_the_ledgers_own_checkpoints(tmp_path: Path) -> None:
    a_ledger(tmp_path)
    (tmp_path / "segments" / "open.jsonl").unlink(missing_ok=True)
    segment_files(tmp_path)[-1].unlink()
    report = verify_home(tmp_path)
    assert not report.ok
    assert "cut off" in report.reason


def test_a_tail_cut_together_with_its_checkpoints_is_found_by_one_kept_outside(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept.txt"
    a_ledger(folder)
    shutil.copy(folder / "head.checkpoint", kept)
    keys = (folder / "ledger.vkey").read_bytes()
    shutil.rmtree(folder / "segments")
    shutil.rmtree(folder / "checkpoints")
    (folder / "head.checkpoint").unlink()
    (folder / "segments").mkdir()
    journal = Journal(folder, KEY)
    journal.append(acts(7))
    assert (folder / "ledger.vkey").read_bytes() == keys
    assert verify_home(folder).ok, "by itself the shorter ledger is consistent"
    report = verify_home(folder, kept)
    assert not report.ok
    assert report.first_bad_seq == 8
    assert "cut off" in report.reason


def test_a_full_rewrite_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept.txt"
    a_ledger(folder)
    shutil.copy(folder / "head.checkpoint", kept)
    keys = (folder / "ledger.vkey").read_bytes()
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "ledger.vkey").write_bytes(keys)
    journal = Journal(folder, KEY)
    journal.append([an_act(number, actor_name="Somebody Else") for number in range(12)])
    assert verify_home(folder).ok, "by itself the rewritten ledger is consistent"
    report = verify_home(folder, kept)
    assert not report.ok
    assert "rewritten" in report.reason


def test_a_rewrite_under_a_new_key_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept.txt"
    a_ledger(folder)
    shutil.copy(folder / "head.checkpoint", kept)
    cut_off_with_its_own_notes(folder)
    report = verify_home(folder, kept)
    assert not report.ok
    assert "not signed by the ledger's key" in report.reason


def test_a_checkpoint_kept_outside_still_holds_after_the_ledger_grew(tmp_path: Path) -> None:
    folder, kept = tmp_path / "ledger", tmp_path / "kept.txt"
    a_ledger(folder)
    shutil.copy(folder / "head.checkpoint", kept)
    Journal(folder, KEY).append(acts(5, 12))
    report = verify_home(folder, kept)
    assert report.ok, report.reason
    assert report.anchor == 12


@given(position=st.integers(0, 10_000), change=st.integers(1, 255))
@settings(max_examples=40, deadline=None)
def test_a_flipped_byte_of_the_signed_text_is_found(ledger: Path, position: int, change: int) -> None:
    path = ledger / "head.checkpoint"
    untouched = path.read_bytes()
    content = bytearray(untouched)
    content[position % content.index(b"\n\n")] ^= change
    path.write_bytes(content)
    try:
        assert not verify_home(ledger).ok
    finally:
        path.write_bytes(untouched)


def test_a_half_written_last_line_is_no_event_and_no_fault(tmp_path: Path) -> None:
    a_ledger(tmp_path, events_per_segment=100)
    with (tmp_path / "segments" / "open.jsonl").open("ab") as file:
        file.write(b'{"actor":{"id":"person')
    report = verify_home(tmp_path)
    assert report.ok, report.reason
    assert report.being_written
    assert report.events == 12


def test_the_verifier_runs_alone_and_says_what_it_found(tmp_path: Path) -> None:
    a_ledger(tmp_path / "home" / "ledger")
    script = shutil.copy(verify.__file__, tmp_path / "verify.py")
    command = [sys.executable, "-I", str(script), str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The ledger verifies: 12 events in an unbroken chain")
    segment_files(tmp_path / "home" / "ledger")[0].unlink()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["first_bad_seq"] == 1


def test_the_verifier_imports_nothing_of_the_workbench() -> None:
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1], run_name='alone'); "
        "print(sorted(m for m in sys.modules if m.startswith('workbench')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code, str(verify.__file__)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.integers(0, 70))
def test_its_own_tree_is_the_ledgers_tree(size: int) -> None:
    leaves = [merkle.leaf_hash(str(number).encode()) for number in range(size)]
    edge: list[bytes] = []
    for number, leaf in enumerate(leaves):
        verify._append(edge, number, leaf)
    assert verify._root(edge) == merkle.root_of(leaves)
