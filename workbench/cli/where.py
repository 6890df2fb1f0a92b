"""`--where field=value` as a filter of traces."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.filters import FACETS, HAS, RANGES, TraceFilter

_CONDITION = re.compile(r"\s*([a-z_]+)\s*(<=|>=|=)\s*(.*?)\s*", re.DOTALL)
_SEVERAL = (*FACETS, "tag", "tag_any", "tag_none", "tool", "has", "lacks")
_ONE = ("text", "session", "user")
_SIGNALS = {"yes": {"has_feedback": True}, "no": {"has_feedback": False}, "correction": {"has_correction": True}}


def parse_where(conditions: Sequence[str]) -> TraceFilter:
    """The filter that the conditions describe together; a repeated field means any of its values.

    Raises:
        InvalidInput: a condition has no known field or no usable value.
    """
    values: dict[str, Any] = {}
    for condition in conditions:
        match = _CONDITION.fullmatch(condition)
        if match is None:
            raise InvalidInput(
                f"{condition!r} is no condition.", todo="Write it like language=es, rating<=2 or since=2026-01-31."
            )
        name, sign, value = match.groups()
        if name in ("has", "lacks") and value not in HAS:
            raise InvalidInput(f"{condition!r} names nothing that a trace has.", todo="Choose of " + ", ".join(HAS) + ".")
        if name in _SEVERAL and sign == "=":
            values[name] = (*values.get(name, ()), value)
        elif name in _ONE and sign == "=":
            values[name] = value
        elif name == "feedback" and sign == "=" and value in _SIGNALS:
            values.update(_SIGNALS[value])
        elif name in RANGES:
            number = _number(condition, value)
            values.update({f"{name}_{end}": number for end in {"<=": ["max"], ">=": ["min"], "=": ["min", "max"]}[sign]})
        elif name in ("since", "until") and sign == "=":
            values[name] = _moment(condition, value)
        else:
            known = ", ".join([*_SEVERAL, *_ONE, *RANGES, "feedback (yes, no or correction)", "since", "until"])
            raise InvalidInput(f"Traces cannot be filtered by {condition!r}.", todo=f"Fields are {known}.")
    return TraceFilter(**values)


def _number(condition: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidInput(f"{condition!r} needs a number.") from None


def _moment(condition: str, value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidInput(f"{condition!r} needs a day or a time, such as 2026-01-31 or 2026-01-31T12:00Z.") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
