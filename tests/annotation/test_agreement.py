"""Agreement between annotators, and the queues' own rules."""

from collections.abc import Callable

import pytest

from tests.annotation.factories import START, make_queue, make_trace
from workbench.annotation.agreement import NotEnoughOverlap, agreement, disagreements
from workbench.annotation.queries import SubmittedResponse, adjudications, suggestions_of
from workbench.annotation.schema import Question, default_questions, read_questions
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.identity.models import Project
from workbench.identity.service import local_administrator


def answers(table: dict[str, list[str | int | None]], question: str = "triage") -> list[SubmittedResponse]:
    return [
        SubmittedResponse(f"{person}-{item}", "q", f"i{item}", f"t{item}", person, {question: value}, START, True, 1.0)
        for person, row in table.items()
        for item, value in enumerate(row)
        if value is not None
    ]


def test_alpha_is_that_of_the_textbook() -> None:
    # Krippendorff, Computing Krippendorff's alpha-reliability (2011), the reliability data of section C:
    # four observers, twelve units, missing values; nominal alpha .743, ordinal .815.
    data = {
        "A": [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        "B": [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        "C": [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        "D": [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    }
    nominal = agreement(answers(data, "rating"), "rating", "nominal")
    assert nominal.alpha == pytest.approx(0.743, abs=0.001)
    assert nominal.low < nominal.alpha < nominal.high
    assert agreement(answers(data, "rating"), "rating", "ordinal").alpha == pytest.approx(0.815, abs=0.001)


def test_full_agreement_is_one_even_with_a_single_label() -> None:
    assert agreement(answers({"A": ["x", "x"], "B": ["x", "x"]}), "triage", "nominal").alpha == 1.0


def test_agreement_needs_two_items_that_two_people_answered() -> None:
    with pytest.raises(NotEnoughOverlap, match="there is one"):
        agreement(answers({"A": ["x", "y"], "B": ["x", None]}), "triage", "nominal")


def test_disagreements_name_the_item_and_who_said_what() -> None:
    found = disagreements(answers({"A": ["x", "y"], "B": ["x", "z"]}), "triage")
    assert [(each.trace_id, each.answers) for each in found] == [("t1", {"A": "y", "B": "z"})]


def test_the_latest_adjudication_counts_and_takes_an_expert(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    _queue, (item,) = make_queue(services, project, 1)
    expert = someone(Role.EXPERT)
    for value in ("cards", "loans"):
        services.annotation.adjudicate(expert, item.id, question="triage", value=value, reason="policy 3")
    with services.context.database.session() as session:
        assert adjudications(session, project.id, "triage")[item.trace_id].value == {"value": "loans"}
    with pytest.raises(NotAllowed):
        services.annotation.adjudicate(someone(Role.ANNOTATOR), item.id, question="triage", value="cards", reason="x")


def test_the_applications_own_label_becomes_a_suggestion(services: Services, project: Project) -> None:
    trace_id = make_trace(services, project, 1, triage_label="loans", release="v7")
    other = make_trace(services, project, 2, triage_label="not-a-team")
    _queue, (item, second) = make_queue(services, project, [trace_id, other])
    with services.context.database.session() as session:
        (suggestion,) = suggestions_of(session, item.id)
        assert suggestions_of(session, second.id) == []
    assert (suggestion.value, suggestion.agent, suggestion.kind) == ({"value": "loans"}, "v7", "model")


def test_the_surest_suggestion_comes_first_and_a_bad_one_is_refused(services: Services, project: Project) -> None:
    _queue, (item,) = make_queue(services, project, 1)
    admin = local_administrator()
    for agent, score in (("a", None), ("b", 0.4), ("c", 0.9)):
        services.annotation.suggest(admin, item.id, question="triage", value="cards", agent=agent, score=score)
    with services.context.database.session() as session:
        assert [each.agent for each in suggestions_of(session, item.id)] == ["c", "b", "a"]
    with pytest.raises(InvalidInput, match="not one of"):
        services.annotation.suggest(admin, item.id, question="triage", value="lottery", agent="a")


def test_a_trace_is_in_a_queue_once_and_must_exist(services: Services, project: Project) -> None:
    queue, (item,) = make_queue(services, project, 1)
    admin = local_administrator()
    assert services.annotation.add_items(admin, queue.id, [item.trace_id, item.trace_id]) == []
    with pytest.raises(NotFound, match="1 of 2 traces"):
        services.annotation.add_items(admin, queue.id, [item.trace_id, "e" * 32])


def test_a_queue_needs_a_name_of_its_own_and_somebody_who_may_make_it(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    engineer = someone(Role.ENGINEER)
    services.annotation.create_queue(engineer, project.id, name="Weekly")
    with pytest.raises(Conflict, match="Weekly"):
        services.annotation.create_queue(engineer, project.id, name=" Weekly ")
    with pytest.raises(InvalidInput):
        services.annotation.create_queue(engineer, project.id, name="")
    with pytest.raises(InvalidInput):
        services.annotation.create_queue(engineer, project.id, name="None", min_submitted=0)
    with pytest.raises(NotAllowed):
        services.annotation.create_queue(someone(Role.ANNOTATOR), project.id, name="Mine")


def test_questions_survive_storage_and_bad_ones_are_refused() -> None:
    questions = default_questions([{"key": "cards", "name": "Cards"}, {"key": "loans", "name": "Loans"}])
    assert read_questions([question.as_json() for question in questions]) == questions
    for bad in (
        Question("Rating!", "rating", "x"),
        Question("a", "label", "x", options=[{"value": "one"}]),
        Question("a", "rating", "x", lowest=5, highest=1),
        Question("a", "slider", "x"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            read_questions([bad.as_json()])
    with pytest.raises(InvalidInput):
        read_questions([])
