"""Reading a trace: steps in place, cited stretches, origins, spans found by what they carry."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.annotation.factories import make_trace
from tests.traces.factories import agent_trace, request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.identity.models import Project
from workbench.knowledge.content import EntryContent
from workbench.serving.spans import sentence_bounds
from workbench.traces import queries
from workbench.traces.answers import LoggedAnswer, spans_of_answer
from workbench.traces.cli_views import trace_as_json, trace_json_pieces
from workbench.traces.indexer import index_all
from workbench.traces.models import Trace
from workbench.traces.talk import MOST, talk_of
from workbench.ui import citations, span_tree, trace_origin

FEE = "A late payment costs 5 dollars. It can be waived once. Ask in the app."


def _trace(**fields: object) -> Trace:
    return Trace(**{"project_id": "p", "trace_id": "0" * 32, "started_at": None, "input": "Q?", "output": "A.", **fields})  # type: ignore[arg-type]


# ---------- the conversation


def test_tool_calls_stand_where_they_were_made_with_what_their_spans_know() -> None:
    trace = _trace(
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "Q?"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [{"id": "c1", "name": "look", "arguments": {"a": 1}}],
            },
            {"role": "tool", "content": "12", "tool_call_id": "c1"},
            {"role": "assistant", "content": "A."},
        ],
        tool_calls=[
            {"id": "c2", "name": "other", "arguments": None},
            {"id": "c1", "name": "look", "result": "", "receipt": "r-1", "duration_ms": 3},
        ],
    )
    talk = talk_of(trace)
    assert talk.system == "Be kind."
    assert [message["content"] for message in talk.before] == ["Hi", "Hello."]
    said, call, unplaced = talk.steps
    assert said["say"]["content"] == "Let me look."
    assert call["call"] == {
        "id": "c1",
        "name": "look",
        "arguments": {"a": 1},
        "result": "12",
        "receipt": "r-1",
        "duration_ms": 3,
    }
    assert unplaced["call"]["name"] == "other"


def test_a_model_that_was_given_a_prompt_instead_of_the_question_leaves_nothing_before_it() -> None:
    calls = [{"id": "", "name": "look"}]
    talk = talk_of(_trace(messages=[{"role": "user", "content": "A long prompt with Q? in it"}], tool_calls=calls))
    assert (talk.before, talk.steps) == ([], [{"call": calls[0]}])


def test_more_steps_than_can_be_read_are_counted() -> None:
    talk = talk_of(_trace(tool_calls=[{"name": "look"}] * (MOST + 5)))
    assert (len(talk.steps), talk.left_out) == (MOST, 5)


roles = st.sampled_from(["user", "assistant", "tool", "system", ""])
calls_given = st.lists(
    st.fixed_dictionaries({"id": st.sampled_from(["", "1", "2"]), "name": st.sampled_from(["a", "b"])}), max_size=4
)
messages_given = st.lists(
    st.fixed_dictionaries(
        {"role": roles, "content": st.sampled_from(["", "Q?", "A.", "x", None])},
        optional={"tool_calls": calls_given, "tool_call_id": st.sampled_from(["", "1", None])},
    ),
    max_size=8,
)


@given(messages_given, calls_given)
def test_no_recorded_tool_call_is_lost(messages: list[dict[str, object]], calls: list[dict[str, object]]) -> None:
    shown = [step["call"] for step in talk_of(_trace(messages=messages, tool_calls=calls)).steps if "call" in step]
    for name in ("a", "b"):
        assert sum(call["name"] == name for call in shown) >= sum(call["name"] == name for call in calls)


# ---------- cited stretches


def _marked(named: object, answer: str, *keys: str) -> tuple[bool, list[str], str]:
    cited = citations.cited_in(FEE, named, answer, keys)
    return cited.is_cited, [FEE[start:end] for start, end in cited.spans], cited.how


@pytest.mark.parametrize(
    ("named", "answer", "marked", "how"),
    [
        ("It can be waived once.", "", ["It can be waived once."], "named"),
        ([0, 31], "", ["A late payment costs 5 dollars."], "named"),
        (["Ask in the app.", FEE[:31]], "", [FEE[:31], "Ask in the app."], "named"),
        ({"start": 32, "end": 54}, "", ["It can be waived once."], "named"),
        (None, "Well: a late payment costs 5  dollars, sadly.", ["A late payment costs 5 dollars."], "quoted"),
        (None, "They say “it can be waived once”.", ["It can be waived once."], "quoted"),
        (None, "You pay 5 dollars when late [fee].", ["A late payment costs 5 dollars."], "nearest"),
        (None, "You pay 5 dollars when late. [2]", ["A late payment costs 5 dollars."], "nearest"),
        (True, "One can waive it once.", ["It can be waived once."], "nearest"),
        (None, "Unrelated [other].", [], ""),
        ([5, 900], "", [], ""),
    ],
)  # fmt: skip
def test_the_cited_stretch_is_what_the_trace_names_or_the_answer_repeats_or_comes_nearest(
    named: object, answer: str, marked: list[str], how: str
) -> None:
    _is_cited, found, by = _marked(named, answer, "fee", "2")
    assert [text.casefold() for text in found] == [text.casefold() for text in marked]
    assert by == how


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.none() | st.text(max_size=8) | st.lists(st.integers(-2, 70), max_size=3),
    st.text(max_size=5),
)
def test_pieces_spell_the_passage_whatever_is_cited(content: str, answer: str, named: object, key: str) -> None:
    cited = citations.cited_in(content, named, answer, [key])
    pieces = citations.pieces(content, cited.spans)
    assert "".join(pieces) == content
    assert len(pieces) == 2 * len(cited.spans) + 1


@given(st.text(max_size=80))
def test_sentence_bounds_lie_in_order_within_the_text(text: str) -> None:
    ends = [end for bounds in sentence_bounds(text) for end in bounds]
    assert ends == sorted(ends)
    assert all(0 <= end <= len(text) for end in ends)


def test_a_document_that_is_cited_twice_keeps_both_stretches() -> None:
    logged = LoggedAnswer(
        question="Q?", answer="A.", started_at=now(), duration_ms=1,
        documents=[{"id": "fee", "version": "v1", "content": FEE}, {"id": "other", "content": "Else."}],
        citations=[{"version_id": "v1", "entry_id": "e", "key": "fee", "span": text} for text in ("Ask in the app.", FEE[:31])],
    )  # fmt: skip
    retrieved = next(span for span in spans_of_answer(logged).spans if span.name == "retrieve")
    assert [document["cited"] for document in retrieved.attributes["workbench.documents"]] == [
        ["Ask in the app.", FEE[:31]],
        False,
    ]


# ---------- origins


def test_a_passage_names_its_version_and_what_is_live_since(
    services: Services, project: Project, someone: Callable[..., Actor]
) -> None:
    expert = someone(Role.EXPERT)
    content = EntryContent(title="Late fee", text=FEE)
    made = services.knowledge.create(expert, project.id, key="fee", content=content)
    services.knowledge.edit(
        expert, made.entry.id, base_version_id=made.version.id, content=replace(content, text="It costs 7.")
    )
    gone = services.knowledge.create(expert, project.id, key="gone", content=EntryContent(title="Gone", text="It was so."))
    services.knowledge.retire(expert, gone.entry.id, reason="No more")
    documents = [
        {"id": "fee", "version": made.version.id, "content": FEE},
        {"id": "gone", "content": "It was so."},
        {"id": "elsewhere", "version": "7", "content": "x"},
    ]
    assert made.commit is not None
    trace_id = make_trace(services, project, documents=documents, corpus_commit=made.commit.id)
    with services.context.database.session() as session:
        trace = queries.get_trace(session, project.id, trace_id)
        first, retired, other = trace_origin.origins(session, trace, documents)
    assert (first.words, first.since) == ("version 1 · commit 1", "version 2 is live now")
    assert first.link == f"/knowledge?entry=fee&version={made.version.id}"
    assert retired.since == "not live any more"
    assert (other.link, other.words) == ("", "version 7 · commit 1")


# ---------- spans


def test_spans_are_found_by_name_status_attribute_and_event_in_any_script(
    services: Services, project: Project, key: Actor
) -> None:
    trace_id = secrets.token_hex(16)
    ids = [secrets.token_hex(8) for _ in range(5)]
    services.traces.ingest_otlp(
        key,
        project.id,
        request(
            span({"note": 'Thẻ của “tôi” "quoted" 100%_x'}, trace_id=trace_id, span_id=ids[0], name="one"),
            span({}, trace_id=trace_id, span_id=ids[1], name="Two 逾期"),
            span({}, trace_id=trace_id, span_id=ids[2], error="Disk is FULL"),
            span({}, trace_id=trace_id, span_id=ids[3], events=[("log", {"line": "tail\nend"})]),
            span({"note": "100 percent"}, trace_id=trace_id, span_id=ids[4]),
        ),
    )
    with services.context.database.session() as session:

        def found(text: str) -> list[str]:
            return queries.spans_with_text(session, project.id, trace_id, text)

        assert found("Thẻ của") == [ids[0]]
        assert found('"quoted" 100%_x') == [ids[0]]
        assert found("逾期") == [ids[1]]
        assert found("disk is full") == [ids[2]]
        assert found("tail\nend") == [ids[3]]
        assert queries.spans_with_text(session, "another", trace_id, "one") == []


def test_thirty_thousand_spans_are_less_than_a_megabyte_of_columns() -> None:
    made = agent_trace("a" * 32, 30_000)
    bars = [
        queries.SpanBar(
            one["spanId"], one.get("parentSpanId"), one["name"], "other", int(one["startTimeUnixNano"]),
            int(one["endTimeUnixNano"]), "error" if one["status"] else "ok",
        )
        for one in made
    ]  # fmt: skip
    columns = span_tree.columns(bars)
    assert len(columns["depth"]) == 30_000
    assert max(columns["depth"]) == 2
    assert len(columns["failed"]) == sum(bool(one["status"]) for one in made)
    del columns["ids"]
    assert len(json.dumps(columns, separators=(",", ":"))) < 800_000


def test_the_timeline_reads_what_each_span_did(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(
        key,
        project.id,
        request(
            span({"workbench.operation.name": "unheard of", "gen_ai.operation.name": "chat"}, trace_id=trace_id, start=1_000),
            span({"traceloop.span.kind": "tool"}, trace_id=trace_id, start=2_000),
            span({"mlflow.spanType": '"RETRIEVER"'}, trace_id=trace_id, start=3_000),
            span({"openinference.span.kind": 7}, trace_id=trace_id, start=4_000),
        ),
    )
    with services.context.database.session() as session:
        assert [bar.kind for bar in queries.timeline(session, project.id, trace_id)] == ["llm", "tool", "retriever", "other"]


def test_a_long_trace_is_written_in_pieces_that_spell_the_whole(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, request(*agent_trace(trace_id, 2_300)))
    index_all(services.context)
    with services.context.database.session() as session:
        pieces = list(trace_json_pieces(session, project.id, trace_id, project="bank"))
        whole = trace_as_json(session, project.id, trace_id, project="bank")
        short = trace_as_json(session, project.id, trace_id, spans=10)
    assert len(pieces) == 5
    assert json.loads("".join(pieces)) == json.loads(json.dumps(whole))
    assert len(short["spans"]) == 10
