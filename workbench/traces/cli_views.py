"""Traces as the JSON that the command line prints."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlmodel import Session

from workbench.traces.models import Feedback, RejectedSpan, Span
from workbench.traces.queries import TraceFilter, feedback_of, get_trace, list_traces, spans_of

_FIELDS = (
    "trace_id", "project", "name", "session_id", "user_id", "started_at", "duration_ms", "status", "input", "output", "model",
    "input_tokens", "output_tokens", "cost", "language", "release", "prompt_version", "corpus_commit", "dialect",
    "mask_counts",
)  # fmt: skip


_AT_ONCE = 1000
"""Spans that are read and written at a time."""


def trace_as_json(
    session: Session, project_id: str, trace_id: str, *, project: str = "", spans: int = 1_000_000
) -> dict[str, Any]:
    """One trace with spans, documents, tool calls and feedback.

    Args:
        project: what to print as the project, such as its key; the id unless given.
        spans: at most so many of them, by start.

    Raises:
        NotFound
    """
    trace = get_trace(session, project_id, trace_id)
    return {
        **_head(trace, project or project_id),
        "currency": trace.currency,
        "error": trace.error,
        "intent": trace.intent,
        "triage_label": trace.triage_label,
        "rating": trace.rating,
        "tags": trace.tags,
        "guard": trace.guard,
        "messages": trace.messages,
        "machine_written": trace.machine_written,
        "spans": [_span(span) for span in spans_of(session, project_id, trace.trace_id, limit=spans)],
        "documents": trace.documents,
        "tool_calls": trace.tool_calls,
        "feedback": [_feedback(one) for one in feedback_of(session, project_id, trace.trace_id)],
    }


def trace_json_pieces(session: Session, project_id: str, trace_id: str, *, project: str = "") -> Iterator[str]:
    """The text of `trace_as_json` in pieces, spans last: a trace of any length is written in little memory.

    Raises:
        NotFound
    """
    head = trace_as_json(session, project_id, trace_id, project=project, spans=0)
    del head["spans"]
    yield json.dumps(head, ensure_ascii=False)[:-1] + ', "spans": ['
    offset = 0
    while rows := spans_of(session, project_id, trace_id, limit=_AT_ONCE, offset=offset):
        text = ",\n".join(json.dumps(_span(span), ensure_ascii=False) for span in rows)
        yield (",\n" if offset else "\n") + text
        offset += len(rows)
        session.expunge_all()
    yield "]}\n"


def traces_as_json(
    session: Session, project_id: str, filters: TraceFilter | None = None, *, limit: int = 50, project: str = ""
) -> list[dict[str, Any]]:
    """Traces newest first, without spans; input and output are their beginnings."""
    rows: list[dict[str, Any]] = []
    after = None
    while len(rows) < limit:
        page = list_traces(session, project_id, filters, after=after, limit=min(1000, limit - len(rows)))
        rows += [_head(row, project or project_id) for row in page.rows]
        after = page.next
        if after is None:
            break
    return rows


def rejected_as_json(row: RejectedSpan) -> dict[str, Any]:
    """A rejected span or request."""
    return {
        "received_at": row.received_at.isoformat(),
        "reason": row.reason,
        "trace_id": row.trace_id,
        "span_id": row.span_id,
        "name": row.name,
        "sent_by": row.sent_by,
        "raw": row.raw,
    }


def _head(row: Any, project: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _FIELDS:
        if name == "project":
            values[name] = project
        elif name in ("input", "output") and not hasattr(row, name):
            values[name] = getattr(row, f"{name}_preview")
        else:
            values[name] = getattr(row, name)
    values["started_at"] = row.started_at.isoformat()
    values["cost"] = None if row.cost is None else _plain(row.cost)
    return values


def _plain(amount: Decimal) -> str:
    """Exact decimal text without an exponent."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _span(span: Span) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_span_id": span.parent_span_id,
        "name": span.name,
        "kind": span.kind,
        "status": span.status,
        "started_at": _iso(span.started_ns),
        "duration_ms": span.duration_ms,
        "attributes": span.attributes,
        "events": span.events,
        "links": span.links,
    }


def _iso(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / 1e9, UTC).isoformat()


def _feedback(one: Feedback) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "value": one.value,
        "comment": one.text if one.kind in ("boolean", "float", "comment") else "",
        "source": one.source,
        "span_id": one.span_id,
        "user_id": one.user_id,
        "at": one.at.isoformat(),
    }
