from collections.abc import Callable

import pytest
from sqlmodel import select

from tests.golden.factories import answer_row, jsonl, triage_row
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, InvalidInput, NotAllowed
from workbench.core.recording import AuditOutbox
from workbench.golden import queries
from workbench.golden.formats import set_hash
from workbench.golden.leaks import find_leaks
from workbench.golden.models import GoldenSet
from workbench.identity.models import Project

Someone = Callable[..., Actor]


def _imported(services: Services, project: Project, actor: Actor, *rows: dict[str, object], name: str = "Triage") -> GoldenSet:
    return services.golden.import_jsonl(actor, project.id, name=name, task="triage", data=jsonl(*rows))


def test_an_import_freezes_version_1_and_is_recorded(services: Services, project: Project, someone: Someone) -> None:
    golden = _imported(services, project, someone(Role.ENGINEER), triage_row(), triage_row("Where is my loan?", "loans"))
    assert (golden.number, golden.size, golden.frozen) == (1, 2, True)
    with services.context.database.session() as session:
        cases = queries.cases(session, golden.id)
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "golden.frozen")).one()
    assert [case.content["label"] for case in cases] == ["cards", "loans"]
    assert golden.content_hash == set_hash("triage", [case.case_hash for case in cases]) == event.details["content_hash"]


def test_importing_the_same_content_again_returns_the_same_version(
    services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER)
    first = _imported(services, project, actor, triage_row())
    assert _imported(services, project, actor, triage_row()).id == first.id
    changed = _imported(services, project, actor, triage_row(label="loans"))
    assert (changed.number, changed.previous_id) == (2, first.id)
    with services.context.database.session() as session:
        assert queries.cases(session, first.id)[0].content["label"] == "cards"


def test_a_repeated_command_makes_one_version(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    first = _imported(services, project, actor, triage_row())
    again = [
        services.golden.add_case(actor, first.id, content={"text": "Pay my loan", "label": "loans"}, command_id="one").id
        for _ in range(2)
    ]
    assert again[0] == again[1]


def test_a_bad_line_is_named_by_number_and_nothing_is_stored(services: Services, project: Project, someone: Someone) -> None:
    data = jsonl(triage_row()) + '\n\n{"text": "no label"}\n{broken\n'
    with pytest.raises(InvalidInput, match=r"2 of 3 lines.*Line 3: \"label\" is missing.*Line 4: no JSON"):
        services.golden.import_jsonl(someone(Role.ENGINEER), project.id, name="Triage", task="triage", data=data)
    with services.context.database.session() as session:
        assert queries.list_sets(session, project.id) == []


@pytest.mark.parametrize("data", [b"\xff\xfe", "", "   \n", "[]", '"text"', '{"text": "a", "label": "b", "odd": [1]}'])
def test_a_file_that_holds_no_cases_is_refused(
    services: Services, project: Project, someone: Someone, data: bytes | str
) -> None:
    with pytest.raises(InvalidInput):
        services.golden.import_jsonl(someone(Role.ENGINEER), project.id, name="Triage", task="triage", data=data)


def test_the_same_text_twice_is_a_bad_line(services: Services, project: Project, someone: Someone) -> None:
    with pytest.raises(InvalidInput, match="Line 2: the same text as in line 1"):
        _imported(services, project, someone(Role.ENGINEER), triage_row("Lost card"), triage_row("lost  CARD"))


def test_adding_to_an_old_version_is_a_conflict(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    first = _imported(services, project, actor, triage_row())
    second = services.golden.add_case(actor, first.id, content={"text": "Pay my loan", "label": "loans"})
    assert (second.number, second.size) == (2, 2)
    with pytest.raises(Conflict, match="newer version"):
        services.golden.add_case(actor, first.id, content={"text": "Another", "label": "loans"})


def test_a_case_is_removed_in_a_new_version_and_only_with_a_reason(
    services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER)
    first = _imported(services, project, actor, triage_row(), triage_row("Pay my loan", "loans"))
    with services.context.database.session() as session:
        case = queries.cases(session, first.id)[0]
    with pytest.raises(InvalidInput, match="why"):
        services.golden.remove_case(actor, first.id, case.id, reason=" ")
    second = services.golden.remove_case(actor, first.id, case.id, reason="The product is gone")
    with services.context.database.session() as session:
        assert [row.content["text"] for row in queries.cases(session, second.id)] == ["Pay my loan"]
        assert len(queries.cases(session, first.id)) == 2


def test_an_annotator_may_not_make_a_golden_set(services: Services, project: Project, someone: Someone) -> None:
    with pytest.raises(NotAllowed):
        _imported(services, project, someone(Role.ANNOTATOR), triage_row())


def test_a_name_keeps_its_task(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    _imported(services, project, actor, triage_row(), name="Gate")
    with pytest.raises(Conflict, match="task triage"):
        services.golden.import_jsonl(actor, project.id, name="Gate", task="answers", data=jsonl(answer_row()))


def test_training_text_that_holds_an_old_versions_case_is_found(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    _imported(services, project, actor, triage_row("Somebody used my card in a shop that I have never seen before"))
    _imported(services, project, actor, triage_row("Other"))
    training = ["Somebody stole my card", "Question: somebody used MY card in a shop that I have visited\nAnswer:"]
    with services.context.database.session() as session:
        leaks = find_leaks(training, queries.texts(session, project.id))
    assert [(leak.position, leak.shared) for leak in leaks] == [(1, "somebody used my card in a shop that")]
