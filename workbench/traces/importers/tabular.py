"""Tables: a CSV file (or flat JSON or Parquet rows), one turn a row, with a mapping from our columns to the table's.

What is not mapped is kept with the span as `metadata.COLUMN`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.core.clock import now
from workbench.core.errors import InvalidInput
from workbench.traces.foreign_scores import trace_id_of
from workbench.traces.importers.building import Occurrences, Piece, hashed, moment_ns, number_of, said, source_of, span_of

COLUMNS: dict[str, tuple[str, ...]] = {
    "input": ("input", "question", "prompt", "query", "user message", "user input", "request", "pregunta", "customer message"),
    "output": ("output", "answer", "response", "completion", "reply", "assistant message", "bot response", "respuesta"),
    "model": ("model", "model name", "llm"),
    "user": ("user", "user id", "userid", "customer", "customer id", "client id", "usuario"),
    "session": ("session", "session id", "sessionid", "conversation", "conversation id", "thread", "thread id", "chat id"),
    "time": ("time", "timestamp", "date", "datetime", "created at", "created", "started at", "start time", "fecha"),
    "rating": ("rating", "score", "stars", "thumbs", "feedback score", "csat"),
    "comment": ("comment", "feedback", "feedback comment", "remarks"),
    "correction": ("correction", "corrected answer", "expected answer", "better answer"),
    "tags": ("tags", "tag", "labels"),
    "trace_id": ("trace id", "traceid"),
    "name": ("name", "trace name"),
    "language": ("language", "lang", "locale"),
    "intent": ("intent", "topic", "category"),
    "input_tokens": ("input tokens", "prompt tokens"),
    "output_tokens": ("output tokens", "completion tokens"),
    "cost": ("cost", "total cost", "price"),
    "duration_ms": ("latency ms", "duration ms", "latency milliseconds"),
}
"""Our column → how tables usually name it."""

_ATTRIBUTES = {
    "input": "workbench.input", "output": "workbench.output", "model": "workbench.model", "user": "workbench.user_id",
    "session": "workbench.session_id", "tags": "workbench.tags", "name": "workbench.name", "language": "workbench.language",
    "intent": "workbench.intent", "input_tokens": "workbench.input_tokens", "output_tokens": "workbench.output_tokens",
    "cost": "workbench.cost",
}  # fmt: skip
_YES = {"true", "yes", "up", "good", "positive", "like", "liked", "👍", "thumbs up", "thumbs_up", "sí", "si"}
_NO = {"false", "no", "down", "bad", "negative", "dislike", "disliked", "👎", "thumbs down", "thumbs_down"}
_WORDS = re.compile(r"[^\w]+|_+")


@dataclass(frozen=True)
class Table:
    """Which of the table's columns is which of ours."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column (or `metadata.NAME`) → the table's."""
    scale: tuple[float, float] = (1.0, 5.0)
    """Lowest and highest rating."""


def guess(header: Iterable[str]) -> dict[str, str]:
    """Our columns → the table's, by their names; what cannot be told is left out."""
    plain = {" ".join(_WORDS.split(_spaced(name))).strip().lower(): name for name in reversed(list(header))}
    found: dict[str, str] = {}
    for ours, names in COLUMNS.items():
        hit = next((plain[name] for name in names if name in plain and plain[name] not in found.values()), None)
        if hit is not None:
            found[ours] = hit
    return found


def checked(columns: Mapping[str, str], header: Iterable[str]) -> dict[str, str]:
    """The mapping, when the table has its columns and a trace can be made of it.

    Raises:
        InvalidInput: an unknown name on either side, or neither question nor answer is mapped.
    """
    known = list(header)
    for ours, theirs in columns.items():
        if ours not in COLUMNS and not ours.startswith("metadata."):
            raise InvalidInput(
                f"There is no column {ours[:60]!r} to map to.", todo=f"Columns are {', '.join(COLUMNS)} and metadata.NAME."
            )
        if theirs not in known:
            listed = ", ".join(known[:20])
            raise InvalidInput(f"The file has no column {theirs[:60]!r}.", why=f"It has {listed}.")
    if not columns.keys() & {"input", "output"}:
        raise InvalidInput(
            "Which column holds the question and which the answer cannot be told from their names.",
            why=f"The columns are {', '.join(known[:20]) or 'none'}.",
            todo="Map them: `--map input=COLUMN --map output=COLUMN`, or choose them on the import page.",
        )  # fmt: skip
    return dict(columns)


class TableReader:
    """Reads the rows of one table."""

    def __init__(self, mapping: Table | None = None) -> None:
        self._given = mapping
        self._columns: dict[str, str] | None = None
        self._same = Occurrences()
        self._base_ns = int(now().timestamp() * 1e9)

    def read(self, number: int, row: Any) -> Piece:
        """One row.

        Raises:
            InvalidInput: it says nothing, or a value does not fit its column.
        """
        if not isinstance(row, Mapping):
            raise InvalidInput("This is no row with named columns.")
        if self._columns is None:
            columns = dict(self._given.columns) if self._given and self._given.columns else guess(map(str, row))
            self._columns = checked(columns, map(str, row))
        values = {ours: row.get(theirs) for ours, theirs in self._columns.items()}
        if not said(_text(values.get("input"))) and not said(_text(values.get("output"))):
            raise InvalidInput("The row has neither a question nor an answer.")
        name = self._same.name(row)
        trace_id = trace_id_of(values["trace_id"]) if said(values.get("trace_id")) else hashed(f"table:{name}", 32)
        started = moment_ns(values.get("time")) or self._base_ns + number * 1_000_000
        milliseconds = number_of(values.get("duration_ms")) or 0.0
        mapped = set(self._columns.values())
        piece = Piece()
        attributes = {
            **{attribute: _value(ours, values.get(ours)) for ours, attribute in _ATTRIBUTES.items()},
            **{ours: value for ours, value in values.items() if ours.startswith("metadata.")},
            **{f"metadata.{header}": value for header, value in row.items() if header and header not in mapped},
        }
        piece.decoded.spans.append(
            span_of(
                trace_id=trace_id, span_id=hashed(f"table:{name}", 16), source_id=source_of(piece.decoded, "table"),
                name=str(values.get("name") or "turn"), started_ns=started,
                ended_ns=started + int(min(max(milliseconds, 0), 1e12) * 1e6), attributes=attributes,
            )
        )  # fmt: skip
        piece.feedback = list(self._feedback(trace_id, name, values))
        return piece

    def finish(self) -> list[tuple[int, str]]:
        """Nothing waits."""
        return []

    def _feedback(self, trace_id: str, name: str, values: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
        about = {"trace_id": trace_id, "user_id": _text(values.get("user")) or None, "at": None}
        comment = _text(values.get("comment"))
        if said(values.get("rating")) and _text(values["rating"]):
            yield {**about, **self._rated(values["rating"]), "comment": comment, "key": f"table:{name}:rating"}
        elif comment:
            yield {**about, "kind": "comment", "value": comment, "key": f"table:{name}:comment"}
        if correction := _text(values.get("correction")):
            yield {**about, "kind": "correction", "value": correction, "key": f"table:{name}:correction"}

    def _rated(self, value: Any) -> dict[str, Any]:
        word = _text(value).lower()
        if isinstance(value, bool) or word in _YES | _NO:
            return {"kind": "boolean", "value": word in _YES}
        low, high = self._given.scale if self._given else (1.0, 5.0)
        number = number_of(word.removesuffix("stars").removesuffix("star").strip())
        if number is None or not low <= number <= high:
            raise InvalidInput(
                f"The rating {word[:40]!r} does not lie on the scale {low:g} to {high:g}.",
                todo="Say which scale it is (`--scale LOW-HIGH`, or on the import page).",
            )
        return {"kind": "float", "value": number, "minimum": low, "maximum": high}


def _text(value: Any) -> str:
    return "" if not said(value) else str(value).strip()


def _value(ours: str, value: Any) -> Any:
    if not said(value):
        return None
    if ours in ("input", "output"):
        return value if isinstance(value, str) else str(value)
    if ours in ("input_tokens", "output_tokens"):
        number = number_of(value)
        return None if number is None else int(number)
    if ours == "tags" and not isinstance(value, list):
        return [word.strip() for word in re.split(r"[,;|]", str(value)) if word.strip()]
    return _text(value) if ours not in ("tags",) else value


def _spaced(name: str) -> str:
    """`userId` as `user Id`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
