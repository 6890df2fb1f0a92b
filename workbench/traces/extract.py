"""What a span says, read through the dialects into our columns."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from workbench.traces.dialects import DIALECTS, PLAIN, Dialect, SpanKind, dialects_of
from workbench.traces.messages import Message, as_text, family, messages, parsed
from workbench.traces.models import NANOS

Attributes = Mapping[str, Any]

Lookup = tuple[str, str]
"""Our column, and the attribute to read it from."""

_CARRIERS = frozenset(name for dialect in DIALECTS for name in dialect.carriers)
_MAX_NANOS = 9_223_372_036_854_775_807


@dataclass(slots=True)
class Facts:
    """A span in our words. Columns that the span says nothing about are missing from `columns`."""

    kind: SpanKind
    dialect: str
    columns: dict[str, Any] = field(default_factory=dict)
    """See the dialects' tables for the names; already converted."""


def facts(
    name: str, attributes: Attributes, events: list[dict[str, Any]], resource: Attributes, own: Dialect | None = None
) -> Facts:
    """Read one span.

    Args:
        events: [{"name", "attributes"}]
        resource: attributes of the resource.
        own: the project's own mapping, which speaks after every convention.
    """
    carried = [event["attributes"] for event in events if event["name"] in _CARRIERS]
    if carried:
        attributes = {name: value for values in (*carried, attributes) for name, value in values.items()}
    plan = _plan(frozenset(attributes), frozenset(event["name"] for event in events), own)
    columns: dict[str, Any] = {}
    kind: SpanKind | None = None
    for dialect, lookups in plan:
        kind = kind or _kind(dialect, attributes)
        _fill(columns, dialect, lookups, attributes, resource)
        if dialect.message_events:
            _fill_from_message_events(columns, dialect, events)
    if kind is None:
        kind = SpanKind.TOOL if "tool_call_id" in columns else SpanKind.OTHER
    if kind is not SpanKind.TOOL and "model" in columns and ("messages_in" in columns or "messages_out" in columns):
        kind = SpanKind.LLM if kind is SpanKind.OTHER else kind
    if kind is SpanKind.TOOL:
        columns.setdefault("tool_name", name)
    for event in events:
        if event["name"] == "exception":
            columns.setdefault("error", as_text(event["attributes"].get("exception.message"))[:2000])
    _settle_usage(columns)
    # Our own attributes decorate spans of every convention; a span is ours when it speaks nothing else.
    return Facts(kind, dialect_name([dialect for dialect, _ in plan], own), columns)


def dialect_name(spoken: Sequence[Dialect], own: Dialect | None = None) -> str:
    """What a span that speaks these dialects is said to speak."""
    named = [dialect.name for dialect in spoken if dialect is not PLAIN and dialect is not own]
    return next((name for name in named if name != "workbench"), named[0] if named else PLAIN.name)


@lru_cache(maxsize=4096)
def _plan(
    names: frozenset[str], event_names: frozenset[str], own: Dialect | None = None
) -> tuple[tuple[Dialect, tuple[Lookup, ...]], ...]:
    """For spans with these attribute names: the dialects they speak, and of their tables the lines that can say something."""
    plan = []
    spoken = dialects_of(dict.fromkeys(names), event_names)
    for dialect in (*spoken[:-1], own, spoken[-1]) if own is not None else spoken:
        lines = [
            (column, name)
            for column, candidates in dialect.columns.items()
            for name in candidates
            if name in names
            or name.startswith("resource:")
            or (name.endswith(".*") and any(one.startswith(name[:-1]) for one in names))
        ]
        plan.append((dialect, tuple(lines)))
    return tuple(plan)


def _kind(dialect: Dialect, attributes: Attributes) -> SpanKind | None:
    for name, kinds in dialect.kinds.items():
        value = _decoded(dialect, name, attributes.get(name))
        if isinstance(value, str):
            kind = kinds.get(value.lower()) or kinds.get("")
            if kind is not None:
                return kind
    return None


def _decoded(dialect: Dialect, name: str, value: Any) -> Any:
    if dialect.encoded and isinstance(value, str) and name.startswith(dialect.encoded):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _fill(
    columns: dict[str, Any], dialect: Dialect, lookups: tuple[Lookup, ...], attributes: Attributes, resource: Attributes
) -> None:
    for column, name in lookups:
        if column in columns:
            continue
        if name.endswith(".*"):
            value = family(attributes, name[:-1])
        elif name.startswith("resource:"):
            value = resource.get(name[9:])
        else:
            value = _decoded(dialect, name, attributes.get(name))
        if value is None or value == "":
            continue
        convert: Callable[[Any], Any] = _CONVERTERS.get(column, _short_text)
        converted = convert(value)
        if converted is not None and converted != "" and converted != []:
            columns[column] = converted


def _fill_from_message_events(columns: dict[str, Any], dialect: Dialect, events: list[dict[str, Any]]) -> None:
    asked: list[Message] = []
    said: list[Message] = []
    for event in events:
        role = dialect.message_events.get(event["name"])
        if role is None:
            continue
        body = {key: parsed(value) for key, value in event["attributes"].items()}
        bare = body.keys() <= {"content", "gen_ai.system"}
        found = messages(body.get("content") if bare else body, "assistant" if role == "output" else role)
        (said if role == "output" else asked).extend(found)
    if asked and "messages_in" not in columns:
        columns["messages_in"] = asked
    if said and "messages_out" not in columns:
        columns["messages_out"] = said


def _settle_usage(columns: dict[str, Any]) -> None:
    """Read the columns of tokens and cost from the objects that some dialects put them in."""
    usage = columns.pop("usage", None)
    if isinstance(usage, dict):
        for column, names in (
            ("input_tokens", ("input", "input_tokens", "prompt_tokens")),
            ("output_tokens", ("output", "output_tokens", "completion_tokens")),
        ):
            for name in names:
                number = _integer(usage.get(name))
                if column not in columns and number is not None:
                    columns[column] = number
    costs = columns.pop("cost_details", None)
    if isinstance(costs, dict) and "cost" not in columns:
        total = _nanos(costs.get("total") or costs.get("total_cost"))
        if total is None:
            parts = [part for part in map(_nanos, costs.values()) if part is not None]
            total = sum(parts) if parts else None
        if total is not None:
            columns["cost"] = total
    seconds = columns.pop("first_token_s", None)
    if seconds is not None:
        columns.setdefault("first_token_ms", seconds * 1000)


# -------------------------------------------------------------------------------------------------------------- converters


def _short_text(value: Any) -> str:
    return as_text(value)[:2000]


def _integer(value: Any) -> int | None:
    number = _float(value)
    return None if number is None or abs(number) > 1e15 else int(number)


def _float(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _nanos(value: Any) -> int | None:
    """Money as 1e-9 units; text is read exactly, a binary float by its shortest decimal."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    try:
        amount = Decimal(str(value).strip().removeprefix("$"))
        nanos = int((amount * NANOS).to_integral_value()) if amount.is_finite() else None
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return nanos if nanos is not None and abs(nanos) < _MAX_NANOS else None


def _tags(value: Any) -> list[str]:
    value = parsed(value)
    if isinstance(value, str):
        value = value.split(",")
    return [as_text(tag).strip()[:100] for tag in value if as_text(tag).strip()] if isinstance(value, list) else []


def _documents(value: Any) -> list[dict[str, Any]]:
    value = parsed(value)
    if isinstance(value, dict):
        value = value.get("documents") or [value]
    found = []
    for item in value if isinstance(value, list) else []:
        item = parsed(item)
        if isinstance(item, dict) and isinstance(item.get("document"), dict):
            item = item["document"]
        if isinstance(item, str):
            item = {"content": item}
        if not isinstance(item, dict):
            continue
        metadata = parsed(item.get("metadata"))
        metadata = metadata if isinstance(metadata, dict) else {}
        document: dict[str, Any] = {
            "id": as_text(item.get("id") or metadata.get("id")),
            "score": _float(item.get("score")),
            "content": as_text(item.get("content") or item.get("text") or item.get("page_content")),
        }
        for key in ("title", "version", "cited", "source"):
            given = item.get(key, metadata.get(key))
            if given is not None:
                document[key] = given
        if metadata:
            document["metadata"] = metadata
        found.append(document)
    return found


def _guard(value: Any) -> list[dict[str, Any]]:
    value = parsed(value)
    if isinstance(value, str | dict):
        value = [value]
    rules = value if isinstance(value, list) else []
    return [rule if isinstance(rule, dict) else {"rule": as_text(rule)} for rule in rules]


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(str(value).lower())


def _object(value: Any) -> dict[str, Any] | None:
    value = parsed(value)
    return value if isinstance(value, dict) else None


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "input": lambda value: value,
    "output": lambda value: value,
    "trace_input": lambda value: value,
    "trace_output": lambda value: value,
    "completion": lambda value: messages(value, "assistant"),
    "system": lambda value: messages(value, "system"),
    "messages_in": lambda value: messages(value, "user"),
    "messages_out": lambda value: messages(value, "assistant"),
    "input_tokens": _integer,
    "output_tokens": _integer,
    "cost": _nanos,
    "first_token_ms": _float,
    "first_token_s": _float,
    "triage_score": _float,
    "usage": _object,
    "cost_details": _object,
    "documents": _documents,
    "tool_arguments": parsed,
    "tool_result": parsed,
    "tool_receipt": parsed,
    "guard": _guard,
    "tags": _tags,
    "machine_written": _boolean,
}
