"""Traces as a file: flat rows (Parquet or JSON lines), or the spans as OTLP JSON. Written in batches, in little memory."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
from sqlmodel import Session, col, select

from workbench.core.errors import InvalidInput, Unavailable
from workbench.core.unit_of_work import Context
from workbench.traces.models import Feedback, Span, Trace
from workbench.traces.otlp_writing import export_request
from workbench.traces.queries import sources_of, spans_of, traces_by_id

FORMATS = {"parquet": "Parquet, a row a trace", "jsonl": "JSON lines, a row a trace", "otlp": "OTLP JSON lines, all spans"}
"""Format → its name on the page."""
ENDINGS = {"parquet": ".parquet", "jsonl": ".jsonl", "otlp": ".otlp.jsonl"}

_ROWS, _SPANS = 200, 1000
"""Traces read at a time; spans of one trace read at a time."""
_FREE_BYTES = 200 << 20


@dataclass(frozen=True)
class Column:
    """A column of the flat rows."""

    name: str
    type: str
    """text, integer, number, money, yes/no, time, list or json."""
    meaning: str


COLUMNS = (
    Column("trace_id", "text", "32 hexadecimal digits"),
    Column("session_id", "text", "the conversation"),
    Column("user_id", "text", "pseudonym of the end user"),
    Column("name", "text", "of the root span"),
    Column("started_at", "time", "UTC"),
    Column("duration_ms", "number", "milliseconds"),
    Column("first_token_ms", "number", "milliseconds to the first token"),
    Column("status", "text", "ok or error"),
    Column("error", "text", "what failed"),
    Column("model", "text", "that answered"),
    Column("provider", "text", "of the model"),
    Column("operation", "text", "chat, agent, retrieval, …"),
    Column("input_tokens", "integer", "tokens in"),
    Column("output_tokens", "integer", "tokens out"),
    Column("cost", "money", "in `currency`, exact to 1e-9"),
    Column("currency", "text", "ISO 4217"),
    Column("language", "text", "ISO 639-1"),
    Column("release", "text", "that answered"),
    Column("prompt_version", "text", "that answered"),
    Column("corpus_commit", "text", "that was retrieved from"),
    Column("environment", "text", "as sent"),
    Column("intent", "text", "as sent"),
    Column("triage_label", "text", "as sent"),
    Column("rating", "number", "1 to 5"),
    Column("feedback_count", "integer", "signals about it"),
    Column("has_correction", "yes/no", "somebody gave the text they wanted"),
    Column("machine_written", "yes/no", "whether a machine wrote the output"),
    Column("dialect", "text", "convention of its spans"),
    Column("span_count", "integer", "spans"),
    Column("error_count", "integer", "failed spans"),
    Column("document_count", "integer", "retrieved passages"),
    Column("tool_count", "integer", "tool calls"),
    Column("tags", "list", "words on it"),
    Column("input", "text", "the question, masked as stored"),
    Column("output", "text", "the answer, masked as stored"),
    Column("correction", "text", "the last correction"),
    Column("messages", "json", "the model's view of the turn"),
    Column("documents", "json", "retrieved passages"),
    Column("tool_calls", "json", "tool calls with arguments and results"),
    Column("guard", "json", "rules that fired"),
    Column("feedback", "json", "every signal: name, kind, value, source, at"),
)


@dataclass
class Export:
    """What was written."""

    traces: int = 0
    spans: int = 0
    """Only of OTLP."""
    missing: int = 0
    """Traces that are not there any more."""


def write_export(
    context: Context,
    project_id: str,
    trace_ids: Sequence[str],
    format: str,
    path: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Export:
    """Write traces into a new file, in the order given. What is there under this name is replaced.

    Args:
        format: one of FORMATS.
        progress: called with traces written and traces in all; what it raises ends the export.

    Raises:
        InvalidInput: no such format.
        Unavailable: the disk is nearly full.
    """
    if format not in FORMATS:
        raise InvalidInput(f"There is no export format {format!r}.", todo="Formats are " + ", ".join(FORMATS) + ".")
    export = Export()
    with _parquet(path) if format == "parquet" else _Lines(path) as out:
        for start in range(0, len(trace_ids), _ROWS):
            if shutil.disk_usage(path.parent).free < _FREE_BYTES:
                raise Unavailable(
                    "The disk is nearly full, so the export was stopped.", todo="Free some space, then try again."
                )
            part = list(trace_ids[start : start + _ROWS])
            with context.database.session() as session:
                if format == "otlp":
                    for request in _requests(session, project_id, part, export):
                        out.write([request])
                else:
                    rows = _rows(session, project_id, part)
                    export.traces += len(rows)
                    out.write(rows)
            if progress is not None:
                progress(start + len(part), len(trace_ids))
    export.missing = len(trace_ids) - export.traces
    return export


def _requests(session: Session, project_id: str, trace_ids: list[str], export: Export) -> Iterator[dict[str, Any]]:
    """A request a trace; a long trace in several."""
    counted = select(Trace.trace_id, Trace.span_count).where(Trace.project_id == project_id, col(Trace.trace_id).in_(trace_ids))
    counts = dict(session.exec(counted).all())
    for group in _groups([one for one in trace_ids if one in counts], counts):
        export.traces += len(group)
        found = _spans(session, project_id, group) if len(group) > 1 else _pages(session, project_id, group[0])
        for spans in found:
            export.spans += len(spans)
            yield export_request(spans, sources_of(session, spans))
        session.expunge_all()


def _groups(trace_ids: list[str], counts: dict[str, int]) -> Iterator[list[str]]:
    """Traces whose spans fit into memory together."""
    group: list[str] = []
    size = 0
    for one in trace_ids:
        if group and size + counts[one] > _SPANS:
            yield group
            group, size = [], 0
        group.append(one)
        size += counts[one]
    if group:
        yield group


def _spans(session: Session, project_id: str, trace_ids: list[str]) -> Iterator[list[Span]]:
    found: dict[str, list[Span]] = defaultdict(list)
    mine = select(Span).where(Span.project_id == project_id, col(Span.trace_id).in_(trace_ids))
    for span in session.exec(mine.order_by(col(Span.started_ns), col(Span.id))):
        found[span.trace_id].append(span)
    yield from (found[one] for one in trace_ids if found[one])


def _pages(session: Session, project_id: str, trace_id: str) -> Iterator[list[Span]]:
    offset = 0
    while spans := spans_of(session, project_id, trace_id, limit=_SPANS, offset=offset):
        yield spans
        offset += len(spans)
        session.expunge_all()


def _rows(session: Session, project_id: str, trace_ids: list[str]) -> list[dict[str, Any]]:
    traces = traces_by_id(session, project_id, trace_ids)
    said: dict[str, list[Feedback]] = defaultdict(list)
    mine = select(Feedback).where(Feedback.project_id == project_id, col(Feedback.trace_id).in_(trace_ids))
    for one in session.exec(mine.order_by(col(Feedback.at), col(Feedback.id))):
        said[one.trace_id or ""].append(one)
    return [_row(traces[one], said[one]) for one in trace_ids if one in traces]


def _row(trace: Trace, said: list[Feedback]) -> dict[str, Any]:
    corrections = [one.text for one in said if one.kind == "correction"]
    more = {
        "correction": corrections[-1] if corrections else None,
        "feedback": [
            {
                "name": one.name,
                "kind": one.kind,
                "value": one.value,
                "minimum": one.minimum,
                "maximum": one.maximum,
                "comment": one.text if one.kind in ("boolean", "float") else "",
                "source": one.source,
                "at": one.at.isoformat(),
            }
            for one in said
        ],
    }
    return {column.name: more[column.name] if column.name in more else getattr(trace, column.name) for column in COLUMNS}


class _Lines:
    """JSON values, one a line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_Lines":
        self._file = self._path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._file.write(_line(row))


def _line(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=_spelled, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # integers beyond 64 bits, which a tool's arguments may hold
        return json.dumps(row, default=_spelled, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _spelled(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


class _Parquet:
    """Rows as a Parquet file with a type a column."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa  # takes long to import, and most processes never export

        types = {
            "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "money": pa.decimal128(28, 9),
            "yes/no": pa.bool_(), "time": pa.timestamp("us", tz="UTC"), "list": pa.list_(pa.string()), "json": pa.string(),
        }  # fmt: skip
        self._schema = pa.schema([pa.field(one.name, types[one.type]) for one in COLUMNS])
        self._path = path

    def __enter__(self) -> "_Parquet":
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        columns = {one.name: [_json(row[one.name]) if one.type == "json" else row[one.name] for row in rows] for one in COLUMNS}
        self._writer.write_table(pa.Table.from_pydict(columns, schema=self._schema))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parquet(path: Path) -> _Parquet:
    return _Parquet(path)
