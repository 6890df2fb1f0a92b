"""OTLP trace requests, as protobuf or JSON, decoded into spans.

Source: opentelemetry-proto `ExportTraceServiceRequest`; the JSON form is protobuf JSON with hexadecimal ids, lowerCamelCase
names, 64-bit integers as strings or numbers, and unknown fields ignored.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from workbench.core.canonical import hash_bytes
from workbench.core.errors import InvalidInput

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")
_LAST_NS = 9_223_372_036_854_775_807
_MAX_DEPTH = 64
_RAW_LIMIT = 16_000


@dataclass(slots=True)
class SpanData:
    """One span, decoded and checked."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    source_id: str
    name: str
    kind: str
    started_ns: int
    ended_ns: int
    status: str
    status_message: str
    attributes: dict[str, Any]
    events: list[dict[str, Any]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Source:
    """A resource and the instrumentation scope that made the spans."""

    id: str
    resource: dict[str, Any]
    scope: dict[str, Any]


@dataclass(slots=True)
class Rejection:
    """A span that cannot be stored, and why."""

    reason: str
    trace_id: str | None = None
    span_id: str | None = None
    name: str | None = None
    raw: dict[str, Any] | None = None


@dataclass(slots=True)
class Decoded:
    """A request's spans, their sources by id, and what was rejected."""

    spans: list[SpanData] = field(default_factory=list)
    sources: dict[str, Source] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)


class _Rejected(InvalidInput):
    """This span cannot be stored; the message says why."""


def decode(body: bytes, content_type: str, *, received_ns: int) -> Decoded:
    """Decode a request body.

    Args:
        content_type: `application/x-protobuf` or `application/json`, without parameters.
        received_ns: stands in for a time that a span lacks.

    Raises:
        InvalidInput: the body is not an OTLP trace request at all.
    """
    if content_type == "application/json":
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidInput("The body is not JSON.", why=_first_line(error)) from error
        return decode_json(document, received_ns=received_ns)
    return decode_protobuf(body, received_ns=received_ns)


def decode_protobuf(body: bytes, *, received_ns: int) -> Decoded:
    """Decode the protobuf form.

    Raises:
        InvalidInput: the bytes are not an ExportTraceServiceRequest.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise InvalidInput("The body is not an OTLP protobuf trace request.", why=_first_line(error)) from error
    found = Decoded()
    for resource_spans in request.resource_spans:
        resource = _proto_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            source = _source(
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
                except _Rejected as error:
                    found.rejected.append(
                        Rejection(
                            str(error),
                            span.trace_id.hex() or None,
                            span.span_id.hex() or None,
                            _clean(span.name) or None,
                            _cut({"text": str(span)[:_RAW_LIMIT]}),
                        )
                    )
    return found


def decode_json(document: Any, *, received_ns: int) -> Decoded:
    """Decode the JSON form, already parsed.

    Raises:
        InvalidInput: it has not the shape of an ExportTraceServiceRequest.
    """
    if not isinstance(document, dict):
        raise InvalidInput("The body is not an OTLP trace request.", why="It must be a JSON object with `resourceSpans`.")
    found = Decoded()
    for resource_spans in _objects(document, "resourceSpans", "resource_spans"):
        resource = _json_attributes(_object(resource_spans, "resource").get("attributes"))
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            scope = _object(scope_spans, "scope")
            source = _source(
                found,
                resource,
                _text(scope.get("name")),
                _text(scope.get("version")),
                _json_attributes(scope.get("attributes")),
                _text(scope_spans.get("schemaUrl") or resource_spans.get("schemaUrl")),
            )
            for span in _list(scope_spans.get("spans"), "spans"):
                try:
                    if not isinstance(span, dict):
                        raise _Rejected("The span is not a JSON object.")
                    found.spans.append(_from_json(span, source, received_ns))
                except _Rejected as error:
                    given = span if isinstance(span, dict) else {"value": span}
                    found.rejected.append(
                        Rejection(
                            str(error),
                            _text(given.get("traceId"))[:64] or None,
                            _text(given.get("spanId"))[:64] or None,
                            _text(given.get("name"))[:200] or None,
                            _cut(given),
                        )
                    )
    return found


def _source(found: Decoded, resource: dict[str, Any], name: str, version: str, attributes: dict[str, Any], url: str) -> str:
    scope: dict[str, Any] = {"name": _clean(name), "version": _clean(version)}
    if attributes:
        scope["attributes"] = attributes
    if url:
        scope["schema_url"] = _clean(url)
    key = hash_bytes(json.dumps([resource, scope], sort_keys=True, ensure_ascii=True).encode())
    if key not in found.sources:
        found.sources[key] = Source(key, resource, scope)
    return key


# ---------------------------------------------------------------------------------------------------------------- protobuf


def _from_proto(span: Any, source: str, received_ns: int) -> SpanData:
    trace_id, span_id, parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    _check_ids(trace_id, span_id)
    started, ended = _times(span.start_time_unix_nano, span.end_time_unix_nano, received_ns)
    data = SpanData(
        trace_id,
        span_id,
        parent if _SPAN_ID.fullmatch(parent) and parent.strip("0") else None,
        source,
        _clean(span.name),
        _named(KINDS, span.kind),
        started,
        ended,
        _named(STATUSES, span.status.code),
        _clean(span.status.message),
        _proto_attributes(span.attributes),
    )
    for event in span.events:
        data.events.append(
            {
                "name": _clean(event.name),
                "time_ns": min(event.time_unix_nano, _LAST_NS),
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
        ("trace_state", _clean(span.trace_state)),
        ("flags", span.flags),
        ("dropped_attributes_count", span.dropped_attributes_count),
        ("dropped_events_count", span.dropped_events_count),
        ("dropped_links_count", span.dropped_links_count),
    ):
        if value:
            data.extra[name] = value
    return data


def _proto_attributes(pairs: Any) -> dict[str, Any]:
    return {_clean(pair.key): _proto_value(pair.value, 0) for pair in pairs}


def _proto_value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _clean(value.string_value)
    if kind == "int_value":
        return value.int_value
    if kind == "double_value":
        return _number(value.double_value)
    if kind == "bool_value":
        return value.bool_value
    if kind is None:
        return None
    if depth > _MAX_DEPTH:
        raise _Rejected(f"An attribute is nested deeper than {_MAX_DEPTH} levels.")
    if kind == "array_value":
        return [_proto_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {_clean(pair.key): _proto_value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
    return None


# -------------------------------------------------------------------------------------------------------------------- JSON


def _from_json(span: dict[str, Any], source: str, received_ns: int) -> SpanData:
    trace_id, span_id = _hex(span.get("traceId"), 16), _hex(span.get("spanId"), 8)
    _check_ids(trace_id, span_id)
    parent = _hex(span.get("parentSpanId"), 8)
    started, ended = _times(
        _integer(span.get("startTimeUnixNano"), "startTimeUnixNano"),
        _integer(span.get("endTimeUnixNano"), "endTimeUnixNano"),
        received_ns,
    )
    status = _checked(_object, span, "status")
    data = SpanData(
        trace_id,
        span_id,
        parent if _SPAN_ID.fullmatch(parent) and parent.strip("0") else None,
        source,
        _clean(_text(span.get("name"))),
        _named(KINDS, span.get("kind"), "SPAN_KIND_"),
        started,
        ended,
        _named(STATUSES, status.get("code"), "STATUS_CODE_"),
        _clean(_text(status.get("message"))),
        _checked(_json_attributes, span.get("attributes")),
    )
    for event in _checked(_objects, span, "events"):
        data.events.append(
            {
                "name": _clean(_text(event.get("name"))),
                "time_ns": min(_integer(event.get("timeUnixNano"), "timeUnixNano"), _LAST_NS),
                "attributes": _checked(_json_attributes, event.get("attributes")),
            }
        )
    for link in _checked(_objects, span, "links"):
        data.links.append(
            {
                "trace_id": _hex(link.get("traceId"), 16),
                "span_id": _hex(link.get("spanId"), 8),
                "attributes": _checked(_json_attributes, link.get("attributes")),
            }
        )
    for name, key in (
        ("trace_state", "traceState"),
        ("flags", "flags"),
        ("dropped_attributes_count", "droppedAttributesCount"),
        ("dropped_events_count", "droppedEventsCount"),
        ("dropped_links_count", "droppedLinksCount"),
    ):
        value = span.get(key)
        if value and isinstance(value, str | int):
            data.extra[name] = _clean(value) if isinstance(value, str) else value
    return data


def _json_attributes(pairs: Any) -> dict[str, Any]:
    if pairs is None:
        return {}
    attributes: dict[str, Any] = {}
    for pair in _list(pairs, "attributes"):
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            raise InvalidInput("An attribute is not an object with a `key`.")
        attributes[_clean(pair["key"])] = _json_value(pair.get("value"), 0)
    return attributes


def _json_value(value: Any, depth: int) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidInput('An attribute\'s `value` is not an object such as {"stringValue": …}.')
    if depth > _MAX_DEPTH:
        raise _Rejected(f"An attribute is nested deeper than {_MAX_DEPTH} levels.")
    if "stringValue" in value:
        return _clean(_text(value["stringValue"]))
    if "intValue" in value:
        number = _integer(value["intValue"], "intValue", signed=True)
        if not -_LAST_NS - 1 <= number <= _LAST_NS:
            raise _Rejected("An attribute's intValue does not fit 64 bits.")
        return number
    if "doubleValue" in value:
        try:
            return _number(float(value["doubleValue"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise _Rejected("An attribute's doubleValue is not a number.") from error
    if "boolValue" in value:
        return value["boolValue"] in (True, "true")
    if "arrayValue" in value:
        inner = value["arrayValue"]
        items = inner.get("values") if isinstance(inner, dict) else None
        return [_json_value(item, depth + 1) for item in _list(items, "arrayValue.values")]
    if "kvlistValue" in value:
        inner = value["kvlistValue"]
        pairs = _list(inner.get("values") if isinstance(inner, dict) else None, "kvlistValue.values")
        if not all(isinstance(pair, dict) and isinstance(pair.get("key"), str) for pair in pairs):
            raise InvalidInput("A pair of a kvlistValue has no `key`.")
        return {_clean(pair["key"]): _json_value(pair.get("value"), depth + 1) for pair in pairs}
    if "bytesValue" in value:
        return {"bytesValue": _text(value["bytesValue"])}
    return None


def _checked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Inside one span a wrong shape rejects the span and not the request."""
    try:
        return function(*arguments)
    except InvalidInput as error:
        raise _Rejected(str(error)) from error


def _objects(parent: dict[str, Any], *names: str) -> Iterable[dict[str, Any]]:
    for name in names:
        if parent.get(name) is not None:
            items = _list(parent[name], name)
            if not all(isinstance(item, dict) for item in items):
                raise InvalidInput(f"`{name}` holds something that is not an object.")
            return items
    return []


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"`{name}` is not an object.")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"`{name}` is not a list.")
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _integer(value: Any, name: str, *, signed: bool = False) -> int:
    """An integer given as number or string; 0 when absent."""
    if value is None or value == "":
        return 0
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str):
            if len(value) > 40:  # Python refuses, and we do not need, thousands of digits
                raise ValueError
            number = int(value)
        elif isinstance(value, float):
            if not value.is_integer():
                raise ValueError
            number = int(value)
        else:
            number = int(value)
        if number < 0 and not signed:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise _Rejected(f"`{name}` is not a whole number.") from error
    return number


def _hex(value: Any, size: int) -> str:
    """An id as lower-case hexadecimal digits; some senders follow protobuf JSON to the letter and send base64."""
    text = _text(value)
    if len(text) == 4 * ((size + 2) // 3) and text.endswith("="):
        try:
            decoded = base64.b64decode(text, validate=True)
        except ValueError:
            return text.lower()
        if len(decoded) == size:
            return decoded.hex()
    return text.lower()


# ------------------------------------------------------------------------------------------------------------------ common


def _check_ids(trace_id: str, span_id: str) -> None:
    if not _TRACE_ID.fullmatch(trace_id) or not trace_id.strip("0"):
        raise _Rejected("The trace id is not 16 bytes (32 hexadecimal digits), not all zero.")
    if not _SPAN_ID.fullmatch(span_id) or not span_id.strip("0"):
        raise _Rejected("The span id is not 8 bytes (16 hexadecimal digits), not all zero.")


def _times(started: int, ended: int, received_ns: int) -> tuple[int, int]:
    """Start and end; a missing one is the other, a backward clock is no duration."""
    if started > _LAST_NS or ended > _LAST_NS:
        raise _Rejected("A time lies beyond the year 2262.")
    started = started or ended or received_ns
    return started, max(started, ended)


def _named(names: tuple[str, ...], value: Any, prefix: str = "") -> str:
    if isinstance(value, str):
        short = value.removeprefix(prefix).lower()
        return short if short in names else names[0]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else names[0]


def _number(value: float) -> Any:
    return value if math.isfinite(value) else {"doubleValue": "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"}


def _clean(text: str) -> str:
    """Text that every database stores: no NUL and no lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return text


def _cut(raw: dict[str, Any]) -> dict[str, Any]:
    """A rejected span as it came, cut where it is very long, and storable."""
    text = _clean(json.dumps(raw, ensure_ascii=True, default=str))
    if len(text) <= _RAW_LIMIT and "\\u0000" not in text and "\\ud" not in text:
        value: dict[str, Any] = json.loads(text)
        return value
    return {"text": text[:_RAW_LIMIT]}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
