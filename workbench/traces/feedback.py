"""Feedback as it is sent, checked and read into rows."""

import hashlib
import math
from datetime import UTC, datetime
from typing import Any

from workbench.core.clock import from_iso, now
from workbench.core.errors import InvalidInput
from workbench.core.ids import new_id
from workbench.traces.assemble import StoredSpan
from workbench.traces.models import Feedback

KINDS = ("boolean", "float", "comment", "correction")
SOURCES = ("explicit", "implicit", "annotator")
_SAME_SOURCE = {"": "explicit", "user": "explicit", "end_user": "explicit"}
MAX_TEXT = 50_000

EVENTS = ("workbench.feedback", "gen_ai.evaluation.result")
"""Span events that are feedback."""


def feedback_row(
    project_id: str,
    *,
    name: str = "",
    kind: str = "",
    value: Any = None,
    trace_id: str | None = None,
    span_id: str | None = None,
    session_id: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    comment: str = "",
    correction: str = "",
    source: str = "explicit",
    user_id: str | None = None,
    at: datetime | str | None = None,
    key: str | None = None,
    sent_by: str = "",
) -> Feedback:
    """Check one signal and make its row.

    Args:
        kind: boolean, float, comment or correction; read from the value when empty. `implicit` means a boolean or float
            whose source is implicit.
        value: a boolean for boolean, a number for float, the text for comment and correction.
        minimum, maximum: the range of a float; 0 to 1 when not given.
        comment: text beside the value of any kind.
        key: the sender's own id of this signal; sending it again changes nothing.

    Raises:
        InvalidInput: it names no trace, span or session, or the value does not fit the kind.
    """
    kind, source = kind.strip().lower(), (source or "").strip().lower()
    source = _SAME_SOURCE.get(source, source)
    if kind == "implicit":
        kind, source, value = "", "implicit", True if value is None else value
    if not kind:
        kind, value = _kind_of(value, comment, correction)
    if kind not in KINDS:
        raise InvalidInput(f"There is no feedback kind {kind!r}.", todo=f"Kinds are {', '.join(KINDS)} and implicit.")
    if source not in SOURCES:
        raise InvalidInput(f"There is no feedback source {source!r}.", todo=f"Sources are {', '.join(SOURCES)}.")
    trace_id, span_id = _id(trace_id, 32, "trace_id"), _id(span_id, 16, "span_id")
    if not trace_id and not session_id:
        raise InvalidInput("Feedback must say what it is about.", todo="Give a trace_id or a session_id.")
    if span_id and not trace_id:
        raise InvalidInput("Feedback on a span needs the trace_id too.")
    number: float | None = None
    text = ""
    if kind == "boolean":
        number, text = _boolean(value), comment
    elif kind == "float":
        number, minimum, maximum = _ranged(value, minimum, maximum)
        text = comment
    else:
        text = value if isinstance(value, str) and value else (correction if kind == "correction" else comment)
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"A {kind} needs its text.", todo="Give it as `value`.")
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"The text is longer than {MAX_TEXT:,} characters.")
    return Feedback(
        id=_derived(project_id, key) if key else new_id(),
        project_id=project_id,
        trace_id=trace_id,
        span_id=span_id,
        session_id=session_id or None,
        name=(name.strip() or {"boolean": "thumbs", "float": "rating"}.get(kind, kind))[:200],
        kind=kind,
        source=source,
        number=number,
        minimum=minimum if kind == "float" else None,
        maximum=maximum if kind == "float" else None,
        text=text.replace("\x00", "\ufffd"),
        user_id=user_id or None,
        at=_moment(at),
        sent_by=sent_by,
    )


def event_values(span: StoredSpan, event: dict[str, Any]) -> dict[str, Any]:
    """What an event that is feedback says, as values for `feedback_row` without what it is about."""
    given = {key.rpartition(".")[2]: value for key, value in event["attributes"].items()}
    if event["name"] == "gen_ai.evaluation.result":
        given = _from_evaluation(event["attributes"])
    return {
        "name": str(given.get("name") or ""),
        "kind": str(given.get("kind") or ""),
        "value": given.get("value"),
        "minimum": given.get("minimum", given.get("min")),
        "maximum": given.get("maximum", given.get("max")),
        "comment": str(given.get("comment") or given.get("explanation") or ""),
        "correction": str(given.get("correction") or ""),
        "source": str(given.get("source") or "explicit"),
        "user_id": str(given.get("user_id") or "") or None,
        "at": datetime.fromtimestamp((event["time_ns"] or span.ended_ns) / 1e9, UTC),
    }


def _from_evaluation(attributes: dict[str, Any]) -> dict[str, Any]:
    score = attributes.get("gen_ai.evaluation.score.value")
    label = attributes.get("gen_ai.evaluation.score.label")
    return {
        "name": attributes.get("gen_ai.evaluation.name"),
        "kind": "float" if score is not None else "comment",
        "value": score if score is not None else label,
        **_range_around(score),
        "comment": attributes.get("gen_ai.evaluation.explanation") or label,
        "source": "annotator",
    }


def _range_around(score: Any) -> dict[str, float]:
    """Evaluations declare no range: 0 to 1, or as far as the score goes."""
    if isinstance(score, int | float) and not isinstance(score, bool) and math.isfinite(score):
        return {"minimum": min(0.0, score), "maximum": max(1.0, score)}
    return {}


def _kind_of(value: Any, comment: str, correction: str) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "float", value
    if correction:
        return "correction", correction
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return "boolean", value
    return "comment", value or comment


def _boolean(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return float(value.strip().lower() == "true")
    if isinstance(value, int | float) and value in (0, 1):
        return float(value)
    raise InvalidInput(f"Boolean feedback is true or false, not {str(value)[:40]!r}.")


def _ranged(value: Any, minimum: Any, maximum: Any) -> tuple[float, float, float]:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        low = 0.0 if minimum is None else float(minimum)
        high = 1.0 if maximum is None else float(maximum)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"Float feedback is a number within its range, not {str(value)[:40]!r}.") from error
    if not all(map(math.isfinite, (number, low, high))) or low >= high:
        raise InvalidInput("The range of float feedback goes from a lower minimum to a higher maximum.")
    if not low <= number <= high:
        raise InvalidInput(
            f"{number:g} lies outside the range {low:g} to {high:g}.", todo="Say the scale with `minimum` and `maximum`."
        )
    return number, low, high


def _id(value: str | None, length: int, name: str) -> str | None:
    if not value:
        return None
    plain = str(value).lower().replace("-", "")
    if len(plain) != length or not all(character in "0123456789abcdef" for character in plain):
        raise InvalidInput(f"{str(value)[:80]!r} is no {name}.", todo=f"It has {length} hexadecimal digits.")
    return plain


def _moment(at: datetime | str | None) -> datetime:
    if at is None:
        return now()
    if isinstance(at, str):
        try:
            return from_iso(at)
        except ValueError as error:
            raise InvalidInput(f"{at[:40]!r} is no moment.", todo="Use ISO 8601 with an offset.") from error
    return at


def _derived(project_id: str, key: str) -> str:
    """An id that the same signal always gets within its project."""
    return "f-" + hashlib.sha256(f"{project_id}\n{key}".encode()).hexdigest()[:34]
