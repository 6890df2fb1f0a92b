"""Hashes, checks, freezing, export and differences."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import select

from tests.annotation.factories import make_queue, make_trace
from tests.datasets.factories import TOPICS, FakeEmbedder, SilentEmbedder, annotated, answer
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, IntegrityError, InvalidInput
from workbench.core.recording import AuditOutbox
from workbench.datasets.checks import Embedder, personal_data
from workbench.datasets.compare import compare
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.queries import by_hash, examples
from workbench.datasets.rows import leaf_of, root_hash, split_of
from workbench.datasets.settings import BuildSettings
from workbench.datasets.verify import verify
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

Someone = Callable[..., Actor]
GOLDEN = "How long does it take until a new card for a partner arrives by post"


def build(
    services: Services, project: Project, engineer: Actor, embedder: Embedder | None = None, **settings: object
) -> DatasetVersion:
    return services.datasets.build(
        engineer,
        project.id,
        BuildSettings("triage", **settings),  # type: ignore[arg-type]
        name="triage",
        embedder=embedder or FakeEmbedder(),
    )


def add_golden(services: Services, project: Project, question: str = GOLDEN) -> None:
    line = json.dumps({"text": question, "label": "cards", "tags": {"language": "en", "intent": "x"}})
    services.golden.import_jsonl(local_administrator(), project.id, name="gold", task="triage", data=line)


def check(version: DatasetVersion, name: str) -> dict[str, object]:
    return next(each for each in version.checks if each["name"] == name)


def test_two_builds_of_the_same_responses_have_one_hash(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    first = build(services, project, engineer)
    services.datasets.discard(engineer, first.id)
    second = build(services, project, engineer)
    assert first.content_hash == second.content_hash


def test_the_hash_is_the_root_over_the_stored_rows_and_names_the_frozen_version(
    services: Services, project: Project, someone: Someone
) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer)
    services.datasets.freeze(engineer, version.id, content_hash=version.content_hash)
    with services.context.database.session() as session:
        rows = examples(session, version.id)
        assert root_hash(row.leaf_hash for row in rows) == version.content_hash
        assert verify(session, version) == 8
        assert by_hash(session, project.id, version.content_hash).id == version.id


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE dataset_example SET content = json_set(content, '$.label', 'loans') WHERE position = 0",
        "UPDATE dataset_example SET leaf_hash = (SELECT leaf_hash FROM dataset_example WHERE position = 1) WHERE position = 0",
        "UPDATE dataset_example SET people = '[\"nobody\"]' WHERE position = 2",
        "UPDATE dataset_example SET split = 'validation' WHERE split = 'train'",
        "DELETE FROM dataset_example WHERE position = 3",
        "UPDATE dataset_example SET position = position + 100 WHERE position = 0",
    ],
)
def test_any_change_to_the_rows_is_found(services: Services, project: Project, someone: Someone, statement: str) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer)
    with services.context.database.writing.begin() as connection:
        connection.execute(text(statement))
    with services.context.database.session() as session, pytest.raises(IntegrityError):
        verify(session, version)
    with pytest.raises(IntegrityError):
        services.datasets.freeze(engineer, version.id, content_hash=version.content_hash)
    with pytest.raises(IntegrityError):
        services.datasets.export(engineer, version.id)


def test_an_erased_row_leaves_its_leaf_and_the_hash_still_holds(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer)
    with services.context.unit_of_work(local_administrator()) as work:
        erased = services.datasets.erase_traces(work, project.id, [f"{2:032x}"])
    assert erased == 1
    with services.context.database.session() as session:
        assert verify(session, version) == 8
        assert examples(session, version.id)[1].content == {}
    assert len(services.datasets.export(engineer, version.id).splitlines()) == 7


@settings(deadline=None)
@given(
    label=st.text(max_size=20),
    other=st.text(max_size=20),
    people=st.lists(st.text(min_size=1, max_size=8), max_size=3),
)
def test_a_leaf_names_everything_in_the_row(label: str, other: str, people: list[str]) -> None:
    def leaf(value: str, consent: bool = True) -> str:
        return leaf_of(
            content={"text": "x", "label": value}, trace_id="t", responses=["r"], people=people, consent=consent,
            language=None, split="train",
        )  # fmt: skip

    assert leaf(label) == leaf(label)
    assert (leaf(label) == leaf(other)) == (label == other)
    assert leaf(label) != leaf(label, consent=False)


@settings(deadline=None)
@given(session=st.text(min_size=1), traces=st.lists(st.text(), min_size=1), share=st.floats(0, 0.5))
def test_a_session_is_never_on_both_sides(session: str, traces: list[str], share: float) -> None:
    assert len({split_of(session, trace, share) for trace in traces}) == 1


@given(share=st.floats(0.1, 0.5))
@settings(deadline=None, max_examples=15)
def test_about_the_share_that_was_asked_for_is_held_out(share: float) -> None:
    held_out = sum(split_of(f"session {number}", "", share) == "validation" for number in range(2000)) / 2000
    assert abs(held_out - share) < 0.05


def test_a_row_that_shares_eight_words_with_a_golden_case_is_left_out(
    services: Services, project: Project, someone: Someone
) -> None:
    add_golden(services, project)
    annotated(services, project, someone(Role.ANNOTATOR))
    leaking = make_trace(services, project, 99, input="hello, how long does it take until a new card comes")
    _queue, (item,) = make_queue(services, project, [leaking])
    answer(services, someone(Role.ANNOTATOR), item, {"rating": 3, "triage": "cards"})
    version = build(services, project, someone(Role.ENGINEER))
    assert version.rows == 8
    assert check(version, "Golden text, word by word")["traces"] == [leaking]
    assert [each["trace_id"] for each in version.excluded] == [leaking]


def test_kept_leaks_stop_the_freeze_for_good(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    add_golden(services, project, TOPICS[0][0])
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer, exclude_leaks=False)
    with pytest.raises(Conflict, match="hold golden text"):
        services.datasets.freeze(engineer, version.id, content_hash=version.content_hash, reason="I want it anyway")


def test_a_golden_case_added_after_the_build_stops_the_freeze(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer)
    add_golden(services, project, TOPICS[0][0])
    with pytest.raises(Conflict, match="changed since the build"):
        services.datasets.freeze(engineer, version.id, content_hash=version.content_hash)


def test_a_near_duplicate_of_a_golden_case_is_left_out(services: Services, project: Project, someone: Someone) -> None:
    add_golden(services, project)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, someone(Role.ENGINEER), FakeEmbedder({TOPICS[2][0]: GOLDEN}))
    assert version.rows == 7
    assert "cosine 1.00" in version.excluded[0]["reason"]


def test_what_could_not_be_checked_takes_a_reason(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    add_golden(services, project)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer, SilentEmbedder())
    assert "Not checked" in str(check(version, "Golden text, by meaning")["text"])
    with pytest.raises(InvalidInput, match="takes a reason"):
        services.datasets.freeze(engineer, version.id, content_hash=version.content_hash)
    frozen = services.datasets.freeze(
        engineer, version.id, content_hash=version.content_hash, reason="Compared by hand on Monday"
    )
    assert frozen.frozen_reason == "Compared by hand on Monday"
    with services.context.database.session() as session:
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "datasets.frozen")).one()
    assert (event.reason, event.details["content_hash"]) == ("Compared by hand on Monday", version.content_hash)


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        ("Write to ana.lopez@example.org please", ["e-mail address"]),
        ("My card is 4111 1111 1111 1111", ["card number"]),
        ("The number 4111 1111 1111 1112 has a wrong check digit", []),
        ("Call me at +34 600 123 456", ["phone number"]),
        ("Account ES91 2100 0418 4502 0005 1332", ["account number"]),
        ("I paid 1,250.00 on 2026-10-03 at 14:05", []),
        ("Order 12345678", []),
    ],
)
def test_personal_data_is_recognised_by_its_form(said: str, kinds: list[str]) -> None:
    assert [kind for kind in personal_data(said) if kind != "card number" or "card number" in kinds] == kinds


def test_rows_with_personal_data_are_left_out_or_need_a_reason(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    trace = make_trace(services, project, 99, input="Please write to ana@example.org about my card")
    _queue, (item,) = make_queue(services, project, [trace])
    answer(services, someone(Role.ANNOTATOR), item, {"rating": 3, "triage": "cards"})
    assert build(services, project, engineer).rows == 8
    kept = build(services, project, engineer, exclude_personal_data=False)
    assert kept.rows == 9
    with pytest.raises(InvalidInput, match="personal data"):
        services.datasets.freeze(engineer, kept.id, content_hash=kept.content_hash)


def test_a_freeze_names_the_hash_that_was_seen_and_happens_once(services: Services, project: Project, someone: Someone) -> None:
    engineer = someone(Role.ENGINEER)
    annotated(services, project, someone(Role.ANNOTATOR))
    version = build(services, project, engineer)
    with pytest.raises(Conflict, match="another hash"):
        services.datasets.freeze(engineer, version.id, content_hash="sha256:" + "0" * 64)
    for _ in range(2):
        services.datasets.freeze(engineer, version.id, content_hash=version.content_hash)
    with services.context.database.session() as session:
        assert len(session.exec(select(AuditOutbox).where(AuditOutbox.type == "datasets.frozen")).all()) == 1
    with pytest.raises(Conflict, match="frozen version stays"):
        services.datasets.discard(engineer, version.id)


def test_an_export_is_json_lines_with_the_origin_when_asked_for_and_is_recorded(
    services: Services, project: Project, someone: Someone
) -> None:
    engineer, ana = someone(Role.ENGINEER), someone(Role.ANNOTATOR)
    annotated(services, project, ana)
    version = build(services, project, engineer)
    plain = [json.loads(line) for line in services.datasets.export(engineer, version.id).splitlines()]
    assert plain[0] == {"text": TOPICS[0][0], "label": "cards"}
    full = [json.loads(line) for line in services.datasets.export(engineer, version.id, origin=True).splitlines()]
    assert full[0]["people"] == [ana.id]
    assert {row["split"] for row in full} <= {"train", "validation"}
    with services.context.database.session() as session:
        assert len(session.exec(select(AuditOutbox).where(AuditOutbox.type == "datasets.exported")).all()) == 2


def test_a_difference_names_what_was_added_removed_and_changed(services: Services, project: Project, someone: Someone) -> None:
    engineer, ana = someone(Role.ENGINEER), someone(Role.ANNOTATOR)
    items = annotated(services, project, ana, count=3)
    older = build(services, project, engineer)
    services.annotation.lease_item(ana, items[0].id)
    services.annotation.submit(ana, items[0].id, {"rating": 2, "triage": "loans"})
    services.annotation.lease_item(ana, items[1].id)
    services.annotation.skip(ana, items[1].id)
    fresh = make_trace(services, project, 50, input="Something entirely new about cards")
    _queue, (item,) = make_queue(services, project, [fresh])
    answer(services, ana, item, {"rating": 3, "triage": "cards"})
    newer = build(services, project, engineer)
    with services.context.database.session() as session:
        found = compare(examples(session, older.id), examples(session, newer.id))
    assert [row.trace_id for row in found.added] == [fresh]
    assert [row.trace_id for row in found.removed] == [items[1].trace_id]
    assert [(old.content["label"], new.content["label"]) for old, new in found.changed] == [("cards", "loans")]
    assert found.same == 1


def test_a_stored_row_is_not_touched_by_later_responses(services: Services, project: Project, someone: Someone) -> None:
    engineer, ana = someone(Role.ENGINEER), someone(Role.ANNOTATOR)
    (item, *_rest) = annotated(services, project, ana, count=3)
    version = build(services, project, engineer)
    services.annotation.lease_item(ana, item.id)
    services.annotation.submit(ana, item.id, {"rating": 1, "triage": "loans"})
    with services.context.database.session() as session:
        assert session.exec(select(DatasetExample).where(DatasetExample.position == 0)).one().content["label"] == "cards"
        assert verify(session, version) == 3
