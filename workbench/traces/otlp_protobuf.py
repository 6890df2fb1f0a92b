"""OTLP trace requests as protobuf.

Source: opentelemetry-proto `ExportTraceServiceRequest`.
"""

import base64
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from workbench.core.errors import InvalidInput
from workbench.traces.decoded import (
    KINDS,
    LAST_NS,
    MAX_DEPTH,
    RAW_LIMIT,
    SPAN_ID,
    STATUSES,
    Decoded,
    Rejected,
    Rejection,
    SpanData,
    check_ids,
    checked_times,
    clean,
    cut_raw,
    enum_name,
    first_line,
    json_number,
    source_of,
)


def decode_protobuf(body: bytes, *, received_ns: int) -> Decoded:
    """Decode the protobuf form.

    Raises:
        InvalidInput: the bytes are not an ExportTraceServiceRequest.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise InvalidInput("The body is not an OTLP protobuf trace request.", why=first_line(error)) from error
    found = Decoded()
    for resource_spans in request.resource_spans:
        resource = _proto_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            source = source_of(
                found,
                resource,
                scope.name,
                scope.version,
                _proto_attributes(scope.attributes),
                scope_spans.schema_url or resource_spans.schema_url,
            )
            for span in scope_spans.spans:
                try:
                    found.spans.append(_from_proto(span, source, received_ns))
                except Rejected as error:
                    found.rejected.append(
                        Rejection(
                            str(error),
                            span.trace_id.hex() or None,
                            span.span_id.hex() or None,
                            clean(span.name) or None,
                            cut_raw({"text": str(span)[:RAW_LIMIT]}),
                        )
                    )
    return found


def _from_proto(span: Any, source: str, received_ns: int) -> SpanData:
    trace_id, span_id, parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    check_ids(trace_id, span_id)
    started, ended = checked_times(span.start_time_unix_nano, span.end_time_unix_nano, received_ns)
    data = SpanData(
        trace_id,
        span_id,
        parent if SPAN_ID.fullmatch(parent) and parent.strip("0") else None,
        source,
        clean(span.name),
        enum_name(KINDS, span.kind),
        started,
        ended,
        enum_name(STATUSES, span.status.code),
        clean(span.status.message),
        _proto_attributes(span.attributes),
    )
    for event in span.events:
        data.events.append(
            {
                "name": clean(event.name),
                "time_ns": min(event.time_unix_nano, LAST_NS),
                "attributes": _proto_attributes(event.attributes),
            }
        )
    for link in span.links:
        data.links.append(
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": _proto_attributes(link.attributes),
            }
        )
    for name, value in (
        ("trace_state", clean(span.trace_state)),
        ("flags", span.flags),
        ("dropped_attributes_count", span.dropped_attributes_count),
        ("dropped_events_count", span.dropped_events_count),
        ("dropped_links_count", span.dropped_links_count),
    ):
        if value:
            data.extra[name] = value
    return data


def _proto_attributes(pairs: Any) -> dict[str, Any]:
    return {clean(pair.key): _proto_value(pair.value, 0) for pair in pairs}


def _proto_value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return clean(value.string_value)
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return json_number(value.double_value)
    if kind == "bool_value":
        return value.bool_value
    if kind is None:
        return None
    if depth > MAX_DEPTH:
        raise Rejected(f"An attribute is nested deeper than {MAX_DEPTH} levels.")
    if kind == "array_value":
        return [_proto_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {clean(pair.key): _proto_value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
    return None
