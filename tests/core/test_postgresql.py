"""The core on a real PostgreSQL: what SQLite does by having one writer has to hold here by locks."""

import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import StatementError
from sqlmodel import SQLModel, select

from tests.core.postgres import PostgreSQLMissing, Server, running
from tests.releases.factories import Bank
from workbench.audit.outbox import Outbox, wait_sealed
from workbench.bootstrap import Services, bootstrap
from workbench.core import jobs
from workbench.core.actors import Permission, process_actor
from workbench.core.clock import now
from workbench.core.database import TRACES
from workbench.core.errors import Conflict, NotFound, Unavailable
from workbench.core.jobs import Job, JobState, LostLease, enqueue, metrics_of
from workbench.core.migrate import migrate
from workbench.core.recording import AuditOutbox, TraceOutbox
from workbench.core.settings import Settings
from workbench.core.unit_of_work import CommandReceipt
from workbench.identity import signatures
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.lineage.reach import reach_of_person
from workbench.releases.service import ReleaseService

WORKER = process_actor("worker", Permission.RUN_JOBS)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    try:
        with running() as started:
            yield started
    except PostgreSQLMissing as error:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def template(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with all tables, to copy."""
    name = server.new_database()
    services = bootstrap(settings=Settings(home=tmp_path_factory.mktemp("template"), database_url=server.url(name)))
    services.context.database.create_all()
    services.context.database.dispose()
    return name


@pytest.fixture
def services(server: Server, template: str, tmp_path: Path) -> Iterator[Services]:
    name = server.new_database(template)
    made = bootstrap(settings=Settings(home=tmp_path / "home", database_url=server.url(name)))
    yield made
    made.context.database.dispose()
    server.drop(name)


def queued(services: Services, project: Project, number: int = 1) -> list[str]:
    with services.context.unit_of_work(local_administrator()) as work:
        return [enqueue(work, kind="tune", title=f"Tune {i}", spec={}, project_id=project.id).id for i in range(number)]


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """What acts that begin together return or raise."""
    outcomes: list[Any] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = acts[index]()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def test_every_table_is_made_and_the_traces_have_a_schema_of_their_own(services: Services) -> None:
    found = inspect(services.context.database.reading)
    for schema in (None, TRACES):
        wanted = {table.name for table in SQLModel.metadata.tables.values() if table.schema == schema}
        assert wanted <= set(found.get_table_names(schema=schema))


def test_migrations_make_the_same_columns_as_the_models(server: Server, tmp_path: Path) -> None:
    name = server.new_database()
    made = bootstrap(settings=Settings(home=tmp_path / "migrated", database_url=server.url(name)))
    try:
        migrate(made.context.database)
        assert migrate(made.context.database)[0] is not None
        found = inspect(made.context.database.reading)
        for table in SQLModel.metadata.tables.values():
            columns = {column["name"] for column in found.get_columns(table.name, schema=table.schema)}
            assert columns == {column.name for column in table.columns}, table.name
    finally:
        made.context.database.dispose()
        server.drop(name)


def test_a_change_and_its_event_are_there_together_or_not_at_all(services: Services) -> None:
    def add(key: str, *, fail: bool) -> None:
        with services.context.unit_of_work(local_administrator()) as work:
            project = Project(key=key, name=key)
            work.add(project)
            work.record("identity.project_added", subject=project, project_id=project.id)
            if fail:
                raise RuntimeError("the process dies here")

    add("kept", fail=False)
    with pytest.raises(RuntimeError):
        add("lost", fail=True)
    with services.context.database.session() as session:
        assert session.exec(select(Project.key)).all() == ["kept"]
        assert len(session.exec(select(AuditOutbox)).all()) == 1


def test_rows_that_were_read_stay_usable_after_the_session(services: Services, project: Project) -> None:
    with services.context.database.session() as session:
        found = session.exec(select(Project)).one()
    assert found.teams[0]["key"] == "cards"


def test_a_command_that_is_delivered_many_times_at_once_is_carried_out_once(services: Services) -> None:
    def command() -> str:
        with services.context.unit_of_work(local_administrator()) as work:
            done = work.once("click")
            if done is not None:
                return str(done["id"])
            project = Project(key="once", name="Once")
            work.add(project)
            work.record("identity.project_added", subject=project)
            work.remember(id=project.id)
            return project.id

    outcomes = at_once([command] * 8)
    assert len(set(outcomes)) == 1
    with services.context.database.session() as session:
        assert len(session.exec(select(Project)).all()) == 1
        assert len(session.exec(select(CommandReceipt)).all()) == 1


def test_traces_are_written_to_their_schema_with_an_outbox_of_their_own(services: Services) -> None:
    with services.context.trace_unit_of_work(local_administrator()) as work:
        assert work.once("trace command") is None
        work.record("traces.tagged", subject=("trace", "t1"), tag="wrong")
        work.remember(trace="t1")
    with services.context.database.session() as session:
        assert [row.details for row in session.exec(select(TraceOutbox))] == [{"tag": "wrong"}]
        assert session.exec(select(AuditOutbox)).all() == []
        count = session.execute(text("SELECT count(*) FROM traces.trace_outbox")).scalar_one()
        assert count == 1
    with services.context.trace_unit_of_work(local_administrator()) as work:
        assert work.once("trace command") == {"trace": "t1"}


def test_the_outbox_seals_once_and_whoever_waits_sees_it(services: Services) -> None:
    with services.context.unit_of_work(local_administrator()) as work:
        event = work.record("core.tested", subject=("test", "1"))
    with services.context.trace_unit_of_work(local_administrator()) as work:
        traced = work.record("traces.tagged", subject=("trace", "t1"))
    database = services.context.database
    outbox = Outbox(database)
    with pytest.raises(Unavailable):
        wait_sealed(database, event, timeout=0.0)
    rows = outbox.unsealed(10)
    assert [row.id for row in rows] == [event, traced]
    outbox.mark_sealed(rows, {event: 1, traced: 2})
    outbox.mark_sealed(rows, {event: 7, traced: 8})
    assert (wait_sealed(database, event), wait_sealed(database, traced)) == (1, 2)
    assert outbox.unsealed(10) == []
    assert outbox.last_sealed() == 2
    outbox.mark_checkpoint(2, after=0)
    assert outbox.prune() == 0
    with pytest.raises(NotFound):
        wait_sealed(database, "unknown")


def test_an_event_of_a_transaction_that_commits_late_is_not_passed_over(services: Services) -> None:
    """Transactions do not commit in the order in which their ids were made."""
    first_open, second_done = threading.Event(), threading.Event()
    ids: list[str] = []

    def slow() -> None:
        with services.context.unit_of_work(local_administrator()) as work:
            ids.append(work.record("core.slow", subject=("test", "1")))
            work.session.flush()
            first_open.set()
            assert second_done.wait(30)

    thread = threading.Thread(target=slow)
    thread.start()
    assert first_open.wait(30)
    with services.context.unit_of_work(local_administrator()) as work:
        fast = work.record("core.fast", subject=("test", "2"))
    outbox = Outbox(services.context.database)
    rows = outbox.unsealed(10)
    assert [row.id for row in rows] == [fast]
    outbox.mark_sealed(rows, {fast: 1})
    second_done.set()
    thread.join()
    assert [row.id for row in outbox.unsealed(10)] == ids


def test_times_come_back_in_utc_and_naive_ones_are_refused(services: Services) -> None:
    moment = datetime(2026, 3, 29, 2, 30, 15, 123456, tzinfo=timezone(timedelta(hours=7)))
    with services.context.unit_of_work(local_administrator()) as work:
        work.add(Project(id="p", key="times", name="x", created_at=moment))
    with services.context.database.session() as session:
        found = session.exec(select(Project)).one().created_at
        assert found == moment
        assert found.tzinfo == UTC
        assert session.exec(select(Project).where(Project.created_at <= moment)).one().id == "p"
    with pytest.raises(StatementError, match="aware"), services.context.unit_of_work(local_administrator()) as work:
        work.add(Project(key="naive", name="x", created_at=datetime(2026, 1, 1)))  # noqa: DTZ001


@pytest.mark.parametrize(
    "value",
    [
        {"words": "ñ ế 漢字 😀 \\ \" ' %s :x"},
        {"deep": [{"a": [1, 2.5, None, True]}], "empty": {}, "big": 2**53 - 1, "small": 1e-9},
    ],
)
def test_json_comes_back_as_it_was_stored(services: Services, project: Project, value: dict[str, Any]) -> None:
    with services.context.unit_of_work(local_administrator()) as work:
        job = enqueue(work, kind="tune", title="x", spec=value, project_id=project.id)
    with services.context.database.session() as session:
        assert session.exec(select(Job).where(Job.id == job.id)).one().spec == value


def test_of_many_workers_each_gets_another_job_and_none_waits(services: Services, project: Project) -> None:
    wanted = queued(services, project, 6)
    outcomes = at_once([lambda i=i: services.jobs.claim(WORKER, f"w{i}", ["tune"]) for i in range(8)])
    claimed = [outcome.id for outcome in outcomes if isinstance(outcome, Job)]
    assert sorted(claimed) == sorted(wanted)
    assert outcomes.count(None) == 2


def test_a_job_that_somebody_holds_locked_is_skipped(services: Services, project: Project) -> None:
    first, second = queued(services, project, 2)
    with services.context.unit_of_work(WORKER) as work:
        work.get(Job, first, lock=True)
        claimed = services.jobs.claim(WORKER, "other", ["tune"])
        assert claimed is not None
        assert claimed.id == second


def test_a_lost_worker_that_wakes_up_changes_nothing(services: Services, project: Project) -> None:
    queued(services, project)
    old = services.jobs.claim(WORKER, "old", ["tune"])
    assert old is not None
    with services.context.unit_of_work(WORKER) as work:
        row = work.get(Job, old.id)
        row.lease_until = now() - timedelta(seconds=1)
        work.add(row)
    new = services.jobs.claim(WORKER, "new", ["tune"])
    assert new is not None
    assert (new.id, new.fence) == (old.id, old.fence + 1)
    with pytest.raises(LostLease):
        services.jobs.finish(WORKER, old.id, old.fence, JobState.SUCCEEDED, result={"stolen": True})
    assert not services.jobs.heartbeat(WORKER, new.id, new.fence, progress={"done": 1, "total": 2})
    services.jobs.add_metrics(WORKER, new.id, new.fence, [("loss", 1, 2.5), ("loss", 1, 2.25)])
    services.jobs.finish(WORKER, new.id, new.fence, JobState.SUCCEEDED, result={"ok": True})
    with services.context.database.session() as session:
        row = session.exec(select(Job)).one()
        assert (row.state, row.result) == ("succeeded", {"ok": True})
        assert [point.value for point in metrics_of(session, new.id)] == [2.25]


def test_a_fenced_write_and_a_takeover_at_the_same_time_never_both_count(services: Services, project: Project) -> None:
    for _ in range(5):
        (job_id,) = queued(services, project)
        old = services.jobs.claim(WORKER, "old", ["tune"])
        assert old is not None
        with services.context.unit_of_work(WORKER) as work:
            row = work.get(Job, job_id)
            row.lease_until = now() - timedelta(seconds=1)
            work.add(row)
        finished, taken = at_once(
            [
                lambda: services.jobs.finish(WORKER, job_id, old.fence, JobState.SUCCEEDED),  # noqa: B023
                lambda: services.jobs.claim(WORKER, "new", ["tune"]),
            ]
        )
        assert isinstance(finished, LostLease) == isinstance(taken, Job)
        if isinstance(taken, Job):
            services.jobs.finish(WORKER, job_id, taken.fence, JobState.SUCCEEDED)


def test_the_same_key_twice_is_a_conflict_in_words(services: Services, project: Project) -> None:
    with pytest.raises(Conflict, match="already"):
        services.identity.add_project(local_administrator(), key=project.key, name="Again")


def test_heartbeats_of_a_process_replace_each_other(services: Services) -> None:
    for state in ("ok", "busy"):
        jobs.beat(services.context, "web", 1, now(), state=state)
    with services.context.database.session() as session:
        assert [row.state for row in session.exec(select(jobs.ProcessHeartbeat))] == ["busy"]


def test_a_release_goes_live_and_back_and_of_rivals_one_wins(
    services: Services, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "_derive", lambda password, salt: (password.encode() + salt).ljust(32, b".")[:32])
    monkeypatch.setattr(ReleaseService, "sealing_seconds", 0.0)
    bank = Bank(services, project)
    first = bank.release_first(triage_adapter=bank.add_adapter("triage"))
    rivals = []
    for number in range(3):
        rival = bank.propose(
            bank.configuration(prompt_version=bank.add_prompt(f"Prompt {number}."), triage_adapter=bank.live().triage_adapter),
            despite="x",
        )
        bank.approve(rival, justification="x")
        rivals.append(rival)
    outcomes = at_once([lambda rival=rival: bank.promote(rival) for rival in rivals])
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 2
    assert bank.live().release_id in {rival.id for rival in rivals}
    bank.rollback()
    assert bank.live().release_id == first.id


def test_who_is_behind_an_example_is_found_in_json(services: Services, project: Project) -> None:
    with services.context.database.session() as session:
        assert reach_of_person(session, services.context.settings, project.id, "somebody").examples == []
