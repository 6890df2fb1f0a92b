"""Who writes the traces, and when."""

import threading
import time
from pathlib import Path

import pytest

from workbench.core import turns as module
from workbench.core.turns import Turns


@pytest.fixture
def two(tmp_path: Path) -> tuple[Turns, Turns]:
    """Turns of two processes over one home."""
    return Turns(tmp_path), Turns(tmp_path)


def test_two_processes_never_write_at_once(two: tuple[Turns, Turns]) -> None:
    inside, most = 0, 0

    def write(turns: Turns) -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.writing():
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=write, args=(one,)) for one in (*two, *two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_can_wait_goes_at_once_when_no_sender_queues(two: tuple[Turns, Turns], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GLANCE", 1e9)  # it would never come back from a second look
    assert two[1].let_senders_go_first()


def test_who_can_wait_lets_another_process_s_senders_go_first_but_not_for_ever(two: tuple[Turns, Turns]) -> None:
    intake, indexer = two
    intake.senders_queue(True)
    intake.senders_queue(True)  # said twice, it is still one queue
    assert not indexer.let_senders_go_first(0.05)
    threading.Timer(0.1, intake.senders_queue, (False,)).start()
    assert indexer.let_senders_go_first(60)


def test_a_gap_between_two_requests_of_a_burst_is_not_its_end(
    two: tuple[Turns, Turns], monkeypatch: pytest.MonkeyPatch
) -> None:
    intake, indexer = two
    monkeypatch.setattr(module, "_QUIET", 60.0)
    intake.senders_queue(True)
    assert not indexer.let_senders_go_first(0.05)
    intake.senders_queue(False)
    assert not indexer.let_senders_go_first(0.05)
    monkeypatch.setattr(module, "_BURST", 0.0)
    assert indexer.let_senders_go_first(0.05)


def test_without_files_only_one_s_own_senders_count() -> None:
    turns = Turns(None)
    with turns.writing():
        assert turns.let_senders_go_first()
    turns.senders_queue(True)
    assert not turns.let_senders_go_first(0.05)
