"""Files of traces: OTLP JSON, chat logs, tables, and exports of Langfuse and Phoenix. Each record is judged by itself."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from workbench.core.canonical import hash_bytes
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound, WorkbenchError
from workbench.traces.decoded import Decoded
from workbench.traces.feedback import feedback_row
from workbench.traces.importers import langfuse, phoenix
from workbench.traces.importers.building import Piece
from workbench.traces.importers.chat import ChatReader
from workbench.traces.importers.records import container_of, records
from workbench.traces.importers.tabular import Table, TableReader
from workbench.traces.otlp_json import decode_json

FORMATS = ("otlp", "chat", "csv", "langfuse", "phoenix")
FORMAT_WORDS = {
    "otlp": "OTLP JSON",
    "chat": "Chat log",
    "csv": "Table (CSV)",
    "langfuse": "Langfuse export",
    "phoenix": "Phoenix export",
}
_SPANS_A_COMMIT = 2000
_FEEDBACK_A_COMMIT = 500
_MOST_REASONS = 10_000
"""Bad lines that a report names; beyond these they are only counted."""

Store = Callable[[Decoded, str], int]
"""Stores spans of one piece of the file with the hash of its bytes; returns how many are new."""

Say = Callable[[list[dict[str, Any]]], None]
"""Stores feedback."""


class Reader(Protocol):
    """Turns the records of files into spans and feedback."""

    def read(self, number: int, value: Any) -> Piece:
        """One record; raises InvalidInput where it says nothing that can be stored."""
        ...

    def finish(self) -> list[tuple[int, str]]:
        """Records that waited for others in vain: number and reason."""
        ...


@dataclass
class ImportReport:
    """What became of a file."""

    format: str = ""
    spans: int = 0
    new: int = 0
    traces: int = 0
    feedback: int = 0
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    """Line number from 1, and why it was not read."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Line number, and why a span of that line was not taken."""
    unnamed: int = 0
    """Bad lines beyond those named."""

    def refuse(self, number: int, reason: str) -> None:
        """Name a bad line."""
        if len(self.bad_lines) < _MOST_REASONS:
            self.bad_lines.append((number, reason))
        else:
            self.unnamed += 1


class OtlpReader:
    """Reads OTLP trace requests, in protobuf's JSON with either spelling of its names."""

    def read(self, number: int, value: Any) -> Piece:
        received_ns = int(now().timestamp() * 1e9)
        found = Decoded()
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict) or not ({"resourceSpans", "resource_spans"} & one.keys()):
                raise InvalidInput("This is no OTLP trace request.", why="It has no `resourceSpans`.")
            decoded = decode_json(_camel(one) if "resource_spans" in one else one, received_ns=received_ns)
            found.spans += decoded.spans
            found.sources.update(decoded.sources)
            found.rejected += decoded.rejected
        return Piece(found)

    def finish(self) -> list[tuple[int, str]]:
        return []


def reader_for(
    format: str, *, columns: Mapping[str, str] | None = None, scale: tuple[float, float] = (1.0, 5.0),
    find_trace: phoenix.FindTrace | None = None,
) -> Reader:  # fmt: skip
    """A reader of one of FORMATS.

    Raises:
        InvalidInput: there is no such format.
    """
    match format:
        case "otlp":
            return OtlpReader()
        case "chat":
            return ChatReader()
        case "csv":
            return TableReader(Table(dict(columns or {}), scale))
        case "langfuse":
            return langfuse.LangfuseReader()
        case "phoenix":
            return phoenix.PhoenixReader(find_trace)
    raise InvalidInput(f"There is no format {format[:40]!r}.", todo=f"Formats are auto, {', '.join(FORMATS)}.")


def recognise(path: Path) -> str:
    """Which of FORMATS a file is, by its first readable record.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is empty, or nothing in it can be read.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    if not path.stat().st_size:
        raise InvalidInput(f"{path.name} is empty.")
    container = container_for(path)
    first_problem = ""
    for record in records(path, container):
        if record.number > 1000:
            break
        if record.error:
            first_problem = first_problem or f"Line {record.number}: {record.error}"
            continue
        value = record.value[0] if isinstance(record.value, list) and record.value else record.value
        if isinstance(value, Mapping):
            return _format_of(value, container)
        first_problem = first_problem or f"Line {record.number}: It is no object."
    raise InvalidInput(f"Nothing in {path.name} could be read.", why=first_problem or "It has no rows.")


def container_for(path: Path) -> str:
    """How a file holds its records; see records.container_of."""
    container = container_of(path)
    return "json" if container == "csv" and path.suffix.lower() in (".json", ".jsonl", ".ndjson") else container


def _format_of(value: Mapping[str, Any], container: str) -> str:
    if {"resourceSpans", "resource_spans"} & value.keys():
        return "otlp"
    if phoenix.looks_like(value):
        return "phoenix"
    if langfuse.looks_like(value):
        return "langfuse"
    if container != "json":
        return "csv"
    if "messages" in value or "custom_id" in value:
        return "chat"
    # flat objects are rows of a table; anything else is named by the OTLP reader
    return "csv" if any(isinstance(inner, str) for inner in value.values()) and len(value) > 1 else "otlp"


def import_file(
    path: Path,
    store: Store,
    *,
    reader: Reader | None = None,
    format: str = "otlp",
    say: Say | None = None,
    progress: Callable[[int, int], None] | None = None,
    shift_to: datetime | None = None,
    reference: datetime | None = None,
    last: bool = True,
) -> ImportReport:
    """Read a file and store what it holds; see `TraceService.import_file`.

    Args:
        reader: one that already read other files of the same import.
        last: whether no further file follows for this reader.
    """
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    delta = 0
    if shift_to is not None:
        reference = reference or latest_moment([path])
        if reference is not None:
            delta = int((shift_to - reference).total_seconds() * 1_000_000) * 1000
    reader = reader or reader_for(format)
    report = ImportReport(format=format)
    trace_ids: set[str] = set()
    held, signals = Decoded(), list[dict[str, Any]]()
    hashes: list[str] = []
    total, read = path.stat().st_size, 0

    def flush() -> None:
        nonlocal held, hashes, signals
        if held.spans or held.rejected:
            report.new += store(held, hash_bytes("".join(hashes).encode()))
        if signals and say is not None:
            for start in range(0, len(signals), _FEEDBACK_A_COMMIT):
                say(signals[start : start + _FEEDBACK_A_COMMIT])
        held, hashes, signals = Decoded(), [], []
        if progress is not None:
            progress(min(read, total), total)

    for record in records(path, container_for(path)):
        read = record.position
        if record.error:
            report.refuse(record.number, record.error)
            continue
        try:
            piece = reader.read(record.number, record.value)
        except (WorkbenchError, RecursionError) as error:
            report.refuse(record.number, str(error) or "It is nested too deep.")
            continue
        for values in piece.feedback:
            try:
                feedback_row("", **values)
            except InvalidInput as error:
                report.refuse(record.number, str(error))
            else:
                signals.append(values)
                report.feedback += 1
        decoded = piece.decoded
        if delta:
            _shift(decoded, delta)
        report.spans += len(decoded.spans)
        trace_ids.update(span.trace_id for span in decoded.spans)
        report.rejected += [(record.number, rejection.reason) for rejection in decoded.rejected]
        held.spans += decoded.spans
        held.sources.update(decoded.sources)
        held.rejected += decoded.rejected
        hashes.append(hash_bytes(json.dumps(record.value, default=str).encode()))
        if len(held.spans) >= _SPANS_A_COMMIT or len(signals) >= _SPANS_A_COMMIT:
            flush()
    read = total
    if last:
        for number, reason in reader.finish():
            report.refuse(number, reason)
    flush()
    report.traces = len(trace_ids)
    if not report.spans and not report.feedback and report.bad_lines and last:
        number, reason = report.bad_lines[0]
        raise InvalidInput(f"Nothing in {path.name} could be read.", why=f"Line {number}: {reason}")
    return report


def latest_moment(paths: list[Path]) -> datetime | None:
    """The latest span end in these files of OTLP; unreadable lines are passed over."""
    latest, reader = 0, OtlpReader()
    for path in paths:
        for record in records(path, container_for(path)):
            try:
                decoded = Decoded() if record.error else reader.read(record.number, record.value).decoded
            except WorkbenchError:
                continue
            latest = max([latest, *(span.ended_ns for span in decoded.spans)])
    return datetime.fromtimestamp(latest / 1e9, UTC) if latest else None


def _camel(value: Any) -> Any:
    """Protobuf's own field names as its JSON form spells them; attribute keys are values and stay."""
    if isinstance(value, dict):
        return {_camel_name(name): _camel(inner) for name, inner in value.items()}
    return [_camel(inner) for inner in value] if isinstance(value, list) else value


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def _shift(decoded: Decoded, delta_ns: int) -> None:
    for span in decoded.spans:
        span.started_ns = max(1, span.started_ns + delta_ns)
        span.ended_ns = max(1, span.ended_ns + delta_ns)
        for event in span.events:
            if event["time_ns"]:
                event["time_ns"] = max(1, event["time_ns"] + delta_ns)
