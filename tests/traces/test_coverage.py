"""What comes in is counted once, what nobody reads is named, mapped by a person, and read again."""

import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from tests.traces.factories import request, span, turn
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import InvalidInput, NotAllowed, NotFound
from workbench.core.recording import TraceOutbox
from workbench.identity.models import Project
from workbench.traces import coverage, own_mapping, queries, remapping
from workbench.traces.coverage_models import SpanIntake, UnmappedAttribute
from workbench.traces.indexer import index_all
from workbench.traces.models import Feedback, Trace

Send = Callable[..., None]


@pytest.fixture
def send(services: Services, project: Project, key: Actor) -> Send:
    """Ingest spans and make them readable."""

    def sent(*spans: dict[str, Any], **given_: Any) -> None:
        services.traces.ingest_otlp(key, project.id, request(*spans, **given_))
        index_all(services.context)

    return sent


def unmapped(services: Services, project: Project) -> dict[str, int]:
    with services.context.database.session() as session:
        found: Counter[str] = Counter()
        for row in coverage.unmapped_attributes(session, project.id):
            found[row.name] += row.count
        return dict(found)


def trace_of(services: Services, project: Project, trace_id: str) -> Trace:
    with services.context.database.session() as session:
        return queries.get_trace(session, project.id, trace_id)


def test_spans_are_counted_once_however_often_their_trace_is_assembled(
    services: Services, project: Project, key: Actor, send: Send
) -> None:
    trace_id = secrets.token_hex(16)
    first = span({"acme.secret_sauce": "x", "openinference.span.kind": "LLM"}, trace_id=trace_id)
    second = span({"acme.secret_sauce": "y", "acme.items.0.name": 1, "acme.items.17.name": 2}, trace_id=trace_id)
    send(first)
    send(first, second)
    services.traces.tag(_admin(), project.id, [trace_id], "again")
    assert unmapped(services, project) == {"acme.secret_sauce": 2, "acme.items.N.name": 1}
    with services.context.database.session() as session:
        rows = session.exec(select(SpanIntake)).all()
        (named,) = [row for row in session.exec(select(UnmappedAttribute)) if row.dialect == "openinference"]
        senders = coverage.senders(session, project.id)
        days = coverage.spans_by_day(session, project.id)
    assert {(row.dialect, row.sender, row.scope, row.spans) for row in rows} == {
        ("openinference", "app", "tests", 1),
        ("otlp", "app", "tests", 1),
    }
    assert (named.name, named.example_trace_id) == ("acme.secret_sauce", trace_id)
    assert {one.sender for one in senders} == {"app"}
    assert sum(spans for _, _, spans in days) == 2


def _admin() -> Actor:
    from workbench.identity.service import local_administrator

    return local_administrator()


def test_what_a_known_convention_says_is_not_listed(services: Services, project: Project, send: Send) -> None:
    send(*turn(secrets.token_hex(16), "q", "a"))
    assert unmapped(services, project) == {}


def test_a_sender_that_invents_names_does_not_fill_the_table(
    services: Services, project: Project, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "MOST_NAMES", 3)
    for word in "abcdefgh":
        send(span({f"made.up.{word}": 1}))
    found = unmapped(services, project)
    assert len(found) == 4
    assert found[coverage.OTHERS] == 5


@given(st.text(max_size=300))
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert coverage.folded(coverage.folded(name)) == coverage.folded(name)


def test_ids_in_names_are_folded() -> None:
    assert coverage.folded("llm.foo.12.bar") == "llm.foo.N.bar"
    assert coverage.folded("by_case.4bf92f3577b34da6a3ce929d0e0e4736.score") == "by_case.N.score"
    assert coverage.folded("gen_ai.usage.input_tokens") == "gen_ai.usage.input_tokens"


def test_a_mapped_attribute_is_read_for_old_and_new_traces(
    services: Services, project: Project, someone: Callable[..., Actor], send: Send
) -> None:
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    send(span({"acme.user_says": "Where is it?", "acme.bot_says": "Here."}, trace_id=old))
    assert trace_of(services, project, old).input == ""
    engineer = someone(Role.ENGINEER)
    columns = {"input": ["acme.user_says"], "output": ["acme.bot_says"]}
    assert services.traces.map_attributes(engineer, project.id, columns) == 1
    with services.context.database.session() as session:
        running = remapping.state(session, project.id)
        assert running is not None
        assert running.is_running
    index_all(services.context)
    send(span({"acme.user_says": "And now?"}, trace_id=new))
    assert (trace_of(services, project, old).input, trace_of(services, project, old).output) == ("Where is it?", "Here.")
    assert trace_of(services, project, new).input == "And now?"
    assert unmapped(services, project) == {}
    with services.context.database.session() as session:
        ended = remapping.state(session, project.id)
        assert ended is not None
        assert not ended.is_running
        assert (ended.remap.looked_at, ended.remap.touched) == (1, 1)
        assert not remapping.is_stale(session, project.id)
        events = [row.type for row in session.exec(select(TraceOutbox))]
    assert "traces.mapping_changed" in events


def test_a_convention_speaks_before_the_projects_own_mapping(
    services: Services, project: Project, someone: Callable[..., Actor], send: Send
) -> None:
    services.traces.map_attributes(someone(Role.ENGINEER), project.id, {"model": ["acme.model"]})
    both, own = secrets.token_hex(16), secrets.token_hex(16)
    send(span({"acme.model": "theirs", "gen_ai.request.model": "known"}, trace_id=both))
    send(span({"acme.model": "theirs", "model": "plain"}, trace_id=own))
    assert trace_of(services, project, both).model == "known"
    assert trace_of(services, project, own).model == "theirs"


def test_a_numbered_family_can_be_messages(
    services: Services, project: Project, someone: Callable[..., Actor], send: Send
) -> None:
    trace_id = secrets.token_hex(16)
    send(span({"acme.turns.0.role": "user", "acme.turns.0.content": "Hello?"}, trace_id=trace_id))
    (name, *_) = sorted(unmapped(services, project))
    services.traces.map_attributes(someone(Role.ENGINEER), project.id, {"messages_in": [name]})
    index_all(services.context)
    assert trace_of(services, project, trace_id).input == "Hello?"


def test_mapping_takes_the_permission_and_good_names(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    with pytest.raises(NotAllowed):
        services.traces.map_attributes(someone(Role.EXPERT), project.id, {"input": ["a"]})
    with pytest.raises(NotAllowed):
        services.traces.remap(someone(Role.ANNOTATOR), project.id)
    engineer = someone(Role.ENGINEER)
    for columns in ({"nonsense": ["a"]}, {"input": [" "]}, {"input": ["a"], "output": ["a"]}, {"model": ["a.N.b"]}):
        with pytest.raises(InvalidInput):
            services.traces.map_attributes(engineer, project.id, columns)
    assert services.traces.map_attributes(engineer, project.id, {}) == 0


def test_versions_of_a_mapping_are_kept_and_the_same_one_is_no_new_one(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    engineer = someone(Role.ENGINEER)
    assert services.traces.map_attributes(engineer, project.id, {"input": ["a"]}, command_id="once") == 1
    assert services.traces.map_attributes(engineer, project.id, {"input": ["z"]}, command_id="once") == 1
    assert services.traces.map_attributes(engineer, project.id, {"input": ["a"]}) == 1
    assert services.traces.map_attributes(engineer, project.id, {}) == 2
    with services.context.database.session() as session:
        found = own_mapping.current(session, project.id)
    assert found is not None
    assert (found.version, found.columns) == (2, {})


def test_remapping_goes_on_in_batches_from_where_it_was(
    services: Services, project: Project, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [secrets.token_hex(16) for _ in range(7)]
    for trace_id in ids:
        send(*turn(trace_id, "q", "a"))
    monkeypatch.setattr(remapping, "MAPPING_VERSION", 99)
    services.traces.remap(_admin(), project.id)
    steps = []
    while looked := remapping.go_on(services.context, 3):
        steps.append(looked)
    assert steps == [3, 3, 1, 1]
    with services.context.database.session() as session:
        found = remapping.state(session, project.id)
    assert found is not None
    assert (found.remap.total, found.remap.looked_at, found.remap.touched, found.waiting) == (7, 7, 7, 7)
    index_all(services.context)


# ------------------------------------------------------------------------------------------------------------- annotations


def carrier(target: tuple[str, str], values: dict[str, Any], **given_: Any) -> dict[str, Any]:
    made = span({"openinference.span.kind": "EVALUATOR", **values}, name="hallucination evaluation", **given_)
    return {**made, "links": [{"traceId": target[0], "spanId": target[1]}]}


def signals(services: Services, project: Project, trace_id: str) -> dict[str, Feedback]:
    with services.context.database.session() as session:
        return {one.name: one for one in queries.feedback_of(session, project.id, trace_id)}


RESULT = {
    "evaluations.0.evaluation.name": "hallucination",
    "evaluations.0.evaluation.score": 0.9,
    "evaluations.0.evaluation.label": "hallucinated",
    "evaluations.0.evaluation.annotator_kind": "LLM",
}


@pytest.mark.parametrize("first", ["judged", "judging"])
def test_a_linked_evaluation_is_feedback_on_what_it_judges_and_no_trace(
    services: Services, project: Project, send: Send, first: str
) -> None:
    judged, judging = secrets.token_hex(16), secrets.token_hex(16)
    spans = turn(judged, "Where?", "Here.")
    evaluation = carrier((judged, spans[2]["spanId"]), RESULT, trace_id=judging)
    inner = span(
        {"gen_ai.operation.name": "chat", "gen_ai.prompt.0.content": "Judge this"},
        trace_id=judging,
        parent=evaluation["spanId"],
    )
    for part in [spans, [evaluation, inner]] if first == "judged" else [[evaluation, inner], spans]:
        send(*part)
    trace = trace_of(services, project, judged)
    assert (trace.input, trace.feedback_count, trace.rating) == ("Where?", 1, None)
    said = signals(services, project, judged)["hallucination"]
    assert (said.number, said.text, said.span_id, said.source) == (0.9, "hallucinated", spans[2]["spanId"], "annotator")
    with pytest.raises(NotFound):
        trace_of(services, project, judging)
    send(evaluation)
    assert trace_of(services, project, judged).feedback_count == 1


def test_the_judges_own_call_leaves_the_list_when_its_evaluation_arrives(
    services: Services, project: Project, send: Send
) -> None:
    judged, judging = secrets.token_hex(16), secrets.token_hex(16)
    send(*turn(judged, "q", "a"))
    evaluation = carrier((judged, "11" * 8), RESULT, trace_id=judging)
    send(span({"workbench.input": "Judge zebra"}, trace_id=judging, parent=evaluation["spanId"]))
    assert trace_of(services, project, judging).input == "Judge zebra"
    send(evaluation)
    with pytest.raises(NotFound):
        trace_of(services, project, judging)
    with services.context.database.session() as session:
        assert queries.list_traces(session, project.id, queries.TraceFilter(text="zebra")).rows == []


def test_annotations_within_a_trace_count_for_span_trace_and_session(services: Services, project: Project, send: Send) -> None:
    trace_id = secrets.token_hex(16)
    root, child = secrets.token_hex(8), secrets.token_hex(8)
    values = {
        "session.id": "s-1",
        "annotations.0.annotation.name": "tone",
        "annotations.0.annotation.label": "kind",
        "evaluations.0.evaluation.name": "tone",
        "evaluations.0.evaluation.label": "kind",
        "trace.annotations.0.annotation.name": "quality",
        "trace.annotations.0.annotation.score": 7,
        "session.annotations.0.annotation.name": "coherence",
        "session.annotations.0.annotation.label": "coherent",
        "annotations.1.annotation.name": "says nothing",
    }
    send(
        span({"workbench.input": "Hi", "session.id": "s-1"}, trace_id=trace_id, span_id=root),
        span(values, trace_id=trace_id, span_id=child, parent=root),
    )
    said = signals(services, project, trace_id)
    assert set(said) == {"tone", "quality", "coherence"}
    assert (said["tone"].span_id, said["quality"].span_id) == (child, None)
    assert (said["quality"].number, said["quality"].maximum) == (7, 7)
    assert (said["coherence"].session_id, said["coherence"].trace_id) == ("s-1", None)
    assert trace_of(services, project, trace_id).feedback_count == 2


def test_a_link_without_feedback_judges_nothing(services: Services, project: Project, send: Send) -> None:
    trace_id = secrets.token_hex(16)
    linked = {**span({"workbench.input": "Hi"}, trace_id=trace_id), "links": [{"traceId": "ab" * 16, "spanId": "11" * 8}]}
    send(linked)
    assert trace_of(services, project, trace_id).input == "Hi"
