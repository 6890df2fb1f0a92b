"""Traces on a real PostgreSQL: the same doors, the same answers."""

import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from tests.core.postgres import PostgreSQLMissing, Server, running
from tests.traces.factories import request, span, turn
from workbench.annotation.disagreement import fill, ranking
from workbench.annotation.schema import Question
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, ActorKind, Grant, Role
from workbench.core.clock import now
from workbench.core.ids import new_id
from workbench.core.settings import Settings
from workbench.identity.service import local_administrator
from workbench.knowledge.content import EntryContent
from workbench.knowledge.queries import live_by_key
from workbench.traces import coverage, facets, journeys, queries, remapping, sessions
from workbench.traces.cli_views import trace_as_json, trace_json_pieces
from workbench.traces.exporting import write_export
from workbench.traces.hits import all_hits
from workbench.traces.indexer import index_all
from workbench.traces.masking.policy import MaskingPolicy
from workbench.traces.queries import SORTS, TraceFilter


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with running() as started:
            yield started
    except PostgreSQLMissing as error:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def services(server: Server, tmp_path: Path) -> Iterator[Services]:
    made = bootstrap(settings=Settings(home=tmp_path, database_url=server.url(server.new_database())))
    made.context.database.create_all()
    yield made
    made.context.database.dispose()


def test_traces_are_taken_found_and_read_on_postgresql(services: Services) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank")
    moment = int((now() - timedelta(hours=1)).timestamp() * 1e9)
    trace_id = secrets.token_hex(16)
    root, *rest = turn(trace_id, "¿Dónde está la tarjeta 50%?", "On its way.", start=moment)
    document = request(*rest, span({"nul": "a\x00b"}, trace_id="0" * 32))
    first = services.traces.ingest_otlp(admin, project.id, document)
    again = services.traces.ingest_otlp(admin, project.id, document)
    assert (first.new, again.new, len(first.rejected)) == (2, 0, 1)
    services.traces.add_feedback(admin, project.id, trace_id=trace_id, value=2, minimum=1, maximum=5, key="k")
    services.traces.add_feedback(admin, project.id, trace_id=trace_id, value=2, minimum=1, maximum=5, key="k")
    index_all(services.context)
    services.traces.ingest_otlp(admin, project.id, request(root))
    index_all(services.context)
    assert services.traces.tag(admin, project.id, [trace_id], "look", command_id="c") == 1
    others = [span({"workbench.input": f"q{n}", "workbench.cost": n}, start=moment + n) for n in range(5)]
    services.traces.ingest_otlp(admin, project.id, request(*others))
    index_all(services.context)
    with services.context.reading(admin, project.id) as session:
        trace = queries.get_trace(session, project.id, trace_id)
        assert (trace.span_count, trace.rating, trace.tags, trace.language) == (3, 2, ["look"], "es")
        assert [bar.kind for bar in queries.timeline(session, project.id, trace_id)] == ["agent", "retriever", "llm"]
        for wanted in ("TARJETA", "50%", "way"):
            assert queries.trace_ids(session, project.id, TraceFilter(text=wanted)) == [trace_id]
        assert queries.count_traces(session, project.id, TraceFilter(text="a_b\x00")) == 0
        assert queries.trace_ids(session, project.id, TraceFilter(tag=("look",), rating_max=2)) == [trace_id]
        for sort in SORTS:
            page = queries.list_traces(session, project.id, sort=sort, limit=2)
            seen = [row.id for row in page.rows]
            while page.next:
                page = queries.list_traces(session, project.id, sort=sort, limit=2, after=page.next)
                seen += [row.id for row in page.rows]
            assert len(seen) == len(set(seen)) == {"lowest rated": 1, "costliest": 5, "least certain": 0}.get(sort, 6)
        for narrow in (
            TraceFilter(has=("tags",), lacks=("cost", "tools")),
            TraceFilter(tag_any=("look", "x"), tag_none=("y",)),
        ):
            assert queries.trace_ids(session, project.id, narrow) == [trace_id]
        assert queries.count_traces(session, project.id, TraceFilter(cost_min=1, cost_max=3.5, tokens_max=0)) == 0
        assert queries.count_traces(session, project.id, TraceFilter(cost_min=1, cost_max=3.5, tool=())) == 3
        assert queries.count_traces(session, project.id, TraceFilter(tool=("no such",), machine_written=True)) == 0
        kept = queries.facets(session, project.id)
        assert dict(kept["tag"]) == {"look": 1}
        assert sum(count for _, count, _ in facets.counts_by_day(session, project.id, days=2)) == 6
        assert len(trace_as_json(session, project.id, trace_id)["spans"]) == 3
        assert len(queries.rejected_spans(session, project.id)) == 2
    facets.rebuild(services.context)
    with services.context.reading(admin, project.id) as session:
        assert queries.facets(session, project.id) == kept
        assert queries.facets(session, project.id, TraceFilter(spans_min=1)) == {
            name: sorted(values, key=lambda one: -one[1]) for name, values in kept.items()
        }


def test_coverage_mapping_and_linked_evaluations_on_postgresql(services: Services) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank")
    odd, judged, judging = (secrets.token_hex(16) for _ in range(3))
    for _ in range(2):
        services.traces.ingest_otlp(admin, project.id, request(span({"acme.says": "Hello?"}, trace_id=odd, span_id="12" * 8)))
        index_all(services.context)
    evaluation = span({"evaluations.0.evaluation.name": "tone", "evaluations.0.evaluation.score": 0.5}, trace_id=judging)
    evaluation["links"] = [{"traceId": judged, "spanId": "11" * 8}]
    services.traces.ingest_otlp(admin, project.id, request(evaluation, *turn(judged, "q", "a")))
    index_all(services.context)
    with services.context.reading(admin, project.id) as session:
        (row,) = coverage.unmapped_attributes(session, project.id)
        assert (row.name, row.count, row.example_trace_id) == ("acme.says", 1, odd)
        assert sum(spans for _, _, spans in coverage.spans_by_day(session, project.id)) == 5
        assert [one.sender for one in coverage.senders(session, project.id)][:1] == ["app"]
        assert queries.count_traces(session, project.id) == 2
        assert queries.get_trace(session, project.id, judged).feedback_count == 1
    services.traces.map_attributes(admin, project.id, {"input": ["acme.says"]})
    index_all(services.context)
    with services.context.reading(admin, project.id) as session:
        assert queries.get_trace(session, project.id, odd).input == "Hello?"
        found = remapping.state(session, project.id)
        assert found is not None
        assert (found.is_running, found.remap.touched) == (False, 2)


def test_masking_numbers_a_trace_and_keeps_originals_on_postgresql(services: Services) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank", languages=["es"])
    policy = MaskingPolicy(phone_regions=("ES",), originals="kept encrypted")
    assert services.masking.set_policy(admin, project.id, policy, reason="Fraud cases", command_id="c").version == 2
    assert services.masking.set_policy(admin, project.id, policy, reason="Fraud cases", command_id="c").version == 2
    trace_id = secrets.token_hex(16)

    def send(number: int) -> None:
        said = {"workbench.input": f"a@x.example and person{number % 3}@x.example", "user.id": "u"}
        services.traces.ingest_otlp(admin, project.id, request(span(said, trace_id=trace_id)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(12)))
    index_all(services.context)
    with services.context.database.session() as session:
        assert queries.get_trace(session, project.id, trace_id).mask_counts == {"EMAIL": 4}
    seen = services.masking.reveal(admin, project.id, trace_id, reason="Complaint 12")
    assert {one.text for one in seen} == {"a@x.example", *(f"person{number}@x.example" for number in range(3))}
    assert services.masking.forget_person(admin, project.id, "u", reason="Asked to").keys == 1
    assert {one.text for one in services.masking.reveal(admin, project.id, trace_id, reason="Again")} == {None}


def test_a_trace_is_read_in_depth_on_postgresql(services: Services) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank")
    trace_id, ids = secrets.token_hex(16), [secrets.token_hex(8) for _ in range(3)]
    noted = {"workbench.written": 'Thẻ "quoted" 100%_x\nend', "traceloop.span.kind": "tool", "gen_ai.operation.name": "other"}
    services.traces.ingest_otlp(
        admin,
        project.id,
        request(
            span(noted, trace_id=trace_id, span_id=ids[0]),
            span({"mlflow.spanType": '"RETRIEVER"'}, trace_id=trace_id, span_id=ids[1], error="Disk is FULL"),
            span({"openinference.span.kind": 7}, trace_id=trace_id, span_id=ids[2], events=[("log", {"line": "逾期"})]),
        ),
    )
    index_all(services.context)
    content = EntryContent(title="Late fee", text="It costs 5.")
    made = services.knowledge.create(_expert(project.id), project.id, key="fee", content=content)
    with services.context.reading(admin, project.id) as session:
        assert {bar.span_id: bar.kind for bar in queries.timeline(session, project.id, trace_id)} == dict(
            zip(ids, ["tool", "retriever", "other"], strict=True)
        )
        for wanted, where in (('"QUOTED" 100%_x\nend', 0), ("disk is", 1), ("逾期", 2), ("Thẻ", 0)):
            assert queries.spans_with_text(session, project.id, trace_id, wanted) == [ids[where]], wanted
        assert queries.attribute_in(session, project.id, trace_id, "workbench.written") == noted["workbench.written"]
        assert queries.attribute_in(session, project.id, trace_id, "nothing") is None
        text = "".join(trace_json_pieces(session, project.id, trace_id))
        assert [one["span_id"] for one in json.loads(text)["spans"]] == ids
        live = live_by_key(session, project.id, ["fee", "elsewhere"])
        assert {key: version and version.id for key, version in live.items()} == {"fee": made.version.id}


def _expert(project_id: str) -> Actor:
    return Actor(new_id(), "Eve", ActorKind.PERSON, grants=frozenset({Grant(Role.EXPERT, project_id)}))


def test_acts_on_many_traces_and_exports_on_postgresql(services: Services, tmp_path: Path) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank")
    moment = int((now() - timedelta(hours=1)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in range(6)]
    for number, trace_id in enumerate(ids):
        values = {"workbench.tags": ["look"] if number == 0 else [], "x": 1.0, "n": 1, "workbench.cost": "0.25"}
        sent = request(*turn(trace_id, "q", "a", start=moment + number * 1000), span(values, trace_id=trace_id, start=moment))
        services.traces.ingest_otlp(admin, project.id, sent)
    index_all(services.context)
    with services.context.database.session() as session:
        everything = all_hits(session, project.id, TraceFilter(text="q"))
    tagged = services.bulk.begin(admin, project.id, "tag", {"tag": "look"}, everything)
    assert (tagged.changed, tagged.skipped) == (5, {"tagged so already": 1})
    untagged = services.bulk.begin(admin, project.id, "untag", {"tag": "look"}, everything)
    assert untagged.changed == 5
    assert services.bulk.undo(admin, untagged.id).undo["taken"] == 5
    assert services.bulk.undo(admin, tagged.id).undo["taken"] == 5
    queue = services.annotation.create_queue(admin, project.id, name="Q")
    preview = services.bulk.preview(admin, project.id, "send", {"queue_id": queue.id}, everything)
    assert (preview.total, preview.skipped) == (6, {})
    sent_on = services.bulk.begin(admin, project.id, "send", {"queue_id": queue.id}, everything)
    assert sent_on.changed == 6
    assert services.bulk.undo(admin, sent_on.id).undo["taken"] == 6
    written = write_export(services.context, project.id, ids, "otlp", tmp_path / "x.otlp.jsonl")
    assert (written.traces, written.spans) == (6, 24)
    again = services.traces.import_file(admin, project.id, tmp_path / "x.otlp.jsonl")
    assert (again.spans, again.new) == (24, 0)
    exported = services.bulk.begin(admin, project.id, "export", {"format": "parquet"}, everything)
    assert exported.changed == 6


def test_sessions_users_and_disagreement_are_listed_on_postgresql(services: Services) -> None:
    admin = local_administrator()
    project = services.identity.add_project(admin, key="bank", name="Bank")
    begun = int((now() - timedelta(hours=1)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in range(6)]
    said = [
        ("s1", "u1", "r1"),
        ("s1", "u1", "r2"),
        ("s2", "u2", "r2"),
        ("s3", "u1", "r2"),
        ("", "u2", "r1"),
        ("s2", "u2", "r3"),
    ]
    spans = [
        span(
            {"workbench.input": f"q{number}", "workbench.session_id": s, "workbench.user_id": u, "workbench.release": r},
            trace_id=ids[number], start=begun + number * 1_000_000,
        )
        for number, (s, u, r) in enumerate(said)
    ]  # fmt: skip
    services.traces.ingest_otlp(admin, project.id, request(*spans))
    for number, value in ((0, 1), (3, 5)):
        services.traces.add_feedback(admin, project.id, trace_id=ids[number], value=value, minimum=1, maximum=5)
    index_all(services.context)
    with services.context.reading(admin, project.id) as session:
        listed, after = [], None
        while True:
            page = sessions.list_sessions(session, project.id, after=after, limit=1)
            listed += [(row.session_id, row.tally.traces, row.question, row.names.releases) for row in page.rows]
            if (after := page.next) is None:
                break
        assert listed == [("s2", 2, "q2", ["r2", "r3"]), ("s3", 1, "q3", ["r2"]), ("s1", 2, "q0", ["r1", "r2"])]
        narrow = sessions.list_sessions(session, project.id, TraceFilter(rating_max=2, text="Q0"))
        assert [row.session_id for row in narrow.rows] == ["s1"]
        users = journeys.list_users(session, project.id).rows
        assert [(one.user_id, one.tally.traces, one.tally.low, sum(week[1] for week in one.weeks)) for one in users] == [
            ("u2", 3, 0, 3), ("u1", 3, 1, 3),
        ]  # fmt: skip
        journey = journeys.journey(session, project.id, "u1")
        assert [(one.session_id, one.releases) for one in journey.visits] == [("s1", ["r1", "r2"]), ("s3", ["r2"])]
        assert [(old.low, new.low) for old, new in journeys.changes(journey.releases)] == [(1, 0)]
        assert [turn.input for turn in sessions.conversation(session, project.id, "s1", offset=1).turns] == ["q1"]
        assert journeys.topics_of(session, project.id, ids) == {}
    queue = services.annotation.create_queue(
        admin, project.id, name="Two each", questions=[Question("rating", "rating", "Good?")], min_submitted=2
    )
    items = services.annotation.add_items(admin, queue.id, ids[:2])
    for ratings in ((1, 3), (5, 4)):
        grants = frozenset({Grant(Role.ANNOTATOR, project.id)})
        actor = Actor(id=new_id(), name="Ana", kind=ActorKind.PERSON, grants=grants)
        for item, rating in zip(items, ratings, strict=True):
            services.annotation.lease_item(actor, item.id)
            services.annotation.submit(actor, item.id, {"rating": rating})
    with services.context.reading(admin, project.id) as session:
        first = queries.list_traces(session, project.id, sort=ranking(project.id), limit=1)
        rest = queries.list_traces(session, project.id, sort=ranking(project.id), after=first.next)
        assert {**first.ranked, **rest.ranked} == {ids[0]: 1.0, ids[1]: 0.25}
        assert [row.trace_id for row in first.rows + rest.rows] == ids[:2]
    with services.context.database.writing.begin() as connection:
        assert fill(connection) == 0
