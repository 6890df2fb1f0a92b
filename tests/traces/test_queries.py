"""Finding traces: filters, pages, search, facets."""

import secrets
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.traces.factories import START, request, span
from tests.traces.plans import planned
from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound
from workbench.identity.models import Project
from workbench.traces import facets, queries, search
from workbench.traces.filters import HAS
from workbench.traces.indexer import index_all
from workbench.traces.queries import TraceFilter
from workbench.traces.search import fold

TEXTS = [
    "Where is my Card?",
    "where IS my card",
    "Thẻ của tôi ở đâu",
    "信用卡在哪里",
    "カードの場所はどこ",
    "Straße und GROSS",
    "50% off_now \\ done",
    'say "hello"',
    "a",
    "ＦＵＬＬ width",
    "أين بطاقتي",
    "flexpay\n2.0   plan",
]


@pytest.fixture
def filled(services: Services, project: Project, key: Actor) -> Services:
    spans = []
    for number, text in enumerate(TEXTS):
        values = {
            "workbench.input": text,
            "workbench.output": f"answer {number}",
            "workbench.model": f"m{number % 3}",
            "workbench.release": f"r{number % 2}",
            "workbench.session_id": f"s{number % 4}",
            "workbench.tags": ["even"] if number % 2 == 0 else [],
        }
        spans.append(span(values, start=START + (number // 2) * 10**9, milliseconds=number, error="x" if number == 5 else None))
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    return services


@pytest.fixture
def measured(filled: Services, project: Project, key: Actor) -> Services:
    """Every trace has a value for every order, and shares it with others."""
    with filled.context.database.session() as session:
        trace_ids = queries.trace_ids(session, project.id, TraceFilter())
    filled.traces.add_feedback_many(
        key, project.id, [{"trace_id": one, "value": n % 5, "maximum": 5} for n, one in enumerate(trace_ids)]
    )
    filled.traces.ingest_otlp(
        key,
        project.id,
        request(
            *(
                span({"workbench.cost": n % 4, "workbench.triage.score": n % 3 / 4}, trace_id=one)
                for n, one in enumerate(trace_ids)
            )
        ),
    )
    index_all(filled.context)
    return filled


@pytest.mark.parametrize("sort", queries.SORTS)
@pytest.mark.parametrize("size", [1, 3, 50])
def test_pages_show_every_trace_once_in_order(measured: Services, project: Project, sort: str, size: int) -> None:
    seen: list[int] = []
    after = None
    with measured.context.database.session() as session:
        while True:
            page = queries.list_traces(session, project.id, sort=sort, after=after, limit=size)
            seen += [row.id for row in page.rows]
            after = page.next
            if after is None:
                break
        whole = [row.id for row in queries.list_traces(session, project.id, sort=sort, limit=1000).rows]
    assert seen == whole
    assert sorted(seen) == list(range(1, len(TEXTS) + 1))


@pytest.mark.parametrize("sort", queries.SORTS)
@pytest.mark.parametrize("filters", [TraceFilter(), TraceFilter(tag=("even",))])
def test_the_neighbours_of_a_trace_are_those_of_the_list(
    measured: Services, project: Project, sort: str, filters: TraceFilter
) -> None:
    with measured.context.database.session() as session:
        listed = [row.trace_id for row in queries.list_traces(session, project.id, filters, sort=sort).rows]
        for before, trace_id, behind in zip([None, *listed], listed, [*listed[1:], None], strict=False):
            trace = queries.get_trace(session, project.id, trace_id)
            assert queries.neighbours(session, project.id, filters, trace, sort=sort) == (before, behind)


def test_a_place_in_the_list_is_looked_up_and_not_walked_to(filled: Services, project: Project) -> None:
    """The thousandth page, and the neighbours of an old trace, cost what the first ones do."""
    database = filled.context.database
    with database.session() as session:
        after = queries.list_traces(session, project.id, limit=5).next
        trace = queries.get_trace(session, project.id, queries.trace_ids(session, project.id, TraceFilter())[5])
    with planned(database, [database.reading]) as steps, database.session() as session:
        queries.list_traces(session, project.id, after=after)
        queries.neighbours(session, project.id, TraceFilter(), trace)
    walks = [step for step, _ in steps if "ix_trace_list" in step]
    assert len(walks) == 3
    assert all("project_id=? AND started_at" in step for step in walks), walks


def test_each_filter_narrows_and_they_combine(filled: Services, project: Project) -> None:
    def hits(**filters: object) -> int:
        with filled.context.database.session() as session:
            return queries.count_traces(session, project.id, TraceFilter(**filters))  # type: ignore[arg-type]

    assert hits() == 12
    assert hits(model=("m0",)) == 4
    assert hits(model=("m0", "m1")) == 8
    assert hits(model=("m0",), release=("r0",)) == 2
    assert hits(status=("error",)) == 1
    assert hits(session="s1") == 3
    assert hits(tag=("even",)) == 6
    assert hits(tag=("even",), model=("m0",)) == 2
    assert hits(rating_min=1) == 0
    assert hits(has_feedback=False) == 12
    assert hits(since=now() + timedelta(days=9999)) == 0
    assert hits(language=("vi",)) == 1


def test_every_column_filters(services: Services, project: Project, key: Actor) -> None:
    said = [
        {"workbench.cost": "0.02", "workbench.input_tokens": 10, "workbench.output_tokens": 5, "workbench.tags": ["a", "b"]},
        {"workbench.cost": "0.0000001", "workbench.provider": "p", "workbench.tags": ["b"], "workbench.triage.score": 0.9},
        {"workbench.prompt_version": "v1", "workbench.corpus_commit": "c1", "workbench.machine_written": False},
        {"workbench.output_tokens": 7, "workbench.user_id": "u", "workbench.triage.score": 0.25},
    ]
    ids = [secrets.token_hex(16) for _ in said]
    spans = [
        span(values, trace_id=one, milliseconds=10 * n, span_id="ab" * 8)
        for n, (values, one) in enumerate(zip(said, ids, strict=True))
    ]
    tool = {"workbench.kind": "tool", "workbench.tool.name": "lookup"}
    spans.append(span(tool, trace_id=ids[1], parent="ab" * 8, error="timeout"))
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)

    def hits(**filters: object) -> list[int]:
        with services.context.database.session() as session:
            found = queries.trace_ids(session, project.id, TraceFilter(**filters))  # type: ignore[arg-type]
        return sorted(ids.index(one) for one in found)

    assert hits(cost_min=0.00000005) == [0, 1]
    assert hits(cost_max=0.01) == [1]
    assert hits(tokens_min=7, tokens_max=15) == [0, 3]
    assert hits(latency_min=15) == [2, 3]
    assert hits(spans_min=2) == [1]
    assert hits(tool=("lookup", "other")) == [1]
    assert hits(has_error=True) == [1]
    assert hits(status=("error",)) == []
    assert hits(machine_written=False) == [2]
    assert hits(provider=("p",)) == [1]
    assert hits(prompt_version=("v1",), corpus_commit=("c1", "c2")) == [2]
    assert hits(uncertainty_min=0.5) == [3]
    assert (hits(tag=("a", "b")), hits(tag_any=("a", "b")), hits(tag_none=("a",))) == ([0], [0, 1], [1, 2, 3])
    for name in HAS:
        assert sorted([*hits(has=(name,)), *hits(lacks=(name,))]) == [0, 1, 2, 3], name
    assert (hits(has=("tags", "cost")), hits(lacks=("tags", "user"))) == ([0, 1], [2])
    assert hits(tool=("lookup",), has=("tools",)) == [1]


@pytest.mark.parametrize("common", [0, 10**9])
def test_search_finds_what_a_scan_of_the_folded_texts_finds(
    filled: Services, project: Project, common: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_COMMON", common)  # short strings are looked for in two ways
    wanted = [
        "card",
        "CARD",
        "is my",
        "của",
        "卡在",
        "信用",
        "哪里",
        "場所",
        "カード",
        "strasse",
        "%",
        "_",
        "\\",
        '"hello"',
        "full",
        "بطا",
        "2.0 plan",
        "a",
        "zzz",
        "o",
        "is",
        "zq",
        "answer 1",
    ]
    with filled.context.database.session() as session:
        everything = {row.trace_id: row for row in queries.list_traces(session, project.id, limit=100).rows}
        for text in wanted:
            scanned = {
                trace_id
                for trace_id, row in everything.items()
                if fold(text) in fold(f"{row.input_preview}\n{row.output_preview}")
            }
            assert set(queries.trace_ids(session, project.id, TraceFilter(text=text))) == scanned, text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=8))
def test_no_search_text_is_an_error(filled: Services, project: Project, text: str) -> None:
    with filled.context.database.session() as session:
        assert queries.count_traces(session, project.id, TraceFilter(text=text)) >= 0


def test_search_forgets_text_that_a_late_span_replaced(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    child = span({"workbench.input": "draft wording"}, trace_id=trace_id, parent="ab" * 8)
    services.traces.ingest_otlp(key, project.id, request(child))
    index_all(services.context)
    services.traces.ingest_otlp(
        key, project.id, request(span({"workbench.input": "final wording"}, trace_id=trace_id, span_id="ab" * 8))
    )
    index_all(services.context)
    with services.context.database.session() as session:
        assert queries.count_traces(session, project.id, TraceFilter(text="draft")) == 0
        assert queries.count_traces(session, project.id, TraceFilter(text="final")) == 1


def test_searching_before_anything_was_indexed_finds_nothing(services: Services, project: Project) -> None:
    with services.context.database.session() as session:
        assert queries.count_traces(session, project.id, TraceFilter(text="card")) == 0


def test_facets_count_within_the_filter(filled: Services, project: Project) -> None:
    with filled.context.database.session() as session:
        found = queries.facets(session, project.id)
        narrowed = queries.facets(session, project.id, TraceFilter(model=("m0",)))
    assert dict(found["model"]) == {"m0": 4, "m1": 4, "m2": 4}
    assert dict(found["tag"]) == {"even": 6}
    assert dict(narrowed["release"]) == {"r0": 2, "r1": 2}


def test_a_session_is_read_in_its_order(filled: Services, project: Project) -> None:
    with filled.context.database.session() as session:
        turns = queries.session_turns(session, project.id, "s1")
    assert [turn.input for turn in turns] == [TEXTS[1], TEXTS[5], TEXTS[9]]


@pytest.mark.parametrize("kept", [True, False])
def test_days_are_counted_with_zeros_between(
    services: Services, project: Project, key: Actor, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    moment = int((now() - timedelta(days=2)).timestamp() * 1e9)
    poor = secrets.token_hex(16)
    services.traces.ingest_otlp(
        key, project.id, request(span(start=moment, trace_id=poor), span(start=moment), span(start=moment - 90 * 86400 * 10**9))
    )
    services.traces.add_feedback_many(key, project.id, [{"trace_id": poor, "value": 1, "minimum": 1, "maximum": 5}])
    index_all(services.context)
    with services.context.database.session() as session:
        assert facets._has_counts(session, project.id)
        if not kept:
            monkeypatch.setattr(facets, "_has_counts", lambda *_: False)
        counted = facets.counts_by_day(session, project.id, days=5)
    assert [count for _, count, _ in counted] == [0, 0, 2, 0, 0]
    assert [low for _, _, low in counted] == [0, 0, 1, 0, 0]


def test_a_total_beyond_the_limit_is_said_to_be_more(
    filled: Services, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "COUNT_LIMIT", 10)
    with filled.context.database.session() as session:
        page = queries.list_traces(session, project.id, count=True, limit=2)
    assert (page.total, page.total_is_exact) == (10, False)


@pytest.mark.parametrize("after", ["x", "", "bnVsbA", "W10", "WyJhIiwgMV0"])
def test_an_invented_page_is_refused(services: Services, project: Project, after: str) -> None:
    with services.context.database.session() as session, pytest.raises(InvalidInput):
        queries.list_traces(session, project.id, after=after)


def test_an_unknown_trace_is_not_found(services: Services, project: Project) -> None:
    with services.context.database.session() as session, pytest.raises(NotFound):
        queries.get_trace(session, project.id, "ab" * 16)
