"""The OTLP receiver over real HTTP: what clients send, and what nobody should."""

import base64
import gzip
import json
import secrets
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode

from tests.traces.factories import body, protobuf, request, span, turn
from workbench.api import otlp
from workbench.bootstrap import Services
from workbench.core.errors import NotFound
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import queries
from workbench.traces.models import Trace

PROTOBUF, JSON = {"Content-Type": "application/x-protobuf"}, {"Content-Type": "application/json"}


def eventually(services: Services, project: Project, trace_id: str, spans: int, seconds: float = 30) -> Trace:
    """The trace once the api has assembled this many of its spans."""
    until = time.monotonic() + seconds
    while True:
        try:
            with services.context.database.session() as session:
                trace = queries.get_trace(session, project.id, trace_id)
            if trace.span_count >= spans:
                return trace
        except NotFound:
            pass
        assert time.monotonic() < until, "the trace did not become readable"
        time.sleep(0.03)


def status_of(response: httpx.Response) -> tuple[int, str]:
    """Code and message of a google.rpc.Status in either form."""
    if response.headers["content-type"] == "application/json":
        document = response.json()
        return document["code"], document["message"]
    data = response.content
    assert (data[0], data[2]) == (0x08, 0x12)
    start = 4 if data[3] < 0x80 else 5
    return data[1], data[start:].decode()


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_the_opentelemetry_sdk_exports_a_nested_trace(
    server: str, services: Services, project: Project, make_key: Callable[..., str], compression: str
) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression

    exporter = OTLPSpanExporter(
        endpoint=f"{server}/v1/traces",
        headers={"Authorization": f"Bearer {make_key('ingest')}"},
        compression=Compression(compression),
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "sdk", "service.version": "7"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span(
        "turn", attributes={"session.id": "s-9", "gen_ai.operation.name": "invoke_agent"}
    ) as root:
        trace_id = f"{root.get_span_context().trace_id:032x}"
        with tracer.start_as_current_span(
            "chat",
            attributes={
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "m",
                "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hello there?"}]}]),
                "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Hi."}]}]),
                "gen_ai.response.finish_reasons": ["stop"],
            },
        ) as chat:
            chat.set_status(StatusCode.OK)
            chat.add_event("first", {"n": 1})
    provider.shutdown()
    trace = eventually(services, project, trace_id, 2)
    assert (trace.input, trace.output, trace.model, trace.session_id, trace.release) == ("Hello there?", "Hi.", "m", "s-9", "7")


def test_spans_that_arrive_in_any_order_make_one_trace(client: httpx.Client, services: Services, project: Project) -> None:
    trace_id = secrets.token_hex(16)
    for one in reversed(turn(trace_id, "Q?", "A.")):
        assert client.post("/v1/traces", content=body(one), headers=JSON).status_code == 200
    trace = eventually(services, project, trace_id, 3)
    assert (trace.input, trace.output, trace.name) == ("Q?", "A.", "turn")


def test_the_answer_has_the_requests_type(client: httpx.Client) -> None:
    document = request(*turn(secrets.token_hex(16), "q", "a"))
    binary = client.post("/v1/traces", content=protobuf(document), headers=PROTOBUF)
    assert (binary.status_code, binary.headers["content-type"]) == (200, "application/x-protobuf")
    assert not ExportTraceServiceResponse.FromString(binary.content).HasField("partial_success")
    text = client.post("/v1/traces", content=json.dumps(document), headers={"Content-Type": "application/json; charset=utf-8"})
    assert (text.status_code, text.headers["content-type"], text.json()) == (200, "application/json", {})


def test_empty_requests_are_fine(client: httpx.Client) -> None:
    assert client.post("/v1/traces", content=b"", headers=PROTOBUF).status_code == 200
    assert client.post("/v1/traces", content=b"{}", headers=JSON).status_code == 200
    assert client.post("/v1/traces", content=b'{"resourceSpans": []}', headers=JSON).status_code == 200


def test_rejected_spans_are_reported_and_kept(client: httpx.Client, services: Services, project: Project) -> None:
    good = secrets.token_hex(16)
    document = request(*turn(good, "q", "a"), span(trace_id="0" * 32))
    text = client.post("/v1/traces", content=json.dumps(document), headers=JSON)
    assert text.status_code == 200
    assert text.json()["partialSuccess"]["rejectedSpans"] == "1"
    binary = client.post("/v1/traces", content=protobuf(document), headers=PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(binary.content).partial_success
    assert partial.rejected_spans == 1
    assert "trace id" in partial.error_message
    with services.context.database.session() as session:
        assert len(queries.rejected_spans(session, project.id)) == 2
    eventually(services, project, good, 3)


def test_a_resend_is_acknowledged_and_stored_once(client: httpx.Client, services: Services, project: Project) -> None:
    trace_id = secrets.token_hex(16)
    for _ in range(3):
        assert client.post("/v1/traces", content=body(*turn(trace_id, "q", "a")), headers=JSON).status_code == 200
    trace = eventually(services, project, trace_id, 3)
    assert (trace.span_count, trace.input_tokens) == (3, 20)


@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_bodies_that_cannot_be_read_are_bad_requests_and_are_kept_as_rejected(
    client: httpx.Client, services: Services, project: Project, kind: dict[str, str]
) -> None:
    for data in (b"\xff\xfe nonsense", b"{" * 5000, b'{"resourceSpans": 5}' if kind is JSON else b"\x0a\xff"):
        response = client.post("/v1/traces", content=data, headers=kind)
        assert response.status_code == 400
        assert status_of(response)[0] == 3
        assert response.headers["content-type"] == kind["Content-Type"]
    with services.context.database.session() as session:
        assert len(queries.rejected_spans(session, project.id)) == 3


def test_a_key_is_needed_and_its_scope_counts(server: str, make_key: Callable[..., str]) -> None:
    def post(headers: dict[str, str]) -> httpx.Response:
        return httpx.post(f"{server}/v1/traces", content=body(span()), headers={**JSON, **headers})

    for headers in ({}, {"Authorization": "Bearer wb_unknown"}, {"Authorization": "Basic !!"}, {"Authorization": "Bearer"}):
        response = post(headers)
        assert (response.status_code, status_of(response)[0]) == (401, 16)
        assert "Bearer" in response.headers["www-authenticate"]
    assert post({"Authorization": f"Bearer {make_key('gateway')}"}).status_code == 403
    basic = base64.b64encode(f"pk:{make_key('ingest')}".encode()).decode()
    assert post({"Authorization": f"Basic {basic}"}).status_code == 200


def test_a_revoked_key_ends_at_once(server: str, services: Services, project: Project) -> None:
    row, secret = services.identity.create_key(local_administrator(), project_id=project.id, name="k", scopes=["ingest"])
    headers = {**JSON, "Authorization": f"Bearer {secret}"}
    assert httpx.post(f"{server}/v1/traces", content=body(span()), headers=headers).status_code == 200
    services.identity.revoke_key(local_administrator(), row.id)
    assert httpx.post(f"{server}/v1/traces", content=body(span()), headers=headers).status_code == 401


def test_other_types_and_encodings_are_not_supported(client: httpx.Client) -> None:
    assert client.post("/v1/traces", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/v1/traces", content=b"x").status_code == 415
    assert client.post("/v1/traces", content=body(span()), headers={**JSON, "Content-Encoding": "br"}).status_code == 415
    assert client.get("/v1/traces").status_code == 405


def test_gzip_and_deflate_are_unpacked(client: httpx.Client) -> None:
    data = body(span())
    raw = zlib.compressobj(wbits=-15)
    for encoding, packed in (
        ("gzip", gzip.compress(data)),
        ("gzip", gzip.compress(data[:10]) + gzip.compress(data[10:])),
        ("deflate", zlib.compress(data)),
        ("deflate", raw.compress(data) + raw.flush()),
        ("identity", data),
    ):
        assert client.post("/v1/traces", content=packed, headers={**JSON, "Content-Encoding": encoding}).status_code == 200
    for damaged in (gzip.compress(data)[:-9], b"\x1f\x8b junk", b"plain"):
        assert client.post("/v1/traces", content=damaged, headers={**JSON, "Content-Encoding": "gzip"}).status_code == 400


def test_a_gzip_bomb_is_too_large_and_never_unpacked_whole(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b"\0" * (200 << 20), compresslevel=1)
    response = client.post("/v1/traces", content=bomb, headers={**PROTOBUF, "Content-Encoding": "gzip"})
    assert (response.status_code, status_of(response)[0]) == (413, 8)
    monkeypatch.setattr(otlp, "MAX_BODY", 1000)
    assert client.post("/v1/traces", content=b"x" * 1001, headers=PROTOBUF).status_code == 413

    def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100

    assert client.post("/v1/traces", content=chunks(), headers=PROTOBUF).status_code == 413


def test_when_too_much_waits_senders_are_told_when_to_come_back(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "_MAX_WAITING", 0)
    response = client.post("/v1/traces", content=body(span()), headers=JSON)
    assert (response.status_code, status_of(response)[0]) == (429, 8)
    assert int(response.headers["retry-after"]) >= 1


def test_when_the_database_cannot_take_it_senders_keep_it(
    client: httpx.Client, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    def full(*_: object, **__: object) -> None:
        raise OperationalError("insert", {}, Exception("database or disk is full"))

    monkeypatch.setattr("workbench.traces.store._insert", full)
    response = client.post("/v1/traces", content=body(span()), headers=JSON)
    assert (response.status_code, status_of(response)[0]) == (503, 14)
    assert "retry-after" in response.headers


def test_logs_and_metrics_are_accepted_with_a_warning(client: httpx.Client) -> None:
    for path in ("/v1/logs", "/v1/metrics"):
        assert "dropped" in client.post(path, content=b"{}", headers=JSON).json()["partialSuccess"]["errorMessage"]
        binary = client.post(path, content=b"", headers=PROTOBUF)
        assert binary.status_code == 200
        assert ExportTraceServiceResponse.FromString(binary.content).partial_success.error_message


def test_the_address_of_langfuses_sdk_works_too(client: httpx.Client) -> None:
    assert client.post("/api/public/otel/v1/traces", content=protobuf(request(span())), headers=PROTOBUF).status_code == 200


def _mutated(data: bytes, cut: int, at: int, junk: bytes) -> bytes:
    position = at % (len(data) + 1)
    return (data[:position] + junk + data[position:])[: max(0, len(data) - cut)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.builds(
            _mutated,
            st.sampled_from([protobuf(request(*turn("ab" * 16, "q", "a"))), body(*turn("cd" * 16, "q", "a"))]),
            st.integers(0, 200),
            st.integers(0, 2000),
            st.binary(max_size=30),
        ),
    ),
    kind=st.sampled_from(["application/json", "application/x-protobuf"]),
    encoding=st.sampled_from(["", "gzip", "deflate"]),
    packed=st.booleans(),
)
def test_whatever_comes_gets_a_right_status_and_the_server_stays_up(
    client: httpx.Client, data: bytes, kind: str, encoding: str, packed: bool
) -> None:
    if packed and encoding:
        data = gzip.compress(data) if encoding == "gzip" else zlib.compress(data)
    headers = {"Content-Type": kind, **({"Content-Encoding": encoding} if encoding else {})}
    response = client.post("/v1/traces", content=data, headers=headers)
    assert response.status_code in (200, 400)
    assert response.headers["content-type"] == kind
    if response.status_code == 400:
        assert status_of(response)[1]
