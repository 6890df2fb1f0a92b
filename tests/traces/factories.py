"""Spans and requests for tests, in both forms of OTLP."""

import json
import secrets
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from workbench.traces.assemble import StoredSpan

START = 1_780_000_000_000_000_000


def any_value(value: Any) -> dict[str, Any]:
    """A JSON value as OTLP JSON's AnyValue."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    return {"kvlistValue": {"values": [{"key": key, "value": any_value(item)} for key, item in value.items()]}}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": any_value(value)} for key, value in values.items()]


def span(
    values: dict[str, Any] | None = None,
    *,
    trace_id: str | None = None,
    span_id: str | None = None,
    parent: str | None = None,
    name: str = "step",
    start: int = START,
    milliseconds: float = 10,
    error: str | None = None,
    events: list[tuple[str, dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """One span in OTLP JSON."""
    made: dict[str, Any] = {
        "traceId": trace_id or secrets.token_hex(16),
        "spanId": span_id or secrets.token_hex(8),
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + int(milliseconds * 1e6)),
        "attributes": attributes(values or {}),
        "status": {"code": 2, "message": error} if error else {},
        "events": [
            {"name": title, "timeUnixNano": str(start), "attributes": attributes(inside)} for title, inside in events or []
        ],
    }
    if parent:
        made["parentSpanId"] = parent
    return made


def request(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """An ExportTraceServiceRequest in OTLP JSON."""
    scope = {"scope": {"name": "tests", "version": "1"}, "spans": list(spans)}
    return {
        "resourceSpans": [{"resource": {"attributes": attributes(resource or {"service.name": "app"})}, "scopeSpans": [scope]}]
    }


def body(*spans: dict[str, Any]) -> bytes:
    """The JSON body of a request."""
    return json.dumps(request(*spans)).encode()


def protobuf(document: dict[str, Any]) -> bytes:
    """The same request as protobuf."""
    message = ExportTraceServiceRequest()
    for resource_spans in document["resourceSpans"]:
        into = message.resource_spans.add()
        _put(into.resource.attributes, resource_spans["resource"]["attributes"])
        for scope_spans in resource_spans["scopeSpans"]:
            scope = into.scope_spans.add()
            scope.scope.name, scope.scope.version = scope_spans["scope"]["name"], scope_spans["scope"]["version"]
            for one in scope_spans["spans"]:
                made = scope.spans.add()
                made.trace_id, made.span_id = bytes.fromhex(one["traceId"]), bytes.fromhex(one["spanId"])
                made.parent_span_id = bytes.fromhex(one.get("parentSpanId", ""))
                made.name, made.kind = one["name"], one["kind"]
                made.start_time_unix_nano = int(one["startTimeUnixNano"])
                made.end_time_unix_nano = int(one["endTimeUnixNano"])
                made.status.code, made.status.message = one["status"].get("code", 0), one["status"].get("message", "")
                _put(made.attributes, one["attributes"])
                for event in one["events"]:
                    happened = made.events.add()
                    happened.name, happened.time_unix_nano = event["name"], int(event["timeUnixNano"])
                    _put(happened.attributes, event["attributes"])
    return message.SerializeToString()


def _put(pairs: Any, given: list[dict[str, Any]]) -> None:
    for one in given:
        pair = pairs.add()
        pair.key = one["key"]
        _set(pair.value, one["value"])


def _set(into: AnyValue, value: dict[str, Any]) -> None:
    ((kind, inner),) = value.items()
    if kind == "stringValue":
        into.string_value = inner
    elif kind == "boolValue":
        into.bool_value = inner
    elif kind == "intValue":
        into.int_value = int(inner)
    elif kind == "doubleValue":
        into.double_value = inner
    elif kind == "arrayValue":
        into.array_value.SetInParent()
        for item in inner["values"]:
            _set(into.array_value.values.add(), item)
    else:
        into.kvlist_value.SetInParent()
        _put(into.kvlist_value.values, inner["values"])


def stored(values: dict[str, Any], **given: Any) -> StoredSpan:
    """A span as assembly reads it."""
    start = given.pop("start", START)
    return StoredSpan(
        span_id=given.pop("span_id", secrets.token_hex(8)),
        parent_span_id=given.pop("parent", None),
        name=given.pop("name", "step"),
        started_ns=start,
        ended_ns=start + int(given.pop("milliseconds", 10) * 1e6),
        status=given.pop("status", "unset"),
        status_message=given.pop("message", ""),
        attributes=values,
        events=[{"name": name, "time_ns": start, "attributes": inside} for name, inside in given.pop("events", [])],
        resource=given.pop("resource", {}),
    )


def turn(
    trace_id: str, question: str, answer: str, *, model: str = "model-a", session: str = "s-1", start: int = START
) -> list[dict[str, Any]]:
    """A chat turn of three spans: the root, a retrieval, a model call."""
    root = secrets.token_hex(8)
    messages = [{"role": "user", "parts": [{"type": "text", "content": question}]}]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
    documents = [{"id": "k-1", "score": 0.9, "content": "A fact."}]
    outer = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": session}
    retrieval = {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": json.dumps(documents)}
    chat = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.input.messages": json.dumps(messages),
        "gen_ai.output.messages": json.dumps(said),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
    }
    return [
        span(outer, trace_id=trace_id, span_id=root, name="turn", start=start, milliseconds=900),
        span(retrieval, trace_id=trace_id, parent=root, start=start + 1_000_000),
        span(chat, trace_id=trace_id, parent=root, start=start + 20_000_000, milliseconds=800),
    ]


def agent_trace(trace_id: str, spans: int, *, start: int = START) -> list[dict[str, Any]]:
    """A long agent's trace: a root, and below it rounds of planning, model calls, retrievals and tools, some of which fail."""
    root = secrets.token_hex(8)
    made = [
        span(
            {"gen_ai.operation.name": "invoke_agent", "workbench.input": "Check every account.", "workbench.output": "Done."},
            trace_id=trace_id,
            span_id=root,
            name="agent",
            start=start,
            milliseconds=spans * 2,
        )
    ]
    kinds = (("chat", "model call"), ("retrieval", "look up"), ("execute_tool", "get account"), ("embeddings", "embed"))
    parent = root
    for number in range(1, spans):
        at = start + number * 2_000_000
        if number % 10 == 1:
            parent = secrets.token_hex(8)
            name = f"round {number // 10}"
            made.append(span({}, trace_id=trace_id, span_id=parent, parent=root, name=name, start=at, milliseconds=18))
            continue
        operation, name = kinds[number % 4]
        values = {"gen_ai.operation.name": operation, "step.number": number, "step.note": f"account {number} " + "x" * 60}
        error = "account is locked" if number % 1000 == 8 else None
        made.append(span(values, trace_id=trace_id, parent=parent, name=name, start=at, milliseconds=1.5, error=error))
    return made
