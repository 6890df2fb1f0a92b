"""Exports: what comes out is what is stored, goes in again as the same traces, and has the types it says."""

import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import col, select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from tests.traces.factories import agent_trace, request, span, turn
from workbench.app.downloads import downloads_app
from workbench.bootstrap import Services, bootstrap
from workbench.cli.commands import app
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotAllowed, NotFound
from workbench.core.recording import AuditOutbox
from workbench.core.settings import REPOSITORY, Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import exporting, queries
from workbench.traces.cli_views import trace_as_json
from workbench.traces.exporting import COLUMNS, write_export
from workbench.traces.hits import all_hits
from workbench.traces.indexer import index_all
from workbench.traces.models import Span, SpanSource
from workbench.traces.otlp_json import decode_json
from workbench.traces.otlp_writing import export_request
from workbench.traces.queries import TraceFilter

DOWNLOADS = ("traces.export_downloaded",)


@pytest.fixture
def filled(services: Services, project: Project, key: Actor) -> list[str]:
    """Three traces, newest first: a turn, an odd span, a long agent's."""
    moment = int((now() - timedelta(hours=2)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in range(3)]
    odd = span(
        {
            "workbench.input": "¿Dónde?\u2028 <script>",
            "workbench.output": "Here.",
            "workbench.cost": "0.000000125",
            "workbench.tags": ["b", "a"],
            "n": 1,
            "x": 1.0,
            "deep": {"list": [True, {"k": 2**60}]},
        },
        trace_id=ids[1],
        start=moment + 10,
        error="failed",
        events=[("note", {"at": 2.5})],
    )
    odd["attributes"] += [
        {"key": "bytes", "value": {"bytesValue": "AAE="}},
        {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "nothing", "value": None},
    ]
    odd |= {"links": [{"traceId": ids[0], "spanId": "12" * 8, "attributes": []}], "traceState": "a=b", "flags": 257}
    for document in (
        request(*turn(ids[2], "A turn?", "Yes.", start=moment + 20)),
        request(odd, resource={"service.name": "other", "n": 3}),
        request(*agent_trace(ids[0], 60, start=moment)),
    ):
        services.traces.ingest_otlp(key, project.id, document)
    services.traces.add_feedback(key, project.id, trace_id=ids[1], value=2, minimum=1, maximum=5, name="rating")
    services.traces.add_feedback(key, project.id, trace_id=ids[1], kind="correction", value="There.", name="wanted")
    index_all(services.context)
    return ids[::-1]


def whole(services: Services, project: Project, trace_ids: list[str]) -> list[dict[str, Any]]:
    with services.context.database.session() as session:
        return [trace_as_json(session, project.id, one, project="p") for one in trace_ids]


@pytest.mark.parametrize("most", [1000, 20])
def test_exported_otlp_imports_again_to_the_same_traces(
    services: Services, project: Project, filled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(exporting, "_SPANS", most)
    path = tmp_path / "out.otlp.jsonl"
    written = write_export(services.context, project.id, filled, "otlp", path)
    assert (written.traces, written.spans, written.missing) == (3, 64, 0)
    other = bootstrap(settings=Settings(home=tmp_path / "other"))
    other.context.database.create_all()
    there = other.identity.add_project(local_administrator(), key="test-bank", name="Other")
    report = other.traces.import_file(local_administrator(), there.id, path)
    assert (report.format, report.new, report.bad_lines, report.rejected) == ("otlp", 64, [], [])
    before, after = whole(services, project, filled), whole(other, there, filled)
    for one in (*before, *after):
        one["feedback"], one["rating"] = [], None  # is no part of the spans
    assert after == before
    with services.context.database.session() as here, other.context.database.session() as away:
        for model, name in ((Span, "span_id"), (SpanSource, "id")):
            rows = [
                sorted(
                    (row.model_dump(exclude={"id", "project_id", "received_at", "mask_policy"} if model is Span else set())
                     for row in session.exec(select(model))),
                    key=lambda row: str(row[name]),
                )
                for session in (here, away)
            ]  # fmt: skip
            assert rows[0] == rows[1]
    other.context.database.dispose()


_plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8)
_values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=6), _values, max_size=4))
def test_any_attributes_are_written_as_they_were_read(values: dict[str, Any]) -> None:
    source = SpanSource(id="s", resource={}, scope={"name": "n", "version": ""})

    def written(attributes: dict[str, Any]) -> dict[str, Any]:
        row = Span(
            project_id="p", trace_id="ab" * 16, span_id="cd" * 8, source_id="s", name="x", started_ns=1, ended_ns=2,
            attributes=attributes,
        )  # fmt: skip
        document = json.loads(json.dumps(export_request([row], {"s": source})))
        (one,) = decode_json(document, received_ns=1).spans
        return one.attributes

    first = written(values)
    assert written(first) == first


def test_parquet_reads_in_pandas_with_the_types_it_says(
    services: Services, project: Project, filled: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "out.parquet"
    written = write_export(services.context, project.id, [*filled, "ff" * 16], "parquet", path)
    assert (written.traces, written.missing) == (3, 1)
    frame = pd.read_parquet(path)
    assert list(frame["trace_id"]) == filled
    assert str(frame["started_at"].dtype).endswith("UTC]")
    assert frame["duration_ms"].dtype == "float64"
    assert frame["span_count"].dtype == "int64"
    assert frame["has_correction"].dtype == "bool"
    odd = frame.iloc[1]
    assert (odd["cost"], list(odd["tags"]), odd["rating"], odd["correction"]) == (
        Decimal("0.000000125"), ["a", "b"], 2.0, "There.",
    )  # fmt: skip
    assert (odd["input"], odd["status"]) == ("¿Dónde?\u2028 <script>", "error")
    assert [one["kind"] for one in json.loads(odd["feedback"])] == ["float", "correction"]
    assert pq.read_schema(path).names == [column.name for column in COLUMNS]


def test_json_lines_say_the_same_as_parquet(services: Services, project: Project, filled: list[str], tmp_path: Path) -> None:
    write_export(services.context, project.id, filled, "jsonl", tmp_path / "out.jsonl")
    write_export(services.context, project.id, filled, "parquet", tmp_path / "out.parquet")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().split(b"\n") if line]
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for row, other in zip(rows, table, strict=True):
        assert list(row) == [column.name for column in COLUMNS]
        for column in COLUMNS:
            mine, theirs = row[column.name], other[column.name]
            if column.type == "json":
                theirs = json.loads(theirs)
            elif column.type == "time":
                mine, theirs = pd.Timestamp(mine), pd.Timestamp(theirs)
            elif column.type == "money" and mine is not None:
                mine = Decimal(mine)
            assert mine == theirs, column.name


def test_every_column_is_documented() -> None:
    text = (REPOSITORY / "docs" / "traces.md").read_text(encoding="utf-8")
    assert [column.name for column in COLUMNS if f"| `{column.name}` | {column.type} |" not in text] == []


def test_an_export_is_a_file_for_those_who_may_and_its_undo_removes_it(
    services: Services, project: Project, filled: list[str], someone: Callable[..., Actor]
) -> None:
    engineer = someone(Role.ENGINEER)
    with services.context.database.session() as session:
        about = all_hits(session, project.id, TraceFilter(text="turn"))
    with pytest.raises(NotAllowed):
        services.bulk.begin(someone(Role.ANNOTATOR), project.id, "export", {"format": "otlp"}, about)
    with pytest.raises(InvalidInput):
        services.bulk.begin(engineer, project.id, "export", {"format": "xlsx"}, about)
    act = services.bulk.begin(engineer, project.id, "export", {"format": "jsonl"}, about)
    assert (act.state, act.changed, act.result["traces"]) == ("done", 1, 1)
    admin = local_administrator()
    eve = services.identity.add_person(admin, email="eve@test.example", name="Eve", password="a long password")
    services.identity.grant(admin, eve.id, Role.REVIEWER, project.id)
    client = TestClient(downloads_app(services), base_url="http://test")
    assert client.get(f"/{act.id}").status_code == 401
    token = services.identity.sign_in("eve@test.example", "a long password", client_host=None).token
    client.cookies.set("workbench_session", token)
    answer = client.get(f"/{act.id}")
    assert (answer.status_code, json.loads(answer.content)["trace_id"]) == (200, filled[0])
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert client.get("/nothing").status_code == 404
    with services.context.database.session() as session:
        recorded = session.exec(select(AuditOutbox).where(col(AuditOutbox.type).in_(DOWNLOADS))).all()
    assert [(row.actor_name, row.details["act_event"]) for row in recorded] == [("Eve", act.event_id)]
    path, _ = services.bulk.open_export(engineer, act.id)
    services.bulk.undo(engineer, act.id)
    assert not path.exists()
    with pytest.raises(NotFound):
        services.bulk.open_export(engineer, act.id)


def test_the_command_line_exports_what_its_filter_lists(
    services: Services, project: Project, filled: list[str], tmp_path: Path
) -> None:
    home, out = str(services.context.settings.home), tmp_path / "x.jsonl"
    given = ["traces", "export", "--home", home, "--format", "jsonl", "--out", str(out)]
    result = CliRunner().invoke(app, [*given, "--where", "feedback=correction", "--where", "rating<=2"])
    assert (result.exit_code, "1 traces" in result.stdout) == (0, True)
    assert [json.loads(line)["trace_id"] for line in out.read_bytes().split(b"\n") if line] == [filled[1]]
    with services.context.database.session() as session:
        (event,) = session.exec(select(AuditOutbox).where(AuditOutbox.type == "traces.exported")).all()
        assert queries.trace_ids(session, project.id, TraceFilter(has_correction=True)) == [filled[1]]
    assert (event.details["count"], event.details["filter"]["rating_max"]) == (1, 2)
    before = out.read_bytes()
    again = CliRunner().invoke(app, given)
    assert again.exit_code != 0
    assert out.read_bytes() == before
