"""OTLP trace requests as JSON.

Source: opentelemetry-proto `ExportTraceServiceRequest`; the JSON form is protobuf JSON with hexadecimal ids, lowerCamelCase
names, 64-bit integers as strings or numbers, and unknown fields ignored.
"""

import base64
import json
from collections.abc import Callable, Iterable
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.decoded import (
    KINDS,
    LAST_NS,
    MAX_DEPTH,
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
    json_number,
    source_of,
)


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
            source = source_of(
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
                        raise Rejected("The span is not a JSON object.")
                    found.spans.append(_from_json(span, source, received_ns))
                except Rejected as error:
                    given = span if isinstance(span, dict) else {"value": span}
                    found.rejected.append(
                        Rejection(
                            str(error),
                            _text(given.get("traceId"))[:64] or None,
                            _text(given.get("spanId"))[:64] or None,
                            _text(given.get("name"))[:200] or None,
                            cut_raw(given),
                        )
                    )
    return found


def _from_json(span: dict[str, Any], source: str, received_ns: int) -> SpanData:
    trace_id, span_id = _hex(span.get("traceId"), 16), _hex(span.get("spanId"), 8)
    check_ids(trace_id, span_id)
    parent = _hex(span.get("parentSpanId"), 8)
    started, ended = checked_times(
        _integer(span.get("startTimeUnixNano"), "startTimeUnixNano"),
        _integer(span.get("endTimeUnixNano"), "endTimeUnixNano"),
        received_ns,
    )
    status = _checked(_object, span, "status")
    data = SpanData(
        trace_id,
        span_id,
        parent if SPAN_ID.fullmatch(parent) and parent.strip("0") else None,
        source,
        clean(_text(span.get("name"))),
        enum_name(KINDS, span.get("kind"), "SPAN_KIND_"),
        started,
        ended,
        enum_name(STATUSES, status.get("code"), "STATUS_CODE_"),
        clean(_text(status.get("message"))),
        _checked(_json_attributes, span.get("attributes")),
    )
    for event in _checked(_objects, span, "events"):
        data.events.append(
            {
                "name": clean(_text(event.get("name"))),
                "time_ns": min(_integer(event.get("timeUnixNano"), "timeUnixNano"), LAST_NS),
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
            data.extra[name] = clean(value) if isinstance(value, str) else value
    return data


def _json_attributes(pairs: Any) -> dict[str, Any]:
    if pairs is None:
        return {}
    attributes: dict[str, Any] = {}
    for pair in _list(pairs, "attributes"):
        if not isinstance(pair, dict) or not isinstance(pair.get("key"), str):
            raise InvalidInput("An attribute is not an object with a `key`.")
        attributes[clean(pair["key"])] = _json_value(pair.get("value"), 0)
    return attributes


def _json_value(value: Any, depth: int) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidInput('An attribute\'s `value` is not an object such as {"stringValue": …}.')
    if depth > MAX_DEPTH:
        raise Rejected(f"An attribute is nested deeper than {MAX_DEPTH} levels.")
    if "stringValue" in value:
        return clean(_text(value["stringValue"]))
    if "intValue" in value:
        number = _integer(value["intValue"], "intValue", signed=True)
        if not -LAST_NS - 1 <= number <= LAST_NS:
            raise Rejected("An attribute's intValue does not fit 64 bits.")
        return number
    if "doubleValue" in value:
        try:
            return json_number(float(value["doubleValue"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise Rejected("An attribute's doubleValue is not a number.") from error
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
        return {clean(pair["key"]): _json_value(pair.get("value"), depth + 1) for pair in pairs}
    if "bytesValue" in value:
        return {"bytesValue": _text(value["bytesValue"])}
    return None


def _checked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Inside one span a wrong shape rejects the span and not the request."""
    try:
        return function(*arguments)
    except InvalidInput as error:
        raise Rejected(str(error)) from error


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
        raise Rejected(f"`{name}` is not a whole number.") from error
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
