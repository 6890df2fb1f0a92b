"""What every importer builds with: ids by hash, times in any usual form, spans whose values every database stores."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.decoded import Decoded, Source, SpanData

_MAX_DEPTH = 64
_LAST_NS = 9_223_372_036_854_775_807
_FORMATS = ("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y")


@dataclass
class Piece:
    """What one record of a file says."""

    decoded: Decoded = field(default_factory=Decoded)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    """Values for `feedback_row`; each has a `key`, so that importing again adds nothing."""


def hashed(text: str, digits: int) -> str:
    """An id that the same text always gets."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]


def fingerprint(value: Any) -> str:
    """What tells one record from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str, ensure_ascii=True).encode()).hexdigest()


class Occurrences:
    """Tells equal records of one file apart by their order, so that each is kept and a second import adds none."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def name(self, value: Any) -> str:
        """The record's fingerprint, numbered from its second occurrence on."""
        print_ = fingerprint(value)
        key = int(print_[:16], 16)
        count = self._seen[key] = self._seen.get(key, 0) + 1
        return print_ if count == 1 else f"{print_}:{count}"


def storable(value: Any, depth: int = 0) -> Any:
    """A value as JSON that every database takes.

    Raises:
        InvalidInput: it is nested too deep.
    """
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"A value is nested deeper than {_MAX_DEPTH} levels.")
    match value:
        case None | bool():
            return value
        case str():
            return clean(value)
        case int():
            return value if abs(value) <= _LAST_NS else str(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {clean(str(key)): storable(inner, depth + 1) for key, inner in value.items()}
        case list() | tuple():
            return [storable(inner, depth + 1) for inner in value]
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return clean(value.decode("utf-8", "replace"))
        case _:
            return clean(str(value))


def clean(text: str) -> str:
    """Text without NUL and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def said(value: Any) -> bool:
    """Whether a value says anything: not missing, not empty, not a number that is none."""
    return not (value is None or value in ("", [], {}) or (isinstance(value, float) and math.isnan(value)))


def moment_ns(value: Any) -> int | None:
    """Nanoseconds since 1970; None where nothing is given.

    Args:
        value: ISO 8601 (without an offset it is UTC), seconds, milli-, micro- or nanoseconds since 1970, or a datetime.

    Raises:
        InvalidInput: it cannot be read as a moment.
    """
    if not said(value):
        return None
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return max(1, int(aware.timestamp() * 1_000_000) * 1000)
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return _written(text)
    for limit, factor in ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1000), (9.2e18, 1)):
        if 0 < number < limit:
            return int(text) * factor if text.isdecimal() else int(number * factor)
    raise _no_moment(text)


def _written(text: str) -> int:
    found: datetime | None = None
    try:
        found = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        for form in _FORMATS:
            try:
                found = datetime.strptime(text, form)  # noqa: DTZ007 - UTC is set below
                break
            except ValueError:
                continue
    if found is None or not 1970 <= found.year <= 2261:
        raise _no_moment(text)
    return moment_ns(found) or 1


def _no_moment(text: str) -> InvalidInput:
    return InvalidInput(f"The time {text[:40]!r} cannot be read.", todo="Write it as ISO 8601, such as 2026-05-04T12:30:00Z.")


def number_of(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        number = float(str(value).replace(",", "")) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def source_of(decoded: Decoded, tool: str) -> str:
    """The source that imported spans name: which tool's file they came from."""
    resource, scope = {"service.name": f"import ({tool})"}, {"name": f"workbench.import.{tool}", "version": ""}
    key = "sha256:" + hashlib.sha256(json.dumps([resource, scope], sort_keys=True).encode()).hexdigest()
    decoded.sources.setdefault(key, Source(key, dict(resource), dict(scope)))
    return key


def span_of(
    *,
    trace_id: str,
    span_id: str,
    source_id: str,
    name: str,
    started_ns: int,
    ended_ns: int | None = None,
    parent: str | None = None,
    attributes: Mapping[str, Any],
    error: str | None = None,
    status: str = "unset",
    events: list[dict[str, Any]] | None = None,
) -> SpanData:
    """A span with values that can be stored; attributes that say nothing are left out."""
    started = min(max(1, started_ns), _LAST_NS)
    return SpanData(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent if parent != span_id else None,
        source_id=source_id,
        name=clean(name)[:1000],
        kind="internal",
        started_ns=started,
        ended_ns=min(max(started, ended_ns or started), _LAST_NS),
        status="error" if error is not None else status,
        status_message=clean(error or "")[:2000],
        attributes={clean(key): storable(value) for key, value in attributes.items() if said(value)},
        events=events or [],
    )
