"""Commands over traces: durable, idempotent, permitted, recorded."""

import json
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from tests.traces.factories import START, body, request, span, turn
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import InvalidInput, NotAllowed, NotFound
from workbench.core.recording import TraceOutbox
from workbench.identity.models import Project
from workbench.traces import queries
from workbench.traces.cli_views import trace_as_json, traces_as_json
from workbench.traces.indexer import index_all
from workbench.traces.models import Trace


def events(services: Services) -> list[TraceOutbox]:
    with services.context.database.session() as session:
        return list(session.exec(select(TraceOutbox)))


def read(services: Services, project: Project, trace_id: str) -> Trace:
    with services.context.database.session() as session:
        return queries.get_trace(session, project.id, trace_id)


def send(services: Services, project: Project, key: Actor, question: str = "A question?", answer: str = "An answer.") -> str:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, request(*turn(trace_id, question, answer)))
    index_all(services.context)
    return trace_id


def test_an_ingest_is_recorded_with_counts_and_without_text(services: Services, project: Project, key: Actor) -> None:
    services.traces.ingest_otlp(key, project.id, body(*turn("ab" * 16, "secret words", "more words"), span(span_id="bad")))
    (event,) = events(services)
    assert event.type == "traces.ingested"
    assert {name: event.details[name] for name in ("spans", "repeated", "rejected", "traces")} == {
        "spans": 3,
        "repeated": 0,
        "rejected": 1,
        "traces": 1,
    }
    assert "secret" not in json.dumps(event.details)


def test_rejected_spans_and_unreadable_bodies_are_kept_with_the_reason(
    services: Services, project: Project, key: Actor
) -> None:
    report = services.traces.ingest_otlp(key, project.id, request(span(), span(trace_id="0" * 32)))
    assert (report.spans, len(report.rejected)) == (1, 1)
    assert report.message.startswith("1 spans were rejected")
    with pytest.raises(InvalidInput):
        services.traces.ingest_otlp(key, project.id, b"\xff\xff", "application/x-protobuf")
    with services.context.database.session() as session:
        unreadable, bad = queries.rejected_spans(session, project.id)
    assert "trace id" in bad.reason
    assert bad.raw is not None
    assert "protobuf" in unreadable.reason


def test_concurrent_requests_all_land_once(services: Services, project: Project, key: Actor) -> None:
    documents = [request(*turn(secrets.token_hex(16), f"q{n}", "a")) for n in range(24)]
    reports = []

    def post(document: dict[str, object]) -> None:
        for _ in range(2):
            reports.append(services.traces.ingest_otlp(key, project.id, document))

    threads = [threading.Thread(target=post, args=(document,)) for document in documents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index_all(services.context)
    assert sum(report.new for report in reports) == 72
    with services.context.database.session() as session:
        assert queries.count_traces(session, project.id) == 24
    assert sum(event.details["spans"] for event in events(services)) == 72


def test_one_batch_that_may_not_be_stored_does_not_take_others_down(
    services: Services, project: Project, key: Actor, sender: Callable[..., Actor]
) -> None:
    from workbench.core.actors import Permission
    from workbench.traces.masking.rules import new_draft
    from workbench.traces.otlp_json import decode_json
    from workbench.traces.store import Batch

    writer = services.traces._writer
    draft, other = (new_draft(services.context, project.id) for _ in range(2))
    good = Batch(key, project.id, decode_json(request(span()), received_ns=1), "", draft)
    wrong = decode_json(request(span()), received_ns=1)
    bad = Batch(sender("feedback"), project.id, wrong, "", other, (Permission.INGEST_TRACES,))
    writer._commit([good, bad])
    assert (good.new_spans, good.error) == (1, None)
    assert isinstance(bad.error, NotAllowed)


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.AUDITOR, Role.ENGINEER])
def test_people_without_the_permission_cannot_ingest(
    services: Services, project: Project, someone: Callable[..., Actor], role: Role
) -> None:
    with pytest.raises(NotAllowed):
        services.traces.ingest_otlp(someone(role), project.id, request(span()))


def test_feedback_may_come_before_its_trace(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.add_feedback(key, project.id, trace_id=trace_id, kind="float", value=2, minimum=1, maximum=5)
    services.traces.ingest_otlp(key, project.id, request(*turn(trace_id, "q", "a")))
    index_all(services.context)
    trace = read(services, project, trace_id)
    assert (trace.rating, trace.feedback_count) == (2.0, 1)


def test_the_last_explicit_rating_counts_on_a_scale_of_five(services: Services, project: Project, key: Actor) -> None:
    trace_id = send(services, project, key)
    services.traces.add_feedback(key, project.id, trace_id=trace_id, value=True)
    assert read(services, project, trace_id).rating == 5
    services.traces.add_feedback(key, project.id, trace_id=trace_id, value=0.5)
    assert read(services, project, trace_id).rating == 3
    services.traces.add_feedback(key, project.id, trace_id=trace_id, kind="implicit", name="escalated", value=True)
    services.traces.add_feedback(key, project.id, trace_id=trace_id, value=1, minimum=1, maximum=5, source="annotator")
    trace = read(services, project, trace_id)
    assert (trace.rating, trace.feedback_count, trace.has_correction) == (3, 4, False)
    services.traces.add_feedback(key, project.id, trace_id=trace_id, correction="Better.")
    assert read(services, project, trace_id).has_correction


def test_the_same_feedback_sent_again_changes_nothing(services: Services, project: Project, key: Actor) -> None:
    trace_id = send(services, project, key)
    for _ in range(2):
        services.traces.add_feedback(key, project.id, trace_id=trace_id, value=True, key="mine-1")
    assert read(services, project, trace_id).feedback_count == 1
    assert sum(event.type == "traces.feedback_added" for event in events(services)) == 1


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"trace_id": "xyz", "value": True},
        {"trace_id": "ab" * 16, "kind": "stars", "value": 1},
        {"trace_id": "ab" * 16, "kind": "boolean", "value": "perhaps"},
        {"trace_id": "ab" * 16, "kind": "float", "value": 7},
        {"trace_id": "ab" * 16, "kind": "float", "value": float("nan")},
        {"trace_id": "ab" * 16, "kind": "float", "value": 1, "minimum": 5, "maximum": 1},
        {"trace_id": "ab" * 16, "kind": "comment", "value": "  "},
        {"trace_id": "ab" * 16, "value": True, "source": "rumour"},
        {"trace_id": "ab" * 16, "value": True, "at": "yesterday"},
        {"span_id": "ab" * 8, "session_id": "s", "value": True},
    ],
)
def test_feedback_that_makes_no_sense_is_refused(
    services: Services, project: Project, key: Actor, values: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        services.traces.add_feedback(key, project.id, **values)


def test_feedback_that_came_as_span_events_is_read_once(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    given = span(
        {"workbench.input": "q"},
        trace_id=trace_id,
        events=[
            ("workbench.feedback", {"name": "rating", "kind": "float", "value": 4.0, "minimum": 1.0, "maximum": 5.0}),
            ("gen_ai.evaluation.result", {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.25}),
            ("workbench.feedback", {"kind": "float", "value": "nonsense"}),
        ],
    )
    services.traces.ingest_otlp(key, project.id, request(given))
    index_all(services.context)
    services.traces.ingest_otlp(key, project.id, request(span(trace_id=trace_id, parent=given["spanId"])))
    index_all(services.context)
    with services.context.database.session() as session:
        said = queries.feedback_of(session, project.id, trace_id)
        assert queries.get_trace(session, project.id, trace_id).rating == 4
    assert sorted((one.name, one.source, one.value) for one in said) == [
        ("rating", "explicit", 4.0),
        ("tone", "annotator", 0.25),
    ]


def test_tags_are_found_and_survive_late_spans(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    trace_id, engineer = send(services, project, key), someone(Role.ENGINEER)
    assert services.traces.tag(engineer, project.id, [trace_id], " look  here ", command_id="c1") == 1
    assert services.traces.tag(engineer, project.id, [trace_id], "look here", command_id="c1") == 1
    services.traces.ingest_otlp(
        key, project.id, request(span({"workbench.tags": ["sent"]}, trace_id=trace_id, parent="ab" * 8))
    )
    index_all(services.context)
    assert read(services, project, trace_id).tags == ["look here", "sent"]
    with services.context.database.session() as session:
        for tag in ("look here", "sent"):
            assert queries.trace_ids(session, project.id, queries.TraceFilter(tag=(tag,))) == [trace_id]
    services.traces.untag(engineer, project.id, [trace_id], "look here")
    assert read(services, project, trace_id).tags == ["sent"]
    with pytest.raises(NotFound):
        services.traces.tag(engineer, project.id, ["ff" * 16], "x")
    with pytest.raises(NotAllowed):
        services.traces.tag(someone(Role.AUDITOR), project.id, [trace_id], "x")


def test_the_gateways_answer_is_a_trace_like_any_other(
    services: Services, project: Project, sender: Callable[..., Actor]
) -> None:
    from workbench.core.actors import process_actor

    gateway = sender("gateway")
    trace_id = services.traces.log_answer(
        gateway,
        project.id,
        question="May I?",
        answer="Yes [k].",
        started_at=datetime.now(UTC),
        duration_ms=900.0,
        first_token_ms=120.0,
        trace_id=None,
        session_id="s",
        user_id="u",
        release="sha256:r",
        prompt_version="sha256:p",
        corpus_commit="sha256:c",
        model="gemma",
        documents=[
            {"id": "e1", "version": "v1", "score": 0.8, "content": "Allowed."},
            {"id": "e2", "score": 0.1, "content": "Other."},
        ],
        citations=[{"entry_id": "e1", "version_id": "v1", "key": "k", "span": [0, 8]}],
        guard=["asks_identity"],
        input_tokens=30,
        output_tokens=4,
        language="en",
        triage_label="cards",
    )
    trace = read(services, project, trace_id)
    assert (trace.input, trace.output, trace.release, trace.prompt_version, trace.corpus_commit) == (
        "May I?",
        "Yes [k].",
        "sha256:r",
        "sha256:p",
        "sha256:c",
    )
    assert (trace.model, trace.input_tokens, trace.output_tokens, trace.first_token_ms) == ("gemma", 30, 4, 120)
    assert (trace.triage_label, trace.session_id, trace.machine_written) == ("cards", "s", True)
    assert [document["cited"] for document in trace.documents] == [[0, 8], False]
    assert trace.guard == [{"rule": "asks_identity"}]
    with pytest.raises(NotAllowed):
        services.traces.log_answer(
            process_actor("x"), project.id, question="q", answer="a", started_at=datetime.now(UTC), duration_ms=1.0
        )


def test_a_file_is_imported_and_its_bad_lines_are_named(
    services: Services, project: Project, key: Actor, tmp_path: Path
) -> None:
    lines = [json.dumps(request(*turn(secrets.token_hex(16), f"q{n}", "a"))) for n in range(3)]
    lines[1:1] = ["{not json", '{"other": 1}', json.dumps(request(span(trace_id="0" * 32))), ""]
    path = tmp_path / "traces.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    seen: list[tuple[int, int]] = []
    report = services.traces.import_file(key, project.id, path, progress=lambda done, total: seen.append((done, total)))
    assert (report.traces, report.spans, report.new) == (3, 9, 9)
    assert [line for line, _ in report.bad_lines] == [2, 3]
    assert [line for line, _ in report.rejected] == [4]
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    assert services.traces.import_file(key, project.id, path).new == 0


def test_an_indented_json_document_is_one_request(services: Services, project: Project, key: Actor, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(request(*turn("ab" * 16, "q", "a")), indent=2), encoding="utf-8")
    assert services.traces.import_file(key, project.id, path).traces == 1


def test_a_file_without_any_trace_is_refused(services: Services, project: Project, key: Actor, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("hello\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="Line 1"):
        services.traces.import_file(key, project.id, path)
    with pytest.raises(NotFound):
        services.traces.import_file(key, project.id, tmp_path / "missing.jsonl")


def test_imported_times_can_be_moved(services: Services, project: Project, key: Actor, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps(request(*turn("ab" * 16, "q", "a", start=START))), encoding="utf-8")
    target = datetime(2026, 1, 2, 3, tzinfo=UTC)
    services.traces.import_file(key, project.id, path, shift_to=target)
    trace = read(services, project, "ab" * 16)
    assert abs(trace.started_at + timedelta(milliseconds=trace.duration_ms) - target) < timedelta(milliseconds=1)


def test_a_trace_as_json_has_the_published_shape(services: Services, project: Project, key: Actor) -> None:
    trace_id = send(services, project, key)
    services.traces.add_feedback(key, project.id, trace_id=trace_id, value=True, comment="thanks")
    with services.context.database.session() as session:
        shown = trace_as_json(session, project.id, trace_id, project="test-bank")
        (listed,) = traces_as_json(session, project.id, limit=5)
    assert {
        "trace_id",
        "project",
        "name",
        "session_id",
        "user_id",
        "started_at",
        "duration_ms",
        "status",
        "input",
        "output",
        "model",
        "input_tokens",
        "output_tokens",
        "cost",
        "language",
        "release",
        "prompt_version",
        "corpus_commit",
        "dialect",
        "spans",
        "documents",
        "tool_calls",
        "feedback",
    } <= shown.keys()
    assert set(shown["spans"][0]) >= {
        "span_id",
        "parent_span_id",
        "name",
        "kind",
        "status",
        "started_at",
        "duration_ms",
        "attributes",
    }
    assert shown["feedback"][0] == {
        **shown["feedback"][0],
        "name": "thumbs",
        "kind": "boolean",
        "value": True,
        "comment": "thanks",
        "source": "explicit",
    }
    assert json.loads(json.dumps(shown)) == shown
    assert listed["input"] == "A question?"
    assert "spans" not in listed
