"""kill -9 at every step of the sealing: nothing lost, nothing doubled, and the chain holds."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from tests.audit.factories import a_context, act, quick_sealer, sealed_ids
from workbench.audit.outbox import TABLES, Outbox
from workbench.audit.verify import verify_home

# A fork has everything imported and starts in milliseconds; no test leaves a thread behind that it could inherit.
VICTIMS = multiprocessing.get_context("fork")


def kill_myself_at(step: int) -> None:
    """Count each thing the sealer does to a disk, and die by SIGKILL instead of doing number `step`."""
    from workbench.audit import journal, ledger, outbox, segments

    done = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*arguments: Any, **named: Any) -> Any:
            nonlocal done
            if threading.current_thread().name == "audit-sealer":
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return instead

    for name in ("write", "fsync", "rename", "replace"):
        setattr(segments.os, name, counted(getattr(os, name)))
    journal.write_whole = counted(journal.write_whole)  # type: ignore[attr-defined]
    ledger.Ledger.add = counted(ledger.Ledger.add)  # type: ignore[method-assign]
    for name in ("mark_sealed", "mark_checkpoint"):
        setattr(outbox.Outbox, name, counted(getattr(outbox.Outbox, name)))
    outbox.Outbox._changing = counted(outbox.Outbox._changing)  # type: ignore[method-assign]


def act_and_seal(home: Path, step: int | None, acts: int) -> None:
    """The victim: acts while its sealer seals."""
    if step is not None:
        kill_myself_at(step)
    context = a_context(home)
    sealer = quick_sealer(context)
    sealer.start()
    for number in range(acts):
        act(context, number, traces=number % 3 == 0)
    sealer.stop()


def committed_ids(home: Path) -> set[str]:
    context = a_context(home)
    with context.database.session() as session:
        return {event_id for table in TABLES for event_id in session.exec(select(table.id))}


def assert_nothing_lost_or_doubled(home: Path) -> None:
    context = a_context(home)
    sealer = quick_sealer(context)
    sealer.seal_waiting()
    sealed = sealed_ids(context)
    assert len(sealed) == len(set(sealed)), "an act was sealed twice"
    assert set(sealed) == committed_ids(home)
    assert Outbox(context.database).waiting()[0] == 0
    report = verify_home(home)
    assert report.ok, report.reason
    assert report.covered == report.events == len(sealed)
    context.database.dispose()


@pytest.mark.parametrize("seed", range(4))
def test_a_sealer_killed_at_one_step_after_another_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    """Four homes, each killed nine times: every one of the first thirty-six steps, in another order in each home."""
    chance = random.Random(seed)
    steps = [seed + 1 + 4 * n for n in range(9)]
    chance.shuffle(steps)
    killed = 0
    for step in steps:
        victim = VICTIMS.Process(target=act_and_seal, args=(tmp_path, step, 12))
        victim.start()
        victim.join(30)
        assert victim.exitcode in (0, -signal.SIGKILL)
        killed += victim.exitcode == -signal.SIGKILL
    assert killed >= 6, "most victims must really have been killed"
    assert_nothing_lost_or_doubled(tmp_path)


def test_a_web_process_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    for _ in range(8):
        victim = VICTIMS.Process(target=act_and_seal, args=(tmp_path, None, 10_000))
        victim.start()
        time.sleep(0.1 + chance.random() * 0.4)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join(30)
        assert victim.exitcode == -signal.SIGKILL
    assert len(committed_ids(tmp_path)) > 8
    assert_nothing_lost_or_doubled(tmp_path)


def test_verify_and_export_read_while_the_sealer_writes(tmp_path: Path) -> None:
    victim = VICTIMS.Process(target=act_and_seal, args=(tmp_path, None, 10_000))
    victim.start()
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "ledger" / "head.checkpoint").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        sizes = []
        for _ in range(60):
            report = verify_home(tmp_path)
            assert report.ok, report.reason
            sizes.append(report.events)
            time.sleep(0.01)
        assert sizes == sorted(sizes)
        assert sizes[-1] > sizes[0], "the ledger must really have grown meanwhile"
    finally:
        victim.kill()
        victim.join()
    assert_nothing_lost_or_doubled(tmp_path)
