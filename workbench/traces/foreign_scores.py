"""Scores as Langfuse writes them, read as feedback: from its SDKs, its public API and its exports.

Source: Langfuse's public API, `POST /api/public/scores` and the score objects of its exports. A score's data type is NUMERIC,
BOOLEAN, CATEGORICAL, TEXT or CORRECTION.
"""

import hashlib
import re
from typing import Any

from workbench.core.errors import InvalidInput

_BY_USERS = re.compile(r"user|customer|feedback|thumb|star|rating|csat", re.IGNORECASE)
_STARS = re.compile(r"star|rating|csat", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]+")


def trace_id_of(given: Any) -> str:
    """Another tool's trace id as ours: 32 hexadecimal digits (a UUID too) stay, anything else is hashed to them."""
    return _id(given, 32)


def span_id_of(given: Any) -> str:
    """Another tool's span id as ours: 16 hexadecimal digits stay, anything else is hashed to them."""
    return _id(given, 16)


def feedback_of_score(score: Any, *, trace_id: str | None = None) -> dict[str, Any]:
    """The values for `feedback_row` that a score object means.

    A number without a known range counts as 0 to 1 where it lies there, and otherwise as a range that holds it; only a number
    that its name marks as the end user's rating becomes one.

    Args:
        score: `{id, traceId, observationId?, sessionId?, name, value | stringValue, dataType?, comment?, source?, timestamp?}`.
        trace_id: the trace it was found in, where the score itself names none.

    Raises:
        InvalidInput: it is no score, or names neither a trace nor a session.
    """
    if not isinstance(score, dict) or not isinstance(score.get("name"), str) or not score["name"].strip():
        raise InvalidInput("A score is an object with a `name`.")
    value = score.get("value")
    text = score.get("stringValue") if isinstance(score.get("stringValue"), str) else value
    given = str(score.get("dataType") or "").upper()
    kind = given or ("NUMERIC" if isinstance(value, int | float) and not isinstance(value, bool) else "")
    kind = kind or ("BOOLEAN" if isinstance(value, bool) else "CATEGORICAL")
    about = score.get("traceId") or trace_id
    values: dict[str, Any] = {
        "name": score["name"],
        "trace_id": trace_id_of(about) if about else None,
        "span_id": span_id_of(score["observationId"]) if score.get("observationId") and about else None,
        "session_id": score.get("sessionId") or None,
        "comment": str(score.get("comment") or ""),
        "source": _source(score),
        "at": score.get("timestamp") or None,
        "key": f"langfuse:{score['id']}" if score.get("id") else None,
    }
    if kind == "CORRECTION":
        values.update(kind="correction", value=text)
    elif kind == "BOOLEAN":
        values.update(kind="boolean", value=_truth(value))
    elif kind == "NUMERIC":
        values.update(kind="float", **_number(score["name"], value))
    else:
        comment = ": ".join(part for part in (str(text or ""), values["comment"]) if part)
        values.update(kind="comment", value=comment, comment="")
    return values


def _number(name: str, value: Any) -> dict[str, Any]:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"The score {name[:60]!r} is numeric and its value is no number.") from error
    if _STARS.search(name) and 1 <= number <= 5:
        return {"value": number, "minimum": 1.0, "maximum": 5.0}
    return {"value": number, "minimum": min(0.0, number), "maximum": max(1.0, number)}


def _truth(value: Any) -> Any:
    return {"true": True, "false": False}.get(str(value).lower(), value)


def _source(score: dict[str, Any]) -> str:
    """Scores that an application sends may be its end users' feedback; what annotators and evaluators say is theirs."""
    if str(score.get("source") or "API").upper() == "API" and _BY_USERS.search(score["name"]):
        return "explicit"
    return "annotator"


def _id(given: Any, digits: int) -> str:
    text = str(given).strip()
    plain = text.lower().replace("-", "")
    if len(plain) == digits and _HEX.fullmatch(plain) and plain.strip("0"):
        return plain
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:digits]
