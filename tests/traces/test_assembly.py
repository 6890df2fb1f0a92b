"""A trace is the same whatever order its spans come in, and fuller when late ones arrive."""

import random
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from tests.traces.factories import START, request, span, stored, turn
from tests.traces.plans import planned
from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.identity.models import Project
from workbench.traces import indexer, queries
from workbench.traces.assemble import assemble
from workbench.traces.coverage_models import SpanIntake
from workbench.traces.indexer import index_all
from workbench.traces.languages import recognize
from workbench.traces.models import Trace


@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_order_of_spans_does_not_matter(size: int, order: random.Random) -> None:
    ids = [f"{number:016x}" for number in range(1, size + 1)]
    spans = [
        stored(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": f"m{n}",
                "gen_ai.usage.input_tokens": n,
                "gen_ai.input.messages": f"q{n}",
            },
            span_id=ids[n],
            parent=None if n == 0 else ids[order.randrange(n)],
            start=START + order.randrange(5) * 1000,
        )
        for n in range(size)
    ]
    shuffled = list(spans)
    order.shuffle(shuffled)
    assert assemble(shuffled, [], []) == assemble(spans, [], [])


def test_an_agents_repeated_sum_is_not_counted_twice() -> None:
    outer = stored(
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 30, "workbench.cost": "0.5"},
        span_id="0" * 15 + "1",
    )
    inner = [stored({"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 15}, parent=outer.span_id) for _ in range(2)]
    trace = assemble([outer, *inner], [], [])
    assert trace["input_tokens"] == 30
    assert trace["cost_nanos"] == 500_000_000


def test_a_cycle_of_parents_is_still_a_trace() -> None:
    one, other = "1" * 16, "2" * 16
    spans = [
        stored({"gen_ai.usage.input_tokens": 1}, span_id=one, parent=other),
        stored({"gen_ai.usage.input_tokens": 2}, span_id=other, parent=one),
    ]
    assert assemble(spans, [], [])["span_count"] == 2


def test_an_error_below_a_healthy_root_is_counted_but_does_not_fail_the_trace() -> None:
    root = stored({}, span_id="1" * 16)
    trace = assemble([root, stored({}, parent=root.span_id, status="error", message="retry")], [], [])
    assert (trace["status"], trace["error_count"]) == ("ok", 1)
    failed = assemble([stored({}, status="error", message="no answer")], [], [])
    assert (failed["status"], failed["error"]) == ("error", "no answer")


def _read(services: Services, project: Project, trace_id: str) -> Trace:
    with services.context.database.session() as session:
        return queries.get_trace(session, project.id, trace_id)


def test_late_spans_complete_the_trace(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    root, retrieval, chat = turn(trace_id, "Where is my card?", "On its way.")
    services.traces.ingest_otlp(key, project.id, request(chat))
    index_all(services.context)
    early = _read(services, project, trace_id)
    assert (early.output, early.session_id, early.document_count) == ("On its way.", None, 0)
    services.traces.ingest_otlp(key, project.id, request(retrieval))
    services.traces.ingest_otlp(key, project.id, request(root))
    index_all(services.context)
    late = _read(services, project, trace_id)
    assert (late.id, late.name, late.session_id, late.span_count) == (early.id, "turn", "s-1", 3)
    assert [document["id"] for document in late.documents] == ["k-1"]
    assert late.duration_ms == 900


@pytest.mark.parametrize("before", ["in between", "after both"])
def test_two_who_assemble_a_trace_lose_none_of_its_spans(
    services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """The gateway's answer is assembled by the api at once, while the indexer has read it too and the client's spans come."""
    trace_id = secrets.token_hex(16)
    root, retrieval, chat = turn(trace_id, "Where is my card?", "On its way.")
    services.traces.ingest_otlp(key, project.id, request(chat))
    read = indexer._spans

    def slow(*given: Any) -> Any:
        found = read(*given)
        monkeypatch.setattr(indexer, "_spans", read)
        if before == "in between":
            services.traces.ingest_otlp(key, project.id, request(retrieval, root))
            services.traces.refresh(project.id, [trace_id])
        else:
            services.traces.refresh(project.id, [trace_id])
            services.traces.ingest_otlp(key, project.id, request(retrieval, root))
        return found

    monkeypatch.setattr(indexer, "_spans", slow)
    index_all(services.context)
    trace = _read(services, project, trace_id)
    assert (trace.span_count, trace.name, trace.session_id) == (3, "turn", "s-1")
    with services.context.database.session() as session:
        assert sum(row.spans for row in session.exec(select(SpanIntake))) == 3


def test_two_who_index_a_text_keep_the_later_one(
    services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace_id = secrets.token_hex(16)
    *_, chat = turn(trace_id, "Where is my card?", "On its way.")
    whole = span({"workbench.input": "Where is my marmalade?"}, trace_id=trace_id, start=START - 1000)
    services.traces.ingest_otlp(key, project.id, request(chat))
    text_of = indexer.trace_text

    def slow(row: Any) -> str:
        found = text_of(row)
        monkeypatch.setattr(indexer, "trace_text", text_of)
        services.traces.ingest_otlp(key, project.id, request(whole))
        services.traces.refresh(project.id, [trace_id])
        return found

    monkeypatch.setattr(indexer, "trace_text", slow)
    index_all(services.context)
    with services.context.database.session() as session:
        found = queries.list_traces(session, project.id, queries.TraceFilter(text="marmalade"))
        assert [row.trace_id for row in found.rows] == [trace_id]


def test_a_trace_is_looked_up_and_never_looked_for(services: Services, project: Project, key: Actor) -> None:
    """Making a trace readable costs the same among a million others: no statement reads a whole table or project."""
    database = services.context.database
    trace_id = secrets.token_hex(16)
    tool = span({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}, trace_id=trace_id)
    services.traces.ingest_otlp(key, project.id, request(*turn(trace_id, "a question", "an answer"), tool))
    with planned(database, (database.reading, database.deriving)) as steps:
        index_all(services.context)
    assert steps
    for step, statement in steps:
        if any(table in step for table in ("trace_search", "trace_pending", "trace_facet")):
            continue
        if "ix_trace_unindexed" in step or "remap" in step:  # what waits, the oldest first
            continue
        assert "SCAN" not in step, (step, statement)
        assert "(project_id=?)" not in step or "_mapping" in step, (step, statement)


def test_a_resend_changes_nothing(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    document = request(*turn(trace_id, "a question", "an answer"))
    first = services.traces.ingest_otlp(key, project.id, document)
    second = services.traces.ingest_otlp(key, project.id, document)
    assert (first.new, second.new, second.spans) == (3, 0, 3)
    index_all(services.context)
    with services.context.database.session() as session:
        assert len(queries.spans_of(session, project.id, trace_id)) == 3
        assert queries.get_trace(session, project.id, trace_id).input_tokens == 20


def test_the_same_ids_in_two_projects_are_two_traces(services: Services, project: Project, key: Actor) -> None:
    from workbench.identity.service import local_administrator

    other = services.identity.add_project(local_administrator(), key="other", name="Other")
    trace_id = secrets.token_hex(16)
    for where, answer in ((project.id, "one"), (other.id, "two")):
        services.traces.ingest_otlp(local_administrator(), where, request(*turn(trace_id, "q", answer)))
    index_all(services.context)
    with services.context.database.session() as session:
        assert queries.get_trace(session, project.id, trace_id).output == "one"
        assert queries.get_trace(session, other.id, trace_id).output == "two"


def test_a_trace_that_cannot_be_read_is_still_shown_and_holds_nobody_up(
    services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.traces import assemble as module

    real = module.facts

    def stumbling(name: str, attributes: dict[str, Any], *rest: Any) -> Any:
        if "bad" in attributes:
            raise RuntimeError("a defect of ours")
        return real(name, attributes, *rest)

    monkeypatch.setattr(module, "facts", stumbling)
    bad, good = span({"bad": 1}, name="odd one"), span({"workbench.input": "fine"})
    services.traces.ingest_otlp(key, project.id, request(bad, good))
    index_all(services.context)
    shown = _read(services, project, bad["traceId"])
    assert (shown.name, shown.mapping_version) == ("odd one", 0)
    assert _read(services, project, good["traceId"]).input == "fine"


def test_languages_are_recognized_or_left_open() -> None:
    texts: dict[str, str | None] = {
        "How do I block my card?": "en",
        "¿Cómo puedo bloquear la tarjeta?": "es",
        "Làm sao để khóa thẻ của tôi?": "vi",
        "我的卡在哪里": "zh",
        "カードはどこですか": "ja",
        "أين بطاقتي": "ar",
        "12345": None,
        "": None,
        "xyzzy": None,
    }
    assert {text: recognize(text) for text in texts} == texts


def test_raw_spans_are_kept_whole(services: Services, project: Project, key: Actor) -> None:
    trace_id, values = secrets.token_hex(16), {"anything.at.all": [1, {"deep": True}], "n": 2**60}
    services.traces.ingest_otlp(
        key,
        project.id,
        request(span(values, trace_id=trace_id, events=[("e", {"x": 1.5})]), resource={"service.name": "a", "host": "b"}),
    )
    with services.context.database.session() as session:
        (kept,) = queries.spans_of(session, project.id, trace_id)
        source = queries.sources_of(session, [kept])[kept.source_id]
    expected: dict[str, Any] = {"name": "e", "time_ns": START, "attributes": {"x": 1.5}}
    assert kept.attributes == values
    assert kept.events == [expected]
    assert source.resource == {"service.name": "a", "host": "b"}
