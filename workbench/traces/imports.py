"""Files of traces: OTLP JSON, whole or one request a line, each line judged by itself."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound, WorkbenchError
from workbench.traces.otlp import Decoded, decode_json

_SPANS_A_COMMIT = 2000
_MAX_LINE = 64 * 1024 * 1024

Store = Callable[[Decoded, str], int]
"""Stores spans of one piece of the file with the hash of its bytes; returns how many are new."""


@dataclass
class ImportReport:
    """What became of a file."""

    spans: int = 0
    new: int = 0
    traces: int = 0
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    """Line number from 1, and why it was not read."""
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """Line number, and why a span of that line was not taken."""


def import_file(
    path: Path,
    store: Store,
    *,
    progress: Callable[[int, int], None] | None = None,
    shift_to: datetime | None = None,
    reference: datetime | None = None,
) -> ImportReport:
    """Read a file and store what it holds; see `TraceService.import_file`."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    delta = 0
    if shift_to is not None:
        reference = reference or latest_moment([path])
        if reference is not None:
            delta = int((shift_to - reference).total_seconds() * 1_000_000) * 1000
    report = ImportReport()
    trace_ids: set[str] = set()
    held = Decoded()
    hashes: list[str] = []
    total, read = path.stat().st_size, 0

    def flush() -> None:
        nonlocal held, hashes
        if held.spans or held.rejected:
            report.new += store(held, hash_bytes("".join(hashes).encode()))
        held, hashes = Decoded(), []
        if progress is not None:
            progress(min(read, total), total)

    for number, line, position in _pieces(path):
        read = position
        try:
            decoded = _decoded(line)
        except WorkbenchError as error:
            report.bad_lines.append((number, str(error)))
            continue
        if delta:
            _shift(decoded, delta)
        report.spans += len(decoded.spans)
        trace_ids.update(span.trace_id for span in decoded.spans)
        report.rejected += [(number, rejection.reason) for rejection in decoded.rejected]
        held.spans += decoded.spans
        held.sources.update(decoded.sources)
        held.rejected += decoded.rejected
        hashes.append(hash_bytes(line))
        if len(held.spans) >= _SPANS_A_COMMIT:
            flush()
    read = total
    flush()
    report.traces = len(trace_ids)
    if not report.spans and report.bad_lines:
        number, reason = report.bad_lines[0]
        raise InvalidInput(f"Nothing in {path.name} could be read.", why=f"Line {number}: {reason}")
    return report


def latest_moment(paths: list[Path]) -> datetime | None:
    """The latest span end in these files; unreadable lines are passed over."""
    latest = 0
    for path in paths:
        for _, line, _ in _pieces(path):
            try:
                decoded = _decoded(line)
            except WorkbenchError:
                continue
            latest = max([latest, *(span.ended_ns for span in decoded.spans)])
    return datetime.fromtimestamp(latest / 1e9, UTC) if latest else None


def _pieces(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Line number, bytes, and position after it; a file that is one JSON document is one piece."""
    with path.open("rb") as file:
        first = file.readline(_MAX_LINE)
        while first and not first.strip():
            first = file.readline(_MAX_LINE)
        if not _is_whole(first):  # an indented document
            file.seek(0)
            whole = file.read(_MAX_LINE + 1)
            if len(whole) <= _MAX_LINE and _is_whole(whole):
                yield 1, whole, len(whole)
                return
        file.seek(0)
        number = 0
        while line := file.readline(_MAX_LINE):
            number += 1
            if line.strip():
                yield number, line, file.tell()


def _is_whole(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(line: bytes) -> Decoded:
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("This is not JSON.", why=str(error)[:200]) from error
    received_ns = int(now().timestamp() * 1e9)
    documents = document if isinstance(document, list) else [document]
    found = Decoded()
    for one in documents:
        if not isinstance(one, dict) or not ({"resourceSpans", "resource_spans"} & one.keys()):
            raise InvalidInput("This is no OTLP trace request.", why="It has no `resourceSpans`.")
        decoded = decode_json(one, received_ns=received_ns)
        found.spans += decoded.spans
        found.sources.update(decoded.sources)
        found.rejected += decoded.rejected
    return found


def _shift(decoded: Decoded, delta_ns: int) -> None:
    for span in decoded.spans:
        span.started_ns = max(1, span.started_ns + delta_ns)
        span.ended_ns = max(1, span.ended_ns + delta_ns)
        for event in span.events:
            if event["time_ns"]:
                event["time_ns"] = max(1, event["time_ns"] + delta_ns)
