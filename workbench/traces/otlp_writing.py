"""Stored spans as OTLP JSON again: what `otlp.decode_json` reads back to the same spans."""

from collections.abc import Iterable, Mapping
from typing import Any

from workbench.traces.decoded import KINDS, STATUSES
from workbench.traces.models import Span, SpanSource

_EXTRA = {
    "trace_state": "traceState",
    "flags": "flags",
    "dropped_attributes_count": "droppedAttributesCount",
    "dropped_events_count": "droppedEventsCount",
    "dropped_links_count": "droppedLinksCount",
}


def export_request(spans: Iterable[Span], sources: Mapping[str, SpanSource]) -> dict[str, Any]:
    """An ExportTraceServiceRequest of the spans, those of one resource and scope together.

    Source: opentelemetry-proto, JSON encoding: hexadecimal ids, 64-bit integers as text.
    """
    by_source: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        by_source.setdefault(span.source_id, []).append(_span(span))
    return {"resourceSpans": [_resource_spans(sources.get(name), found) for name, found in by_source.items()]}


def _resource_spans(source: SpanSource | None, spans: list[dict[str, Any]]) -> dict[str, Any]:
    scope = source.scope if source else {}
    about: dict[str, Any] = {"name": scope.get("name", ""), "version": scope.get("version", "")}
    if scope.get("attributes"):
        about["attributes"] = _attributes(scope["attributes"])
    inner: dict[str, Any] = {"scope": about, "spans": spans}
    if scope.get("schema_url"):
        inner["schemaUrl"] = scope["schema_url"]
    return {"resource": {"attributes": _attributes(source.resource if source else {})}, "scopeSpans": [inner]}


def _span(span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": KINDS.index(span.kind) if span.kind in KINDS else 0,
        "startTimeUnixNano": str(span.started_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _attributes(span.attributes),
        "status": {"code": STATUSES.index(span.status) if span.status in STATUSES else 0, "message": span.status_message},
    }
    if span.parent_span_id:
        made["parentSpanId"] = span.parent_span_id
    if span.events:
        made["events"] = [
            {
                "name": event.get("name", ""),
                "timeUnixNano": str(event.get("time_ns", 0)),
                "attributes": _attributes(event.get("attributes") or {}),
            }
            for event in span.events
        ]
    if span.links:
        made["links"] = [
            {
                "traceId": link.get("trace_id", ""),
                "spanId": link.get("span_id", ""),
                "attributes": _attributes(link.get("attributes") or {}),
            }
            for link in span.links
        ]
    made.update({theirs: span.extra[ours] for ours, theirs in _EXTRA.items() if ours in span.extra})
    return made


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: Any) -> dict[str, Any] | None:
    match value:
        case None:
            return None
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case {"bytesValue": str()} | {"doubleValue": str()} if len(value) == 1:
            return dict(value)  # as decoding keeps what JSON lacks
        case _:
            return {"kvlistValue": {"values": _attributes(value)}}
