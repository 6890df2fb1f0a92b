"""The first rows of a file as they will read, before anything is stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.core.errors import WorkbenchError
from workbench.traces.assemble import StoredSpan, assemble
from workbench.traces.importers.records import records
from workbench.traces.importers.tabular import guess
from workbench.traces.imports import container_for, reader_for

_LOOKED_AT = 200


@dataclass(frozen=True)
class Preview:
    """What the beginning of a file will become."""

    traces: list[dict[str, Any]] = field(default_factory=list)
    """Columns of Trace, without ids."""
    feedback: int = 0
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    looked_at: int = 0
    """Records read for it."""


def header_of(path: Path) -> tuple[list[str], dict[str, str]]:
    """A table's columns, and which of ours they seem to be.

    Raises:
        InvalidInput: it has no header.
    """
    for record in islice(records(path, container_for(path)), 50):
        if isinstance(record.value, Mapping):
            header = [str(name) for name in record.value if name]
            return header, guess(header)
    return [], {}


def preview(
    path: Path,
    format: str,
    *,
    columns: Mapping[str, str] | None = None,
    scale: tuple[float, float] = (1.0, 5.0),
    limit: int = 5,
) -> Preview:
    """Read the beginning of a file.

    Raises:
        InvalidInput: the file as a whole cannot be read this way.
    """
    reader = reader_for(format, columns=columns, scale=scale)
    spans: dict[str, list[StoredSpan]] = {}
    feedback, looked_at = 0, 0
    bad: list[tuple[int, str]] = []
    for record in islice(records(path, container_for(path)), _LOOKED_AT):
        looked_at += 1
        if record.error:
            bad.append((record.number, record.error))
            continue
        try:
            piece = reader.read(record.number, record.value)
        except (WorkbenchError, RecursionError) as error:
            bad.append((record.number, str(error)))
            continue
        feedback += len(piece.feedback)
        bad += [(record.number, rejection.reason) for rejection in piece.decoded.rejected]
        for span in piece.decoded.spans:
            source = piece.decoded.sources[span.source_id]
            read = StoredSpan(
                span_id=span.span_id, parent_span_id=span.parent_span_id, name=span.name, started_ns=span.started_ns,
                ended_ns=span.ended_ns, status=span.status, status_message=span.status_message, attributes=span.attributes,
                events=span.events, resource=source.resource, links=span.links,
            )  # fmt: skip
            spans.setdefault(span.trace_id, []).append(read)
    shown = [assemble(found, [], []) for found in islice(spans.values(), limit)]
    return Preview(shown, feedback, bad, looked_at)
