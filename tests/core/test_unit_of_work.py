import threading
from collections.abc import Callable

import pytest
from sqlmodel import select

from workbench.bootstrap import Services
from workbench.core.actors import Actor, Permission, Role
from workbench.core.errors import NotAllowed, NotFound
from workbench.core.recording import AuditOutbox, TraceOutbox
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

Make = Callable[..., Actor]


def events(services: Services) -> list[str]:
    with services.context.database.session() as session:
        return [row.type for row in session.exec(select(AuditOutbox).order_by(AuditOutbox.id))]


def test_a_change_and_its_event_are_committed_together(services: Services, project: Project) -> None:
    with services.context.unit_of_work(local_administrator()) as work:
        row = work.get(Project, project.id)
        row.name = "Renamed"
        work.add(row)
        work.record("identity.project_renamed", subject=row)
    with services.context.database.session() as session:
        assert session.get(Project, project.id).name == "Renamed"  # type: ignore[union-attr]
    assert events(services)[-1] == "identity.project_renamed"


def test_an_error_leaves_neither_change_nor_event(services: Services, project: Project) -> None:
    before = events(services)
    with pytest.raises(RuntimeError), services.context.unit_of_work(local_administrator()) as work:
        row = work.get(Project, project.id)
        row.name = "Half done"
        work.add(row)
        work.record("identity.project_renamed", subject=row)
        raise RuntimeError("the process dies here")
    with services.context.database.session() as session:
        assert session.get(Project, project.id).name == "Test bank"  # type: ignore[union-attr]
    assert events(services) == before


def test_events_of_the_traces_lie_in_the_traces_own_outbox(services: Services, project: Project) -> None:
    with services.context.trace_unit_of_work(local_administrator()) as work:
        work.record("traces.ingested", subject=("batch", "1"), project_id=project.id, spans=3)
    with services.context.database.session() as session:
        assert [row.details for row in session.exec(select(TraceOutbox))] == [{"spans": 3}]


def test_ingest_does_not_wait_for_a_unit_of_work_that_is_open(services: Services, project: Project) -> None:
    """Each writer locks its own file only; with one shared lock this would wait for ever."""
    with (
        services.context.unit_of_work(local_administrator()) as first,
        services.context.trace_unit_of_work(local_administrator()) as second,
    ):
        second.record("traces.ingested", subject=("batch", "1"), project_id=project.id)
        first.record("identity.noted", subject=("project", project.id))
    assert events(services)[-1] == "identity.noted"


def test_a_command_delivered_twice_is_done_once(services: Services) -> None:
    def command(command_id: str) -> str:
        with services.context.unit_of_work(local_administrator()) as work:
            if done := work.once(command_id):
                return str(done["id"])
            row = work.add(Project(key=f"p{len(events(services))}", name="Once"))
            work.record("identity.project_added", subject=row, project_id=row.id)
            work.remember(id=row.id)
            return row.id

    assert command("click-1") == command("click-1")
    assert command("click-2") != command("click-1")
    assert events(services).count("identity.project_added") == 2


def test_a_command_delivered_by_ten_threads_at_once_is_done_once(services: Services) -> None:
    results: list[str] = []

    def command() -> None:
        with services.context.unit_of_work(local_administrator()) as work:
            if done := work.once("click"):
                results.append(str(done["id"]))
                return
            row = work.add(Project(key="only", name="Once"))
            work.remember(id=row.id)
            results.append(row.id)

    threads = [threading.Thread(target=command) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 10
    assert len(set(results)) == 1


def test_a_permission_is_asked_for_in_the_project_of_the_row(services: Services, project: Project, someone: Make) -> None:
    expert = someone(Role.EXPERT)
    with services.context.unit_of_work(expert) as work:
        work.require(Permission.EDIT_KNOWLEDGE, project.id)
    with (
        pytest.raises(NotAllowed, match="may not edit knowledge"),
        services.context.unit_of_work(expert) as work,
    ):
        work.require(Permission.EDIT_KNOWLEDGE, "another-project")


def test_reading_takes_a_role_in_the_project(services: Services, project: Project, someone: Make) -> None:
    with services.context.reading(someone(Role.AUDITOR), project.id) as session:
        assert session.get(Project, project.id) is not None
    with pytest.raises(NotAllowed), services.context.reading(someone(), project.id):
        pass


def test_pages_cannot_write_through_their_session(services: Services, project: Project) -> None:
    with services.context.database.session() as session:
        row = session.get(Project, project.id)
        assert row is not None
        row.name = "Written by a page"
        session.add(row)
        with pytest.raises(Exception, match="readonly|read-only"):
            session.flush()
        session.rollback()


def test_a_missing_row_is_named_in_the_error(services: Services) -> None:
    with (
        pytest.raises(NotFound, match="no project with the id 'x'"),
        services.context.unit_of_work(local_administrator()) as work,
    ):
        work.get(Project, "x")
