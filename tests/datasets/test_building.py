"""Which responses become rows, and which do not."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.annotation.factories import START, make_queue, make_trace
from tests.datasets.factories import TOPICS, FakeEmbedder, annotated, answer
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, InvalidInput, NotAllowed
from workbench.datasets.builder import collect
from workbench.datasets.models import DatasetVersion
from workbench.datasets.queries import examples
from workbench.datasets.settings import BuildSettings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.prompts.assemble import Passage, assemble_prompt
from workbench.prompts.content import STARTER
from workbench.traces.models import Trace

Someone = Callable[..., Actor]


def prompt_of(trace: Trace) -> str:
    return f"Question: {trace.input}\nAnswer:"


def build(services: Services, project: Project, engineer: Actor, settings: BuildSettings) -> DatasetVersion:
    return services.datasets.build(engineer, project.id, settings, name="set", prompt_of=prompt_of, embedder=FakeEmbedder())


def reasons(services: Services, project: Project, settings: BuildSettings) -> list[str]:
    with services.context.database.session() as session:
        return sorted({each.reason for each in collect(session, project.id, settings, prompt_of).excluded})


def test_a_triage_row_is_the_question_and_its_team_with_its_origin(
    services: Services, project: Project, someone: Someone
) -> None:
    ana = someone(Role.ANNOTATOR)
    items = annotated(services, project, ana)
    version = build(services, project, someone(Role.ENGINEER), BuildSettings("triage"))
    with services.context.database.session() as session:
        rows = examples(session, version.id)
    assert [row.content for row in rows] == [{"text": text, "label": team} for text, team in TOPICS]
    assert [row.trace_id for row in rows] == [item.trace_id for item in items]
    assert {row.person_id for row in rows} == {ana.id}
    assert version.rows == version.train_rows + version.validation_rows == 8


def test_a_rewrite_becomes_a_completion_after_the_very_prompt_that_serving_assembles(
    services: Services, project: Project, someone: Someone
) -> None:
    engineer, ana = someone(Role.ENGINEER), someone(Role.ANNOTATOR)
    _queue, (item,) = make_queue(services, project, 1)
    answer(services, ana, item, {"rating": 2, "rewrite": "It is 3 euro\n a month [fees-1]. "})
    prompt = services.prompts.create_version(engineer, project.id, name="assistant", content=STARTER)
    settings = BuildSettings("generation", prompt_version=prompt.content_hash)
    version = services.datasets.build(engineer, project.id, settings, name="answers", embedder=FakeEmbedder())
    with services.context.database.session() as session:
        (row,) = examples(session, version.id)
    question = "Question number 1: what is the fee of product 1?"
    expected = assemble_prompt(prompt.content, question, [Passage("fees-1", "Fees", "Product 1: 3 euro.")])
    assert row.content == {"prompt": expected, "completion": " It is 3 euro a month [fees-1]."}


def test_several_people_decide_by_majority_and_a_tie_is_left_out(
    services: Services, project: Project, someone: Someone
) -> None:
    _queue, (clear, tied) = make_queue(services, project, 2, min_submitted=3)
    people = [someone(Role.ANNOTATOR) for _ in range(3)]
    for person, label in zip(people, ("cards", "loans", "cards"), strict=True):
        answer(services, person, clear, {"rating": 3, "triage": label})
    for person, label in zip(people, ("cards", "loans"), strict=False):
        answer(services, person, tied, {"rating": 3, "triage": label})
    with services.context.database.session() as session:
        found = collect(session, project.id, BuildSettings("triage"), None)
    (row,) = found.rows
    assert (row.trace_id, row.content["label"], len(row.people)) == (clear.trace_id, "cards", 3)
    assert {each.reason for each in found.excluded} == {"people disagree: cards or loans"}


def test_an_adjudication_decides_a_tie(services: Services, project: Project, someone: Someone) -> None:
    _queue, (item,) = make_queue(services, project, 1, min_submitted=2)
    for label in ("cards", "loans"):
        answer(services, someone(Role.ANNOTATOR), item, {"rating": 3, "triage": label})
    services.annotation.adjudicate(someone(Role.EXPERT), item.id, question="triage", value="loans", reason="policy")
    with services.context.database.session() as session:
        (row,) = collect(session, project.id, BuildSettings("triage"), None).rows
    assert row.content["label"] == "loans"


def test_nobody_is_trained_on_without_consent(services: Services, project: Project, someone: Someone) -> None:
    _queue, (item,) = make_queue(services, project, 1)
    answer(services, someone(Role.ANNOTATOR), item, {"rating": 3, "triage": "cards"}, consent=False)
    assert reasons(services, project, BuildSettings("triage")) == ["no consent to training"]


@pytest.mark.parametrize(
    ("rating", "reason"),
    [(2, ["the model's own answer, which was rated 2"]), (4, []), (5, [])],
)
def test_the_models_own_text_is_only_learned_when_a_person_rated_it_good(
    services: Services, project: Project, someone: Someone, rating: int, reason: list[str]
) -> None:
    _queue, (item,) = make_queue(services, project, 1)
    answer(services, someone(Role.ANNOTATOR), item, {"rating": rating, "rewrite": "The fee of product 1 is unknown. "})
    assert reasons(services, project, BuildSettings("generation")) == reason


def test_machine_text_that_nobody_rated_is_refused(services: Services, project: Project, someone: Someone) -> None:
    from workbench.annotation.schema import Question

    questions = [Question("rewrite", "text", "Rewrite")]
    _queue, (own, proposed) = make_queue(services, project, 2, questions=questions)
    ana = someone(Role.ANNOTATOR)
    services.annotation.suggest(
        local_administrator(), proposed.id, question="rewrite", value="Three euro, says the model.", agent="v2"
    )
    answer(services, ana, own, {"rewrite": "the fee of product 1 is unknown"})
    answer(services, ana, proposed, {"rewrite": "Three euro, says the model."})
    assert reasons(services, project, BuildSettings("generation")) == [
        "a model's suggestion, which nobody rated",
        "the model's own answer, which nobody rated",
    ]


def test_good_answers_are_kept_only_when_asked_for_and_when_no_guard_rejected_them(
    services: Services, project: Project, someone: Someone
) -> None:
    good = make_trace(services, project, 1)
    rejected = make_trace(services, project, 2, guard=[{"rule": "citation_missing"}])
    _queue, items = make_queue(services, project, [good, rejected])
    for item in items:
        answer(services, someone(Role.ANNOTATOR), item, {"rating": 5})
    with services.context.database.session() as session:
        assert collect(session, project.id, BuildSettings("generation"), prompt_of).rows == []
        found = collect(session, project.id, BuildSettings("generation", keep_good_answers=True), prompt_of)
    assert [row.trace_id for row in found.rows] == [good]
    assert [each.reason for each in found.excluded] == ["rated good, but a guard rejected the answer"]


def test_duplicates_are_taken_once_and_conflicting_labels_not_at_all(
    services: Services, project: Project, someone: Someone
) -> None:
    texts = ["Same words", "same  words.", "Two teams", "Two teams!"]
    traces = [make_trace(services, project, n + 1, input=text) for n, text in enumerate(texts)]
    _queue, items = make_queue(services, project, traces)
    ana = someone(Role.ANNOTATOR)
    for item, label in zip(items, ("cards", "cards", "cards", "loans"), strict=True):
        answer(services, ana, item, {"rating": 3, "triage": label})
    with services.context.database.session() as session:
        found = collect(session, project.id, BuildSettings("triage"), None)
    assert [row.content["text"] for row in found.rows] == ["Same words"]
    assert sorted(each.reason for each in found.excluded) == [
        "a duplicate of an earlier example",
        "the same text has the labels cards and loans",
        "the same text has the labels cards and loans",
    ]


def test_filters_choose_by_date_language_person_rating_and_queue(
    services: Services, project: Project, someone: Someone
) -> None:
    traces = [make_trace(services, project, n, language=language) for n, language in ((1, "en"), (2, "es"), (3, "en"))]
    queue, items = make_queue(services, project, traces)
    ana, ben = someone(Role.ANNOTATOR), someone(Role.ANNOTATOR)
    for item, person, rating in zip(items, (ana, ana, ben), (1, 3, 5), strict=True):
        answer(services, person, item, {"rating": rating, "triage": "cards"})

    def chosen(**settings: object) -> list[str]:
        with services.context.database.session() as session:
            rows = collect(session, project.id, BuildSettings("triage", **settings), None).rows  # type: ignore[arg-type]
        return [row.trace_id for row in rows]

    second_day = START + timedelta(days=2)
    assert chosen(before=second_day) == traces[:1]
    assert chosen(since=second_day) == traces[1:]
    assert chosen(languages=("es",)) == [traces[1]]
    assert chosen(people=(ben.id,)) == [traces[2]]
    assert chosen(minimum_rating=3) == traces[1:]
    assert chosen(queue_ids=("another",)) == []
    assert chosen(queue_ids=(queue.id,)) == traces
    assert chosen(only_rewrites=True) == []


def test_one_end_user_cannot_fill_the_version(services: Services, project: Project, someone: Someone) -> None:
    traces = [make_trace(services, project, n, user_id="u", session_id=f"s{n}") for n in range(1, 5)]
    _queue, items = make_queue(services, project, traces)
    ana = someone(Role.ANNOTATOR)
    for item in items:
        answer(services, ana, item, {"rating": 3, "triage": "cards"})
    with services.context.database.session() as session:
        assert len(collect(session, project.id, BuildSettings("triage", max_per_user=2), None).rows) == 2


def test_an_undone_response_is_not_learned(services: Services, project: Project, someone: Someone) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    answer(services, ana, item, {"rating": 3, "triage": "cards"})
    services.annotation.undo(ana, queue.id)
    with pytest.raises(InvalidInput, match="nothing to learn"):
        build(services, project, someone(Role.ENGINEER), BuildSettings("triage"))


def test_the_same_content_is_not_built_twice_and_a_change_is_the_next_number(
    services: Services, project: Project, someone: Someone
) -> None:
    engineer, ana = someone(Role.ENGINEER), someone(Role.ANNOTATOR)
    annotated(services, project, ana)
    first = build(services, project, engineer, BuildSettings("triage"))
    with pytest.raises(Conflict, match="Nothing has changed"):
        build(services, project, engineer, BuildSettings("triage"))
    second = build(services, project, engineer, BuildSettings("triage", validation_share=0.4))
    assert (first.number, second.number, second.previous_id) == (1, 2, first.id)


def test_building_takes_the_role(services: Services, project: Project, someone: Someone) -> None:
    annotated(services, project, someone(Role.ANNOTATOR))
    with pytest.raises(NotAllowed):
        build(services, project, someone(Role.ANNOTATOR), BuildSettings("triage"))


@pytest.mark.parametrize(
    "bad",
    [
        {"task": "poetry"},
        {"task": "triage", "validation_share": 0.9},
        {"task": "triage", "max_per_user": 0},
        {"task": "triage", "since": "2026-02-01T00:00:00+00:00", "before": "2026-01-01T00:00:00+00:00"},
        {"task": "triage", "mood": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        BuildSettings.from_json(bad)


def test_settings_survive_storage() -> None:
    settings = BuildSettings("generation", languages=("en",), before=START, minimum_rating=2)
    assert BuildSettings.from_json(settings.as_json()) == settings
