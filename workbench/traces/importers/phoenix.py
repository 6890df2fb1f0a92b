"""Phoenix exports: its spans as JSON lines, a JSON array, CSV or Parquet, and annotations beside or within them.

Three shapes: spans as its REST API and its download button write them (`context`, `attributes` as an object), data frames with
a column an attribute (`context.trace_id`, `attributes.llm.input_messages`), and annotations (`span_id`, `result`). Attributes
are written back into OpenInference's flat names, which the dialect's table reads; evaluations become
`annotations.N.annotation.…`.

Source: Phoenix's client (`get_spans_dataframe`, `get_span_annotations_dataframe`) and `GET /v1/projects/…/spans`.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.annotations import annotation_values
from workbench.traces.foreign_scores import span_id_of, trace_id_of
from workbench.traces.importers.building import Piece, hashed, moment_ns, said, source_of, span_of, storable

FindTrace = Callable[[str], str | None]
"""The trace that a stored span belongs to."""

_WHOLE = re.compile(
    r"(^|\.)(metadata|invocation_parameters|variables|arguments|parameters|json_schema|tool_schema|input\.value|output\.value)$"
)
_EVALUATION = re.compile(r"^(?:eval|evals|annotations?)\.(?P<name>.+)\.(?P<field>label|score|explanation)$")
_KNOWN = {"label", "score", "explanation"}
_LITERAL = 1_000_000


def looks_like(value: Mapping[str, Any]) -> bool:
    """Whether an object or a header is of a Phoenix export."""
    context = value.get("context")
    return (
        "context.trace_id" in value
        or "context.span_id" in value
        or (isinstance(context, Mapping) and "span_id" in context)
        or is_annotation(value)
        or (isinstance(value.get("data"), list) and bool(value["data"]) and _is_phoenix(value["data"][0]))
    )


def _is_phoenix(value: Any) -> bool:
    return isinstance(value, Mapping) and looks_like(value)


def is_annotation(value: Mapping[str, Any]) -> bool:
    """Whether this is an annotation of a span or a trace."""
    about = "span_id" in value or "trace_id" in value
    judged = "result" in value or any(f"result.{name}" in value for name in _KNOWN)
    return about and judged and ("annotator_kind" in value or "annotation_name" in value or "name" in value)


class PhoenixReader:
    """Reads the records of one export; annotations find their traces among its spans and among those stored."""

    def __init__(self, find_trace: FindTrace | None = None) -> None:
        self._find = find_trace
        self._traces: dict[str, str] = {}

    def read(self, number: int, value: Any) -> Piece:
        """One span or annotation, or one page of the API.

        Raises:
            InvalidInput: it is neither.
        """
        if not isinstance(value, Mapping):
            raise InvalidInput("This is no object of a Phoenix export.")
        piece = Piece()
        data = value.get("data")
        for one in data if isinstance(data, list) else [value]:
            if not isinstance(one, Mapping):
                raise InvalidInput("A list of spans holds something that is no object.")
            if is_annotation(one):
                piece.feedback.append(self._annotation(one))
            else:
                self._span(piece, one)
        return piece

    def finish(self) -> list[tuple[int, str]]:
        """Nothing waits."""
        return []

    def _span(self, piece: Piece, row: Mapping[str, Any]) -> None:
        context = row.get("context") if isinstance(row.get("context"), Mapping) else {}
        assert isinstance(context, Mapping)
        trace, span = row.get("context.trace_id", context.get("trace_id")), row.get("context.span_id", context.get("span_id"))
        if not said(trace) or not said(span):
            raise InvalidInput("The span has no context.trace_id and context.span_id.")
        trace_id, span_id = trace_id_of(trace), span_id_of(span)
        started = moment_ns(row.get("start_time"))
        if started is None:
            raise InvalidInput("The span has no start_time.")
        attributes = dict(_attributes(row))
        kind = row.get("span_kind")
        if said(kind) and str(kind) != "UNKNOWN":
            attributes.setdefault("openinference.span.kind", str(kind))
        attributes.update(_evaluations(row))
        parent = row.get("parent_id")
        status = str(row.get("status_code") or "").lower()
        piece.decoded.spans.append(
            span_of(
                trace_id=trace_id,
                span_id=span_id,
                source_id=source_of(piece.decoded, "phoenix"),
                name=str(row.get("name") or ""),
                parent=span_id_of(parent) if said(parent) else None,
                started_ns=started,
                ended_ns=moment_ns(row.get("end_time")),
                attributes=attributes,
                error=str(row.get("status_message") or "") if status == "error" else None,
                status="ok" if status == "ok" else "unset",
                events=list(_events(row.get("events"))),
            )
        )
        if len(self._traces) < 1_000_000:
            self._traces[span_id] = trace_id

    def _annotation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        result = _cell(row.get("result"))
        result = result if isinstance(result, Mapping) else {name: row.get(f"result.{name}") for name in _KNOWN}
        given = {
            "name": row.get("annotation_name") or row.get("name"),
            **{name: value for name, value in result.items() if said(value)},
            "annotator_kind": row.get("annotator_kind"),
        }
        span = span_id_of(row["span_id"]) if said(row.get("span_id")) else None
        trace = trace_id_of(row["trace_id"]) if said(row.get("trace_id")) else None
        trace = trace or (self._traces.get(span) if span else None) or (self._find(span) if span and self._find else None)
        if trace is None:
            raise InvalidInput(
                f"The annotation is about the span {str(row.get('span_id'))[:40]}, which is not here.",
                todo="Import the spans first.",
            )
        own = row.get("id") or hashed(json.dumps([span, trace, given, row.get("identifier")], sort_keys=True, default=str), 32)
        values = annotation_values(given)
        moment = moment_ns(row.get("created_at"))
        at = datetime.fromtimestamp(moment / 1e9, UTC) if moment else None
        return {**values, "trace_id": trace, "span_id": span, "key": f"phoenix:{own}", "at": at}


def _attributes(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    nested = row.get("attributes")
    if isinstance(_cell(nested), Mapping):
        yield from _flat(_cell(nested), "")
    for name, value in row.items():
        if name.startswith("attributes.") and said(value):
            yield from _flat(_cell(value), name[len("attributes.") :])


def _flat(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """OpenInference's flat names of a nested value; `metadata` and other free objects stay whole, as JSON text."""
    if depth > 32:
        raise InvalidInput("An attribute is nested too deep.")
    if value is None:
        return
    if isinstance(value, Mapping):
        if name and _WHOLE.search(name):
            yield name, json.dumps(storable(value), ensure_ascii=False)
            return
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{place}", depth + 1)
    elif said(value):
        yield name, value


def _evaluations(row: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluations that a data frame carries as columns, as OpenInference's own annotations."""
    judged: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if (match := _EVALUATION.match(name)) and said(value):
            judged.setdefault(match["name"], {})[match["field"]] = value
    return {
        f"annotations.{place}.annotation.{field}": value
        for place, (name, fields) in enumerate(sorted(judged.items()))
        for field, value in {"name": name, "annotator_kind": "LLM", **fields}.items()
    }


def _events(given: Any) -> Iterator[dict[str, Any]]:
    events = _cell(given)
    for event in events if isinstance(events, list) else []:
        if isinstance(event, Mapping):
            attributes = event.get("attributes")
            yield {
                "name": str(event.get("name") or ""),
                "time_ns": moment_ns(event.get("timestamp")) or 0,
                "attributes": storable(attributes) if isinstance(attributes, Mapping) else {},
            }


def _cell(value: Any) -> Any:
    """CSV cells hold JSON, or Python's spelling of lists and objects."""
    if isinstance(value, str) and value[:1] in ("{", "[") and len(value) <= _LITERAL:
        for read in (json.loads, ast.literal_eval):
            try:
                return read(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
    return value
