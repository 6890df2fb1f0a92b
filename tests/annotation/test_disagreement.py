"""How far annotators are apart, kept with the item, and traces in that order."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotation.factories import make_queue, make_trace
from workbench.annotation.disagreement import disagreement, fill, ranking
from workbench.annotation.models import QueueItem
from workbench.annotation.schema import FLAG_OPTIONS, Question, Values
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import InvalidInput
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces.queries import TraceFilter, get_trace, list_traces, neighbours

QUESTIONS = [
    Question("rating", "rating", "How good?", lowest=1, highest=5),
    Question("triage", "label", "Team?", options=[{"value": "cards", "title": "C"}, {"value": "loans", "title": "L"}]),
    Question("flags", "multilabel", "Wrong?", options=FLAG_OPTIONS),
    Question("rewrite", "text", "Better?"),
]
some_answers = st.fixed_dictionaries(
    {},
    optional={
        "rating": st.integers(1, 5),
        "triage": st.sampled_from(["cards", "loans"]),
        "flags": st.lists(st.sampled_from([one["value"] for one in FLAG_OPTIONS]), min_size=1, unique=True),
        "rewrite": st.text(min_size=1, max_size=5),
    },
)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([{"rating": 1}, {"rating": 5}], 1.0),
        ([{"rating": 2}, {"rating": 3}], 0.25),
        ([{"rating": 1}, {"rating": 1}, {"rating": 5}], 2 / 3),
        ([{"triage": "cards", "rating": 3}, {"triage": "loans", "rating": 3}], 0.5),
        ([{"flags": ["unsafe", "language"]}, {"flags": ["unsafe"]}], 0.5),
        ([{"rewrite": "a"}, {"rewrite": "b"}], None),
        ([{"rating": 1}, {"triage": "cards"}], None),
        ([{"rating": 1}], None),
        ([], None),
    ],
)
def test_disagreement_is_the_mean_distance_of_two_answers(answers: list[Values], expected: float | None) -> None:
    assert disagreement(QUESTIONS, answers) == (None if expected is None else pytest.approx(expected))


@given(st.lists(some_answers, max_size=5), st.randoms(use_true_random=False))
def test_disagreement_lies_between_nothing_and_one_and_knows_no_order(answers: list[Values], random: st.DataObject) -> None:
    found = disagreement(QUESTIONS, answers)
    mixed = list(answers)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    again = disagreement(QUESTIONS, mixed)
    if found is None:
        assert again is None
    else:
        assert 0 <= found <= 1
        assert again == pytest.approx(found)
        assert disagreement(QUESTIONS, [answers[0], answers[0]]) in (None, 0)


def _answer(services: Services, actor: Actor, item: QueueItem, **values: object) -> None:
    services.annotation.lease_item(actor, item.id)
    services.annotation.submit(actor, item.id, values)


def _order(services: Services, project: Project, **more: object) -> list[tuple[str, float]]:
    with services.context.database.session() as session:
        page = list_traces(session, project.id, sort=ranking(project.id), **more)  # type: ignore[arg-type]
        return [(row.trace_id, page.ranked[row.trace_id]) for row in page.rows]


def test_traces_that_people_disagree_on_come_first_and_those_of_one_person_are_left_out(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    queue, items = make_queue(services, project, 4, min_submitted=2)
    ana, ben = someone(Role.ANNOTATOR, name="Ana"), someone(Role.ANNOTATOR, name="Ben")
    for actor, ratings in ((ana, (3, 1, 2, 4)), (ben, (3, 5, 3))):
        for item, rating in zip(items, ratings, strict=False):
            _answer(services, actor, item, rating=rating)
    alike, far, near, _alone = (item.trace_id for item in items)
    assert _order(services, project) == [(far, 1.0), (near, 0.25), (alike, 0.0)]
    assert _order(services, project, filters=TraceFilter(user="user-3")) == [(near, 0.25)]
    with services.context.database.session() as session:
        first = list_traces(session, project.id, sort=ranking(project.id), limit=2, count=True)
        rest = list_traces(session, project.id, sort=ranking(project.id), limit=2, after=first.next)
        assert ([row.trace_id for row in rest.rows], rest.next, first.total) == ([alike], None, 4)
        trace = get_trace(session, project.id, near)
        assert neighbours(session, project.id, TraceFilter(), trace, sort=ranking(project.id)) == (far, alike)
        with pytest.raises(InvalidInput):
            list_traces(session, project.id, sort=ranking(project.id), after="nonsense")
    # Who takes an answer back, or changes it, is counted no more.
    services.annotation.undo(ben, queue.id)
    assert _order(services, project) == [(far, 1.0), (alike, 0.0)]
    _answer(services, ben, items[1], rating=1)
    assert dict(_order(services, project)) == {far: 0.0, alike: 0.0}


def test_of_a_trace_in_two_queues_the_higher_disagreement_counts(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    trace = make_trace(services, project)
    people = [someone(Role.ANNOTATOR, name=name) for name in ("Ana", "Ben")]
    for ratings in ((3, 4), (1, 5)):
        _, (item,) = make_queue(services, project, [trace], min_submitted=2)
        for actor, rating in zip(people, ratings, strict=True):
            _answer(services, actor, item, rating=rating)
    assert _order(services, project) == [(trace, 1.0)]


def test_items_answered_before_the_number_was_kept_are_given_theirs(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    _, items = make_queue(services, project, 2, min_submitted=2)
    for name, rating in (("Ana", 1), ("Ben", 3)):
        _answer(services, someone(Role.ANNOTATOR, name=name), items[0], rating=rating)
    with services.context.unit_of_work(local_administrator()) as work:
        item = work.get(QueueItem, items[0].id)
        item.disagreement = None
        work.add(item)
    assert _order(services, project) == []
    with services.context.database.writing.begin() as connection:
        assert fill(connection) == 1
        assert fill(connection) == 0
    assert _order(services, project) == [(items[0].trace_id, 0.5)]
