"""The sealer takes every committed act into the ledger once, and says so when it cannot."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from sqlmodel import Session, select

from tests.audit.factories import a_context, act, quick_sealer, sealed_ids
from workbench.audit import outbox as outbox_module
from workbench.audit.locks import FileLock, hold_web_lock
from workbench.audit.outbox import TABLES, Outbox, wait_sealed
from workbench.audit.status import SealerState
from workbench.audit.verify import verify_home
from workbench.core.actors import Actor, ActorKind
from workbench.core.errors import Conflict, NotFound, Unavailable, WorkbenchError
from workbench.core.unit_of_work import Context

ANA = Actor("person-ana", "Ana Annotator", ActorKind.PERSON)


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def outbox_rows(context: Context) -> dict[str, tuple[int | None, int | None]]:
    with context.database.session() as session:
        return {row.id: (row.sealed_seq, row.checkpoint_size) for table in TABLES for row in session.exec(select(table))}


def test_acts_of_both_outboxes_are_sealed_in_the_order_they_happened(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    ids = [act(context, number, traces=number % 2 == 0) for number in range(10)]
    assert quick_sealer(context).seal_waiting() == 10
    assert sealed_ids(context) == ids
    assert outbox_rows(context) == {event_id: (seq, 10) for seq, event_id in enumerate(ids, 1)}
    report = verify_home(tmp_path)
    assert (report.ok, report.events, report.covered) == (True, 10, 10), report.reason


def test_an_act_that_was_rolled_back_leaves_no_record(tmp_path: Path) -> None:
    context = a_context(tmp_path)

    def certify_and_fail() -> None:
        with context.unit_of_work(ANA) as work:
            work.record("knowledge.certified", subject=("entry", "e1"))
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        certify_and_fail()
    assert quick_sealer(context).seal_waiting() == 0


def test_an_act_that_commits_after_later_ids_were_sealed_is_sealed_too(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context)
    with context.unit_of_work(ANA) as work:
        late = work.record("knowledge.certified", subject=("entry", "e1"))
        # The other outbox is another SQLite file, so its act commits, and is sealed, in between.
        time.sleep(0.002)
        early = act(context, traces=True)
        assert early > late, "the id made later is sealed first"
        sealer._open()
        assert sealer._seal_group() == 1
    assert sealer.seal_waiting() == 1
    assert sealed_ids(context) == [early, late]


def test_a_running_sealer_seals_within_a_moment_and_stops_with_a_checkpoint(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context, checkpoint_events=1000)
    sealer.start()
    try:
        ids = [act(context, number) for number in range(3)]
        assert [wait_sealed(context.database, event_id, 10) for event_id in ids] == [1, 2, 3]
        assert sealer.status.state is SealerState.SEALING
        last = act(context, 4)
    finally:
        sealer.stop()
    assert outbox_rows(context)[last] == (4, 4)
    assert sealer.status.state is SealerState.STOPPED
    assert verify_home(tmp_path).covered == 4


def test_a_checkpoint_is_kept_after_its_time_even_when_few_events_came(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context, checkpoint_events=1000, checkpoint_seconds=0.05)
    sealer.start()
    try:
        event_id = act(context)
        eventually(lambda: outbox_rows(context)[event_id] == (1, 1))
    finally:
        sealer.stop()


def test_waiting_for_an_act_without_a_sealer_ends_with_a_sentence(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    event_id = act(context)
    with pytest.raises(Unavailable, match="did not seal this act"):
        wait_sealed(context.database, event_id, 0.1)
    with pytest.raises(NotFound):
        wait_sealed(context.database, "no such event", 0.1)


def test_a_second_sealer_stays_passive_and_takes_over(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    first, second = quick_sealer(context), quick_sealer(context)
    first.start()
    eventually(lambda: first.status.state is SealerState.SEALING)
    second.start()
    try:
        eventually(lambda: second.status.state is SealerState.PASSIVE)
        assert second.ledger is None, "a passive sealer does not open DuckDB"
        with pytest.raises(WorkbenchError, match="seals this ledger"):
            quick_sealer(context).seal_waiting()
        first.stop()
        eventually(lambda: second.status.state is SealerState.SEALING)
        assert wait_sealed(context.database, act(context), 10) == 1
    finally:
        first.stop()
        second.stop()


def test_acts_of_many_threads_are_each_sealed_once(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context)
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda start=start: ids.extend(act(context, start + n, traces=bool(n % 2)) for n in range(15)))
        for start in (0, 100, 200)
    ]
    sealer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealer.stop()
    assert len(ids) == 45
    assert sorted(sealed_ids(context)) == sorted(ids)
    assert verify_home(tmp_path).ok


def test_a_sealer_whose_disk_fails_says_so_and_seals_when_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context)
    sealer.start()
    try:
        eventually(lambda: sealer.status.state is SealerState.SEALING)

        def full_disk(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as broken:
            broken.setattr("workbench.audit.segments.SegmentWriter.append", full_disk)
            event_id = act(context)
            eventually(lambda: sealer.status.state is SealerState.FAILING)
            assert "No space left" in sealer.status.detail
        assert wait_sealed(context.database, event_id, 10) == 1
        eventually(lambda: sealer.status.state is SealerState.SEALING)
    finally:
        sealer.stop()


def test_a_database_newer_than_the_ledger_is_not_sealed_over(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    act(context, 1)
    quick_sealer(context).seal_waiting()
    (tmp_path / "ledger").rename(tmp_path / "lost")
    (tmp_path / "ledger").mkdir()
    act(context, 2)
    with pytest.raises(WorkbenchError, match="knows more sealed events"):
        quick_sealer(context).seal_waiting()
    assert Outbox(context.database).waiting()[0] == 1


def test_a_ledger_restored_with_an_older_database_seals_nothing_twice(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    ids = [act(context, number) for number in range(3)]
    quick_sealer(context).seal_waiting()
    for table in TABLES:
        with Session(context.database.writing if table is TABLES[0] else context.database.ingesting) as session:
            for row in session.exec(select(table)):
                row.sealed_seq = row.sealed_at = row.checkpoint_size = None
                session.add(row)
            session.commit()
    assert quick_sealer(context).seal_waiting() == 3
    assert sealed_ids(context) == ids
    assert [seq for seq, _ in outbox_rows(context).values()] == [1, 2, 3]


def test_rows_go_only_long_after_a_checkpoint_covers_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = a_context(tmp_path)
    covered = act(context, 1)
    quick_sealer(context).seal_waiting()
    waiting = act(context, 2)
    outbox = Outbox(context.database)
    assert outbox.prune() == 0
    monkeypatch.setattr(outbox_module, "KEEP_AFTER_CHECKPOINT", timedelta(seconds=-1))
    assert outbox.prune() == 1
    assert set(outbox_rows(context)) == {waiting}
    assert sealed_ids(context) == [covered]


@pytest.mark.parametrize("harm", ["missing", "garbage", "older", "other rows", "other shape", "torn pages"])
def test_duckdb_is_made_again_from_the_segments(tmp_path: Path, harm: str) -> None:
    context = a_context(tmp_path)
    path = tmp_path / "ledger" / "ledger.duckdb"
    ids = [act(context, number) for number in range(6)]
    quick_sealer(context).seal_waiting()
    older = path.read_bytes()
    ids += [act(context, number) for number in range(6, 20)]
    quick_sealer(context).seal_waiting()
    match harm:
        case "missing":
            path.unlink()
        case "garbage":
            path.write_bytes(b"not a database" * 1000)
        case "older":
            path.write_bytes(older)
        case "torn pages":
            content = bytearray(path.read_bytes())
            content[len(content) // 3 :] = b"\0" * len(content[len(content) // 3 :])
            path.write_bytes(content)
        case "other rows":
            with duckdb.connect(str(path)) as connection:
                connection.execute("UPDATE events SET leaf_hash = 'x'::BLOB WHERE seq = 3")
        case "other shape":
            with duckdb.connect(str(path)) as connection:
                connection.execute("ALTER TABLE events ADD COLUMN surprise INTEGER")
    sealer = quick_sealer(context)
    act(context, 21)
    sealer.start()
    try:
        eventually(lambda: sealer.ledger is not None and sealer.status.size == 21)
        assert sealer.ledger is not None
        assert [row[0] for row in sealer.ledger.query("SELECT event_id FROM events ORDER BY seq")][:20] == ids
    finally:
        sealer.stop()
    assert verify_home(tmp_path).events == 21


def test_a_query_that_meets_damage_has_the_index_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = a_context(tmp_path)
    sealer = quick_sealer(context)
    sealer.start()
    try:
        wait_sealed(context.database, act(context), 10)
        damaged = sealer.ledger
        assert damaged is not None

        class Broken:
            def cursor(self) -> None:
                raise duckdb.FatalException("the database has been invalidated")

            def close(self) -> None:
                return None

        real, damaged._connection = damaged._connection, Broken()
        with pytest.raises(Unavailable, match="being made again"):
            damaged.query("SELECT 1")
        real.close()
        eventually(lambda: sealer.ledger not in (None, damaged))
        wait_sealed(context.database, act(context, 2), 10)
    finally:
        sealer.stop()


def test_closed_stretches_are_copied_where_others_can_query_them(tmp_path: Path) -> None:
    context = a_context(tmp_path / "home", ledger_url=str(tmp_path / "shared"))
    for number in range(20):
        act(context, number)
    quick_sealer(context).seal_waiting()
    act(context, 21)
    quick_sealer(context).seal_waiting()
    seqs = duckdb.sql(f"SELECT seq FROM '{tmp_path}/shared/parquet/*.parquet' ORDER BY seq").fetchall()
    assert [seq for (seq,) in seqs] == list(range(1, 17))
    report = verify_home(tmp_path / "shared")
    assert (report.ok, report.events) == (True, 16), report.reason


def test_a_copy_that_cannot_be_made_does_not_stop_the_sealing(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    context = a_context(tmp_path / "home", ledger_url=str(tmp_path / "a file" / "shared"))
    for number in range(9):
        act(context, number)
    assert quick_sealer(context).seal_waiting() == 9


def test_a_home_has_one_web_process(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    lock = hold_web_lock(context.settings)
    with pytest.raises(Conflict, match="Another workbench already serves the pages"):
        hold_web_lock(context.settings)
    lock.release()
    hold_web_lock(context.settings).release()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import sys; from pathlib import Path; from workbench.audit.locks import FileLock; "
        "assert FileLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    lock = FileLock(path)
    assert not lock.acquire()
    assert lock.holder() == str(child.pid)
    child.kill()
    child.wait()
    assert lock.acquire()


def test_marking_again_keeps_the_first_number(tmp_path: Path) -> None:
    context = a_context(tmp_path)
    event_id = act(context)
    outbox = Outbox(context.database)
    rows = outbox.unsealed(5)
    outbox.mark_sealed(rows, {event_id: 1})
    outbox.mark_sealed(rows, {event_id: 99})
    assert outbox.sealed_seq(event_id) == 1
