"""What decoding a trace request gives, and the checks that every form of it shares."""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.core.errors import InvalidInput

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
SPAN_ID = re.compile(r"[0-9a-f]{16}")
LAST_NS = 9_223_372_036_854_775_807
"""The last moment that 64 bits hold, in the year 2262."""
MAX_DEPTH = 64
"""Levels of lists within lists in one attribute."""
RAW_LIMIT = 16_000
"""Characters that are kept of a rejected span."""


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


class Rejected(InvalidInput):
    """This span cannot be stored; the message says why."""


def source_of(found: Decoded, resource: dict[str, Any], name: str, version: str, attributes: dict[str, Any], url: str) -> str:
    """Note who sent the spans that follow; returns the source's id."""
    scope: dict[str, Any] = {"name": clean(name), "version": clean(version)}
    if attributes:
        scope["attributes"] = attributes
    if url:
        scope["schema_url"] = clean(url)
    key = hash_bytes(json.dumps([resource, scope], sort_keys=True, ensure_ascii=True).encode())
    if key not in found.sources:
        found.sources[key] = Source(key, resource, scope)
    return key


def check_ids(trace_id: str, span_id: str) -> None:
    """Raises Rejected: one of them is no id."""
    if not _TRACE_ID.fullmatch(trace_id) or not trace_id.strip("0"):
        raise Rejected("The trace id is not 16 bytes (32 hexadecimal digits), not all zero.")
    if not SPAN_ID.fullmatch(span_id) or not span_id.strip("0"):
        raise Rejected("The span id is not 8 bytes (16 hexadecimal digits), not all zero.")


def checked_times(started: int, ended: int, received_ns: int) -> tuple[int, int]:
    """Start and end; a missing one is the other, a backward clock is no duration."""
    if started > LAST_NS or ended > LAST_NS:
        raise Rejected("A time lies beyond the year 2262.")
    started = started or ended or received_ns
    return started, max(started, ended)


def enum_name(names: tuple[str, ...], value: Any, prefix: str = "") -> str:
    """The name of an enumeration's number, or of the constant's name; the first one where there is no such."""
    if isinstance(value, str):
        short = value.removeprefix(prefix).lower()
        return short if short in names else names[0]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else names[0]


def json_number(value: float) -> Any:
    """The number, or what stands for one that JSON lacks."""
    return value if math.isfinite(value) else {"doubleValue": "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"}


def clean(text: str) -> str:
    """Text that every database stores: no NUL and no lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-8", "replace").decode()
    return text


def cut_raw(raw: dict[str, Any]) -> dict[str, Any]:
    """A rejected span as it came, cut where it is very long, and storable."""
    text = clean(json.dumps(raw, ensure_ascii=True, default=str))
    if len(text) <= RAW_LIMIT and "\\u0000" not in text and "\\ud" not in text:
        value: dict[str, Any] = json.loads(text)
        return value
    return {"text": text[:RAW_LIMIT]}


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
