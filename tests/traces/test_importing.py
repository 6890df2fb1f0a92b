"""Files of other tools become traces that read as if they had been sent."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traces.factories import request, turn
from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.errors import InvalidInput, NotAllowed, WorkbenchError
from workbench.identity.models import Project
from workbench.traces import queries
from workbench.traces.importers.building import moment_ns
from workbench.traces.importers.records import csv_records, json_records
from workbench.traces.importers.tabular import guess
from workbench.traces.imports import FORMATS, ImportReport, reader_for, recognise
from workbench.traces.models import Feedback, Trace

Load = Callable[..., ImportReport]


@pytest.fixture
def load(services: Services, project: Project, key: Actor, tmp_path: Path) -> Load:
    """`load("name.jsonl", content, …)` writes a file and imports it."""

    def loaded(name: str, content: str | bytes, **options: Any) -> ImportReport:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return services.traces.import_file(key, project.id, path, **options)

    return loaded


@pytest.fixture
def traces(services: Services, project: Project) -> Callable[[], list[Trace]]:
    def read() -> list[Trace]:
        with services.context.database.session() as session:
            rows = queries.list_traces(session, project.id, sort="oldest").rows
            return [queries.get_trace(session, project.id, row.trace_id) for row in rows]

    return read


@pytest.fixture
def said(services: Services, project: Project) -> Callable[[str], dict[str, Feedback]]:
    def read(trace_id: str) -> dict[str, Feedback]:
        with services.context.database.session() as session:
            return {one.name: one for one in queries.feedback_of(session, project.id, trace_id)}

    return read


def lines(*values: Any) -> str:
    return "\n".join(json.dumps(value) for value in values)


# ------------------------------------------------------------------------------------------------------------------- chat

TOOL_TURN = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Rate?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "rate", "arguments": '{"of": "EUR"}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "1.08"},
    {"role": "assistant", "content": "It is 1.08."},
]


def test_a_chat_line_is_a_trace_with_its_tools(load: Load, traces: Callable[[], list[Trace]]) -> None:
    line = {
        "messages": TOOL_TURN,
        "model": "m-1",
        "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        "metadata": {"branch": "north"},
        "user": "u-1",
        "session_id": "s-1",
        "created": 1_780_000_000,
    }
    content = lines(line, {"messages": []}, {"no": "messages", "at": "all"}) + "\n{broken"
    report = load("chat.jsonl", content)
    assert (report.format, report.traces, report.new) == ("chat", 1, 2)
    assert [number for number, _ in report.bad_lines] == [2, 3, 4]
    (trace,) = traces()
    assert (trace.input, trace.output, trace.model) == ("Rate?", "It is 1.08.", "m-1")
    assert (trace.session_id, trace.user_id, trace.input_tokens, trace.output_tokens) == ("s-1", "u-1", 9, 4)
    assert [(call["name"], call["arguments"], call["result"]) for call in trace.tool_calls] == [("rate", {"of": "EUR"}, "1.08")]
    assert trace.started_at == datetime.fromtimestamp(1_780_000_000, UTC)
    assert load("chat.jsonl", content).new == 0


def test_equal_lines_are_each_a_trace_and_a_second_import_adds_none(load: Load, traces: Callable[[], list[Trace]]) -> None:
    same = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    assert load("same.jsonl", lines(same, same)).new == 2
    assert load("same.jsonl", lines(same, same)).new == 0
    assert len(traces()) == 2


def test_batch_requests_and_their_results_are_joined(load: Load, traces: Callable[[], list[Trace]], tmp_path: Path) -> None:
    asked = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": f"Q{n}"}]},
        }
        for n in range(3)
    ]
    body = {
        "id": "x",
        "model": "m-2",
        "choices": [{"message": {"role": "assistant", "content": "A0"}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    results = [
        {"id": "b0", "custom_id": "r0", "response": {"status_code": 200, "body": body}, "error": None},
        {"id": "b1", "custom_id": "r1", "response": None, "error": {"message": "too long"}},
    ]
    reader = reader_for("chat")
    first = load("requests.jsonl", lines(*asked), format="chat", reader=reader, last=False)
    second = load("results.jsonl", lines(*results), format="chat", reader=reader)
    assert (first.traces, second.traces) == (0, 2)
    assert [number for number, _ in second.bad_lines] == [3]
    good, failed = sorted(traces(), key=lambda trace: trace.input)
    assert (good.input, good.output, good.model, good.input_tokens) == ("Q0", "A0", "m-2", 3)
    assert (failed.input, failed.status, failed.error) == ("Q1", "error", "too long")


# -------------------------------------------------------------------------------------------------------------------- CSV

TABLE = (
    "Question;Answer;User ID;Conversation;Created at;Stars;Remarks;Branch\n"
    '"Where is\nmy card?";"It is on, its way.";u1;s1;2026-03-04 05:06:07;2;slow;north\n'
    "¿Dónde está?;En camino;u2;s2;2026-03-04T06:00:00+01:00;5;;south\n"
    "Bad time;x;u3;s3;04/03/2026;5;;south\n"
    "Bad stars;x;u4;s4;2026-03-05;17;;south\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_table_is_mapped_by_its_names(
    load: Load, traces: Callable[[], list[Trace]], said: Callable[[str], dict[str, Feedback]], encoding: str
) -> None:
    report = load("table.csv", TABLE.encode(encoding))
    assert (report.format, report.traces, report.feedback) == ("csv", 2, 2)
    assert [number for number, _ in report.bad_lines] == [5, 6]
    assert "ISO 8601" in report.bad_lines[0][1]
    assert "--scale" in report.bad_lines[1][1]
    first, second = sorted(traces(), key=lambda trace: trace.session_id or "")
    assert (first.input, first.output, first.user_id, first.session_id) == (
        "Where is\nmy card?",
        "It is on, its way.",
        "u1",
        "s1",
    )
    assert (first.rating, first.started_at) == (2.0, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))
    assert said(first.trace_id)["rating"].text == "slow"
    assert (second.input, second.rating, second.started_at.hour) == ("¿Dónde está?", 5.0, 5)
    assert load("table.csv", TABLE.encode(encoding)).new == 0


def test_a_table_is_mapped_as_told_and_what_is_left_over_is_kept(
    load: Load, services: Services, project: Project, traces: Callable[[], list[Trace]]
) -> None:
    content = "a,b,c,d\nWhat?,That.,👍,x1\n"
    columns = {"input": "a", "output": "b", "rating": "c", "metadata.case": "d"}
    assert load("t.csv", content, columns=columns).traces == 1
    (trace,) = traces()
    assert (trace.input, trace.output, trace.rating) == ("What?", "That.", 5.0)
    with services.context.database.session() as session:
        (span,) = queries.spans_of(session, project.id, trace.trace_id)
    assert span.attributes["metadata.case"] == "x1"
    assert load("t2.csv", "q\tscore\nHow?\t7\n", columns={"input": "q", "rating": "score"}, scale=(0, 10)).feedback == 1


@pytest.mark.parametrize(
    ("content", "columns", "why"),
    [
        ("a,b\n1,2\n", {}, "cannot be told"),
        ("a,b\n1,2\n", {"input": "z"}, "no column 'z'"),
        ("a,b\n1,2\n", {"nonsense": "a"}, "no column 'nonsense'"),
        ("input,input\n1,2\n", {}, "there twice"),
        ("input,output\n1,2,3\n", {}, "3 cells"),
        ("input,output\n", {}, "no rows"),
        ("", {}, "empty"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(load: Load, content: str, columns: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load("t.csv", content, columns=columns)


def test_names_of_columns_are_guessed_whatever_their_spelling() -> None:
    found = guess(["userId", "Prompt", "completion", "created_at", "Conversation-ID", "colour", "prompt_tokens"])
    assert found == {
        "user": "userId",
        "input": "Prompt",
        "output": "completion",
        "time": "created_at",
        "session": "Conversation-ID",
        "input_tokens": "prompt_tokens",
    }


# --------------------------------------------------------------------------------------------------------------- Langfuse

LANGFUSE_TRACE = {
    "id": "0af7651916cd43dd8448eb211c80319c",
    "timestamp": "2026-05-01T10:00:00.000Z",
    "name": "support",
    "userId": "u-42",
    "sessionId": "s-7",
    "environment": "production",
    "release": "v1",
    "version": None,
    "tags": ["refund"],
    "input": {"question": "Where?"},
    "output": "On Monday.",
    "metadata": {"tier": "paid"},
    "latency": 2.5,
    "observationCount": 1,
}
LANGFUSE_OBSERVATION = {
    "id": "b7ad6b7169203331",
    "traceId": LANGFUSE_TRACE["id"],
    "type": "GENERATION",
    "name": "draft",
    "startTime": "2026-05-01T10:00:01.000Z",
    "endTime": "2026-05-01T10:00:02.250Z",
    "completionStartTime": "2026-05-01T10:00:01.420Z",
    "parentObservationId": None,
    "model": "m-1",
    "input": [{"role": "user", "content": "Where?"}],
    "output": {"role": "assistant", "content": "On Monday."},
    "usageDetails": {"input": 13, "output": 5},
    "costDetails": {"total": 0.0005},
    "level": "DEFAULT",
    "promptVersion": 3,
}
LANGFUSE_SCORE = {
    "id": "sc-1",
    "traceId": LANGFUSE_TRACE["id"],
    "name": "user-thumbs",
    "value": 1,
    "stringValue": "True",
    "dataType": "BOOLEAN",
    "source": "API",
    "comment": "thanks",
    "timestamp": "2026-05-01T10:01:00.000Z",
}


def _langfuse_files() -> dict[str, str]:
    trace, observation, score = LANGFUSE_TRACE, LANGFUSE_OBSERVATION, LANGFUSE_SCORE
    return {
        "rows.jsonl": lines(trace, observation, score),
        "array.json": json.dumps([trace, observation, score]),
        "pages.jsonl": lines({"data": [trace], "meta": {"page": 1}}, {"data": [observation]}, {"data": [score]}),
        "full.json": json.dumps({**trace, "observations": [observation], "scores": [score]}, indent=1),
        "download.json": json.dumps({"trace": trace, "observations": [observation], "scores": [score]}),
        "session.json": json.dumps({"id": "s-7", "traces": [{**trace, "observations": [observation], "scores": [score]}]}),
    }


@pytest.mark.parametrize("name", list(_langfuse_files()))
def test_a_langfuse_export_reads_like_the_trace_it_was(
    load: Load, traces: Callable[[], list[Trace]], said: Callable[[str], dict[str, Feedback]], name: str
) -> None:
    report = load(name, _langfuse_files()[name])
    assert (report.format, report.spans, report.feedback, report.bad_lines) == ("langfuse", 2, 1, [])
    (trace,) = traces()
    assert (trace.trace_id, trace.name, trace.dialect) == (LANGFUSE_TRACE["id"], "support", "langfuse")
    assert (trace.input, trace.output, trace.model) == ("Where?", "On Monday.", "m-1")
    assert (trace.session_id, trace.user_id, trace.release, trace.environment) == ("s-7", "u-42", "v1", "production")
    assert (trace.input_tokens, trace.output_tokens, trace.cost_nanos) == (13, 5, 500_000)
    assert (trace.duration_ms, trace.first_token_ms, trace.prompt_version) == (2500, 420, "3")
    assert (trace.tags, trace.rating) == (["refund"], 5.0)
    assert said(trace.trace_id)["user-thumbs"].text == "thanks"
    assert load(name, _langfuse_files()[name]).new == 0


def test_a_langfuse_csv_has_json_in_its_cells_and_scores_in_its_columns(
    load: Load, traces: Callable[[], list[Trace]], said: Callable[[str], dict[str, Feedback]]
) -> None:
    row = {
        **{
            name: "" if value is None else value if isinstance(value, str) else json.dumps(value)
            for name, value in LANGFUSE_TRACE.items()
        },
        "observationCount": "0",
        "inputTokens": "13",
        "outputTokens": "5",
        "totalCost": "0.0005",
        "bookmarked": "false",
        "correctness": "[0.5]",
        "tone": '["friendly"]',
        "unused": "",
    }
    file = io.StringIO()
    writer = csv.DictWriter(file, list(row))
    writer.writeheader()
    writer.writerow(row)
    report = load("traces.csv", file.getvalue())
    assert (report.format, report.traces, report.feedback) == ("langfuse", 1, 2)
    (trace,) = traces()
    assert (trace.input, trace.output, trace.input_tokens, trace.cost_nanos) == ("Where?", "On Monday.", 13, 500_000)
    found = said(trace.trace_id)
    assert (found["correctness"].number, found["tone"].text) == (0.5, "friendly")


def test_ids_that_are_no_opentelemetry_ids_are_hashed_alike_everywhere(
    load: Load, traces: Callable[[], list[Trace]], said: Callable[[str], dict[str, Feedback]]
) -> None:
    trace = {**LANGFUSE_TRACE, "id": "trace-abc"}
    observation = {**LANGFUSE_OBSERVATION, "id": "obs", "traceId": "trace-abc"}
    child = {**LANGFUSE_OBSERVATION, "id": "obs-2", "traceId": "trace-abc", "parentObservationId": "obs", "type": "TOOL"}
    score = {**LANGFUSE_SCORE, "traceId": "trace-abc", "observationId": "obs", "dataType": "NUMERIC", "value": 42}
    load("x.jsonl", lines(trace, observation, child, score))
    (found,) = traces()
    assert found.span_count == 3
    assert (said(found.trace_id)["user-thumbs"].number, said(found.trace_id)["user-thumbs"].maximum) == (42, 42)


# ---------------------------------------------------------------------------------------------------------------- Phoenix

TRACE_ID, ROOT, CALL = "ab" * 16, "11" * 8, "22" * 8
PHOENIX_SPANS = [
    {
        "name": "turn",
        "context": {"trace_id": TRACE_ID, "span_id": ROOT},
        "span_kind": "CHAIN",
        "parent_id": None,
        "start_time": "2026-07-24T18:30:44Z",
        "end_time": "2026-07-24T18:30:47.500Z",
        "status_code": "OK",
        "status_message": "",
        "attributes": {
            "input.value": "Where?",
            "output.value": "On Monday.",
            "session.id": "s-1",
            "metadata": {"tier": "paid"},
            "trace.annotations.0.annotation.name": "frustration",
            "trace.annotations.0.annotation.label": "high",
            "trace.annotations.0.annotation.annotator_kind": "HUMAN",
        },
        "events": [],
    },
    {
        "name": "call",
        "context": {"trace_id": TRACE_ID, "span_id": CALL},
        "span_kind": "LLM",
        "parent_id": ROOT,
        "start_time": "2026-07-24T18:30:45Z",
        "end_time": "2026-07-24T18:30:46Z",
        "status_code": "ERROR",
        "status_message": "late",
        "attributes": {
            "llm": {
                "model_name": "m-1",
                "token_count": {"prompt": 8, "completion": 3},
                "input_messages": [{"message": {"role": "user", "content": "Where?"}}],
                "output_messages": [{"message.role": "assistant", "message.content": "On Monday."}],
            },
        },
        "events": [{"name": "exception", "timestamp": "2026-07-24T18:30:46Z", "attributes": {"exception.message": "late"}}],
    },
]
PHOENIX_ANNOTATION = {
    "id": "an-1",
    "span_id": CALL,
    "name": "hallucination",
    "annotator_kind": "LLM",
    "result": {"score": 0.25, "label": "likely", "explanation": "unsupported"},
    "created_at": "2026-07-25T08:00:00Z",
}


def _frame() -> list[dict[str, Any]]:
    """The spans as `get_spans_dataframe` has them."""
    rows = []
    for span in PHOENIX_SPANS:
        row = {f"context.{name}": value for name, value in span["context"].items()}
        row |= {name: value for name, value in span.items() if name not in ("context", "attributes")}
        rows.append(row)
    rows[0] |= {"attributes.input.value": "Where?", "attributes.output.value": "On Monday.", "attributes.session.id": "s-1"}
    rows[1] |= {
        "attributes.llm.model_name": "m-1",
        "attributes.llm.token_count.prompt": 8,
        "attributes.llm.token_count.completion": 3,
        "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "On Monday."}],
        "eval.correctness.score": 0.5,
        "eval.correctness.label": "partly",
    }
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _phoenix_files(folder: Path) -> dict[str, bytes]:
    frame = _frame()
    text = io.StringIO()
    writer = csv.DictWriter(text, list(frame[0]))
    writer.writeheader()
    writer.writerows(frame)  # lists as Python spells them, as pandas writes them
    pq.write_table(pa.Table.from_pylist([{**row, "events": None} for row in frame]), folder / "frame.parquet")
    return {
        "spans.jsonl": lines(*PHOENIX_SPANS).encode(),
        "page.json": json.dumps({"data": PHOENIX_SPANS, "next_cursor": None}).encode(),
        "frame.jsonl": lines(*frame).encode(),
        "frame.csv": text.getvalue().encode(),
        "frame.parquet": (folder / "frame.parquet").read_bytes(),
    }


@pytest.mark.parametrize("name", ["spans.jsonl", "page.json", "frame.jsonl", "frame.csv", "frame.parquet"])
def test_a_phoenix_export_reads_like_the_trace_it_was(
    load: Load, traces: Callable[[], list[Trace]], said: Callable[[str], dict[str, Feedback]], tmp_path: Path, name: str
) -> None:
    content = _phoenix_files(tmp_path)[name]
    report = load(name, content)
    assert (report.format, report.spans, report.bad_lines) == ("phoenix", 2, [])
    (trace,) = traces()
    assert (trace.trace_id, trace.dialect, trace.name) == (TRACE_ID, "openinference", "turn")
    assert (trace.input, trace.output, trace.model) == ("Where?", "On Monday.", "m-1")
    assert (trace.session_id, trace.input_tokens, trace.output_tokens, trace.error_count) == ("s-1", 8, 3, 1)
    found = said(TRACE_ID)
    if name.startswith("frame"):
        assert (found["correctness"].number, found["correctness"].text) == (0.5, "partly")
    else:
        assert (found["frustration"].kind, found["frustration"].text) == ("comment", "high")
    assert load(name, content).new == 0


def test_phoenix_annotations_find_the_traces_of_their_spans(load: Load, said: Callable[[str], dict[str, Feedback]]) -> None:
    other = {**PHOENIX_ANNOTATION, "id": "an-2", "span_id": "77" * 8}
    load("spans.jsonl", lines(*PHOENIX_SPANS))
    report = load("annotations.jsonl", lines(PHOENIX_ANNOTATION, other))
    assert (report.format, report.feedback, [number for number, _ in report.bad_lines]) == ("phoenix", 1, [2])
    found = said(TRACE_ID)["hallucination"]
    assert (found.number, found.text, found.span_id, found.source) == (0.25, "likely: unsupported", CALL, "annotator")
    flat = {"span_id": CALL, "annotation_name": "again", "annotator_kind": "HUMAN", "result.label": "fine"}
    assert load("frame.csv", f"{','.join(flat)}\n{','.join(flat.values())}\n").feedback == 1


# ------------------------------------------------------------------------------------------------------------------- files


def test_otlp_in_protobufs_own_spelling_is_taken_too(load: Load, traces: Callable[[], list[Trace]]) -> None:
    span = {
        "trace_id": "cd" * 16,
        "span_id": "33" * 8,
        "name": "n",
        "start_time_unix_nano": "1780000000000000000",
        "attributes": [{"key": "workbench.input", "value": {"string_value": "Hi"}}],
    }
    assert load("p.json", json.dumps({"resource_spans": [{"scope_spans": [{"spans": [span]}]}]})).format == "otlp"
    assert traces()[0].input == "Hi"


def test_a_dry_run_stores_nothing(load: Load, traces: Callable[[], list[Trace]]) -> None:
    report = load("t.csv", TABLE, dry_run=True)
    assert (report.traces, report.new, len(report.bad_lines)) == (2, 0, 2)
    assert traces() == []


def test_importing_takes_the_permission(
    services: Services, project: Project, someone: Callable[..., Actor], tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(request(*turn("ab" * 16, "q", "a"))), encoding="utf-8")
    with pytest.raises(NotAllowed):
        services.traces.import_file(someone(), project.id, path)


def test_an_array_of_many_elements_is_read_in_pieces_and_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    many = json.dumps([{"n": n, "text": "ü" * 3000} for n in range(1000)], ensure_ascii=False)
    path.write_text(many, encoding="utf-8")
    assert [record.value["n"] for record in json_records(path)] == list(range(1000))
    path.write_text(many[:-2000], encoding="utf-8")
    found = list(json_records(path))
    assert [record.value["n"] for record in found[:-1]] == list(range(999))
    assert found[-1].error


@given(
    st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8), min_size=2, max_size=2))
)
def test_whatever_a_csv_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["a", "b"], *rows])
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    assert [list(record.value.values()) for record in csv_records(path)] == kept


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "messages",
    "custom_id",
    "body",
    "response",
    "id",
    "traceId",
    "startTime",
    "timestamp",
    "name",
    "value",
    "dataType",
    "usage",
    "context",
    "context.trace_id",
    "context.span_id",
    "attributes",
    "attributes.llm",
    "span_id",
    "result",
    "annotator_kind",
    "start_time",
    "input",
    "output",
    "observations",
    "scores",
    "tags",
    "metadata",
    "rating",
    "tools",
]


@given(st.sampled_from(FORMATS), st.dictionaries(st.sampled_from(NAMES), values, max_size=7) | values)
def test_no_record_of_any_format_does_worse_than_being_refused(format: str, value: Any) -> None:
    reader = reader_for(format)
    try:
        piece = reader.read(1, value)
    except WorkbenchError:
        return
    json.dumps([span.attributes for span in piece.decoded.spans], allow_nan=False)


def test_moments_in_any_usual_form_are_the_same() -> None:
    expected = 1_780_000_000_000_000_000
    for given_form in (
        1_780_000_000,
        "1780000000",
        1_780_000_000_000,
        1.78e15,
        expected,
        "2026-05-28T20:26:40Z",
        "2026-05-28 20:26:40",
        "2026-05-28 22:26:40+02:00",
        "28.05.2026 20:26:40",
    ):
        assert moment_ns(given_form) == expected
    with pytest.raises(InvalidInput):
        moment_ns("yesterday")


@pytest.mark.parametrize("content", ["hello\nthere\n", "{}", "[]", "[1,2]", "\x00\x01\x02", '{"a": 1}', "PAR1 broken"])
def test_what_is_no_export_is_refused_with_a_reason(load: Load, content: str) -> None:
    with pytest.raises(InvalidInput):
        load("file", content)


def test_formats_are_recognised_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "anything.txt"
    for format, content in (
        ("otlp", json.dumps(request(*turn("ab" * 16, "q", "a")))),
        ("chat", lines({"messages": TOOL_TURN})),
        ("csv", TABLE),
        ("langfuse", lines(LANGFUSE_OBSERVATION)),
        ("phoenix", lines(PHOENIX_SPANS[0])),
    ):
        path.write_text("\n" + content if content[0] == "{" else content, encoding="utf-8")
        assert recognise(path) == format
