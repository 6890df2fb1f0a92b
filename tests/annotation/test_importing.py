"""Responses given elsewhere come in under the same rules, with their authors' names."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import select

from tests.annotation.factories import make_queue
from workbench.annotation.queries import progress, submitted, submitted_since
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import from_iso
from workbench.core.errors import NotAllowed
from workbench.core.recording import AuditOutbox
from workbench.identity.models import Person, Project
from workbench.identity.service import local_administrator

AT = "2026-10-01T09:00:00+00:00"


def add_annotator(services: Services, project: Project, name: str = "Ana") -> Person:
    admin = local_administrator()
    person = services.identity.add_person(admin, email=f"{name.lower()}@example.org", name=name, password="a long password")
    services.identity.grant(admin, person.id, Role.ANNOTATOR, project.id)
    return person


def row(of_trace: str, person: Person, **fields: Any) -> dict[str, Any]:
    return {"trace_id": of_trace, "person_id": person.id, "values": {"rating": 2}, "at": AT, **fields}


def test_imported_responses_count_and_carry_their_author_and_time(services: Services, project: Project) -> None:
    queue, items = make_queue(services, project, 2)
    ana = add_annotator(services, project)
    report = services.annotation.import_responses(
        local_administrator(),
        project.id,
        queue.id,
        [
            row(items[0].trace_id, ana, seconds=30),
            {**row(items[1].trace_id, ana), "person": "ana@example.org", "person_id": None},
        ],
    )
    assert (report.imported, report.present, report.problems) == (2, 0, [])
    with services.context.database.session() as session:
        responses = submitted(session, project.id)
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "annotation.response_submitted")).first()
        assert progress(session, [queue.id])[queue.id].done == 2
        assert submitted_since(session, project.id, ana.id, from_iso("2026-11-01T00:00:00+00:00")) == 0
    assert {response.person_id for response in responses} == {ana.id}
    assert responses[0].at == from_iso(AT)
    assert event is not None
    assert (event.actor_id, event.details["imported_by"]) == (ana.id, local_administrator().id)


def test_importing_twice_changes_nothing(services: Services, project: Project) -> None:
    queue, items = make_queue(services, project, 2)
    ana = add_annotator(services, project)
    rows = [row(item.trace_id, ana) for item in items]
    services.annotation.import_responses(local_administrator(), project.id, queue.id, rows)
    report = services.annotation.import_responses(local_administrator(), project.id, queue.id, rows)
    assert (report.imported, report.present) == (0, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": {"rating": 9}}, "9 is not a whole number"),
        ({"values": {}}, "Still open"),
        ({"trace_id": "f" * 32}, "not in the queue"),
        ({"at": "2026-10-01T09:00:00"}, "no UTC offset"),
        ({"at": "2999-01-01T00:00:00Z"}, "in the past"),
        ({"person_id": "nobody"}, "suspended"),
        ({"status": "draft"}, "no status"),
        ({"status": "flagged"}, "needs a reason"),
        ({"seconds": "long"}, "is a number"),
        ({"mood": 1}, "Unknown field mood"),
    ],
)
def test_a_row_that_cannot_be_used_is_reported_and_the_others_go_on(
    services: Services, project: Project, fields: dict[str, Any], message: str
) -> None:
    queue, (first, second) = make_queue(services, project, 2)
    ana = add_annotator(services, project)
    report = services.annotation.import_responses(
        local_administrator(), project.id, queue.id, [row(first.trace_id, ana, **fields), row(second.trace_id, ana)]
    )
    assert report.imported == 1
    assert len(report.problems) == 1
    assert report.problems[0].startswith("row 1: ")
    assert message in report.problems[0]


def test_a_person_without_the_role_is_refused_like_in_the_page(services: Services, project: Project) -> None:
    queue, (item,) = make_queue(services, project, 1)
    eve = services.identity.add_person(local_administrator(), email="eve@example.org", name="Eve", password="a long password")
    report = services.annotation.import_responses(local_administrator(), project.id, queue.id, [row(item.trace_id, eve)])
    assert "may not annotate" in report.problems[0]


def test_an_import_never_overwrites_a_later_act(services: Services, project: Project) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = add_annotator(services, project)
    admin = local_administrator()
    services.annotation.import_responses(admin, project.id, queue.id, [row(item.trace_id, ana, values={"rating": 5})])
    earlier = row(item.trace_id, ana, at="2026-09-01T00:00:00+00:00")
    assert "since then" in services.annotation.import_responses(admin, project.id, queue.id, [earlier]).problems[0]


def test_an_import_takes_more_than_a_queue_managers_role(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = add_annotator(services, project)
    with pytest.raises(NotAllowed):
        services.annotation.import_responses(someone(Role.ENGINEER), project.id, queue.id, [row(item.trace_id, ana)])
