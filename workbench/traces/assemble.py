"""A trace from its spans, in whatever order they came; assembling again with more spans gives the fuller trace."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workbench.traces.dialects import MAPPING_VERSION, SpanKind
from workbench.traces.extract import Facts, facts
from workbench.traces.filters import FACETS
from workbench.traces.languages import recognize
from workbench.traces.messages import Message, answer_of, as_text, parsed, question_of
from workbench.traces.models import Feedback
from workbench.traces.own_mapping import OwnMapping

PREVIEW = 240
"""Characters of input and output that lists show."""

_LONGEST_CHOICE = 200

_ASIDE = (SpanKind.TOOL, SpanKind.RETRIEVER, SpanKind.EMBEDDING)
"""Spans whose input and output are not what the conversation said."""

_SAID_ONCE = (
    "session_id",
    "user_id",
    "language",
    "release",
    "prompt_version",
    "corpus_commit",
    "environment",
    "intent",
    "triage_label",
    "first_token_ms",
    "currency",
)


@dataclass(slots=True)
class StoredSpan:
    """What assembly reads of a span."""

    span_id: str
    parent_span_id: str | None
    name: str
    started_ns: int
    ended_ns: int
    status: str
    status_message: str
    attributes: dict[str, Any]
    events: list[dict[str, Any]]
    resource: dict[str, Any]
    links: list[dict[str, Any]] = field(default_factory=list)
    scope: str = ""
    """Name of the instrumentation that made it."""
    id: int = 0
    """Order of arrival."""
    received_at: datetime | None = None
    mask_policy: int = 0


def assemble(
    spans: Sequence[StoredSpan], feedback: Iterable[Feedback], tags: Iterable[str], own: OwnMapping | None = None
) -> dict[str, Any]:
    """The columns of a Trace.

    Args:
        spans: at least one, all of one trace.
        feedback: everything said about this trace.
        tags: words that people put on it.
        own: the project's own mapping, where it has one.
    """
    ordered = sorted(spans, key=lambda span: (span.started_ns, span.ended_ns, span.span_id))
    read = {
        span.span_id: facts(span.name, span.attributes, span.events, span.resource, own.dialect if own else None)
        for span in ordered
    }
    root = _root(ordered)
    started = min(span.started_ns for span in ordered)
    ended = max(span.ended_ns for span in ordered)
    outward = [root, *(span for span in ordered if span is not root)]
    columns: dict[str, Any] = {
        "name": _first(read, outward[:1], "name") or root.name,
        "started_at": datetime.fromtimestamp(started / 1e9, UTC),
        "duration_ms": round((ended - started) / 1e6, 3),
        "span_count": len(ordered),
        "error_count": sum(span.status == "error" for span in ordered),
        "mapping_version": MAPPING_VERSION,
        "project_mapping": own.version if own else 0,
        "counted_span_id": max(span.id for span in ordered),
        "mask_policy": min(span.mask_policy for span in ordered),
        "indexed": False,
        **{column: _first(read, outward, column) for column in _SAID_ONCE},
    }
    columns["currency"] = columns["currency"] or "USD"
    sure = _first(read, outward, "triage_score")
    columns["uncertainty"] = round(1 - sure, 4) if sure is not None and 0 <= sure <= 1 else None
    failed = root if root.status == "error" else None
    if failed is None and root.parent_span_id is not None:  # the root is still on its way
        failed = next((span for span in ordered if span.status == "error"), None)
    columns["status"] = "error" if failed else "ok"
    columns["error"] = ((failed.status_message or _first(read, [failed], "error")) if failed else None) or None
    columns.update(_model(ordered, read, root))
    columns.update(_usage(ordered, read))
    columns.update(_conversation(ordered, read, root))
    columns["documents"] = _documents(ordered, read)
    columns["tool_calls"] = _tool_calls(ordered, read)
    columns["document_count"], columns["tool_count"] = len(columns["documents"]), len(columns["tool_calls"])
    columns["guard"] = [rule for span in ordered for rule in read[span.span_id].columns.get("guard", [])]
    columns["dialect"] = _dialect(ordered, read)
    marked = _first(read, outward, "machine_written")
    columns["machine_written"] = True if marked is None else marked
    columns["language"] = (columns["language"] or "").lower()[:35] or recognize(columns["input"])
    sent = [tag for span in outward for tag in read[span.span_id].columns.get("tags", [])]
    columns["tags"] = sorted({*sent, *tags})
    columns.update(_judged(feedback))
    for name in FACETS:  # what people choose among has no long values
        columns[name] = columns[name][:_LONGEST_CHOICE] if columns[name] else columns[name]
    return columns


def tools_of(columns: dict[str, Any]) -> set[str]:
    """The names of the tools that an assembled trace called."""
    names = (" ".join(as_text(call.get("name")).split())[:_LONGEST_CHOICE] for call in columns["tool_calls"])
    return {name for name in names if name}


def sent_tags(columns: dict[str, Any], by_people: Iterable[str]) -> list[str]:
    """The tags that came with the trace itself."""
    return sorted(set(columns["tags"]) - set(by_people))


def _root(ordered: Sequence[StoredSpan]) -> StoredSpan:
    """The span without a parent; while it is missing, the one whose parent is not here; the longest of several."""
    known = {span.span_id for span in ordered}
    tops = [span for span in ordered if span.parent_span_id is None]
    tops = tops or [span for span in ordered if span.parent_span_id not in known]
    return max(tops or ordered, key=lambda span: span.ended_ns - span.started_ns)


def _first(read: dict[str, Facts], spans: Iterable[StoredSpan], column: str) -> Any:
    for span in spans:
        value = read[span.span_id].columns.get(column)
        if value is not None:
            return value
    return None


def _model(ordered: Sequence[StoredSpan], read: dict[str, Facts], root: StoredSpan) -> dict[str, Any]:
    calls = [span for span in ordered if read[span.span_id].kind is SpanKind.LLM]
    last_first = [*reversed(calls), root, *ordered]
    kind = read[root.span_id].kind
    return {
        "model": _first(read, last_first, "model"),
        "provider": _first(read, last_first, "provider"),
        "operation": kind.value if kind is not SpanKind.OTHER else ("chain" if calls else None),
    }


def _usage(ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> dict[str, Any]:
    """Tokens and cost: the sum over spans, leaving out a span whose descendants count themselves (agents repeat sums)."""
    parents = {span.span_id: span.parent_span_id for span in ordered}
    totals: dict[str, Any] = {}
    for column, name in (("input_tokens", "input_tokens"), ("output_tokens", "output_tokens"), ("cost", "cost_nanos")):
        counted = {span.span_id: read[span.span_id].columns[column] for span in ordered if column in read[span.span_id].columns}
        repeated: set[str] = set()
        for span_id in counted:
            seen = {span_id}
            above = parents.get(span_id)
            while above is not None and above not in seen:
                repeated.add(above)
                seen.add(above)
                above = parents.get(above)
        values = [value for span_id, value in counted.items() if span_id not in repeated]
        totals[name] = sum(values) if values else None
    return totals


def _conversation(ordered: Sequence[StoredSpan], read: dict[str, Facts], root: StoredSpan) -> dict[str, Any]:
    calls = [span for span in ordered if read[span.span_id].kind is SpanKind.LLM] or [
        span for span in ordered if {"messages_in", "messages_out"} & read[span.span_id].columns.keys()
    ]
    calls = _outermost(calls, ordered, read)
    asked: list[Message] = []
    said: list[Message] = []
    for span in calls:  # the last call that said something carries the whole turn
        columns = read[span.span_id].columns
        out = columns.get("messages_out") or columns.get("completion") or []
        if out or not said:
            asked = [*_system(columns), *columns.get("messages_in", [])] or asked
            said = out or said
    top = read[root.span_id].columns
    question = _said(top, ("trace_input", "input"), question_of)
    answer = _said(top, ("trace_output", "output"), answer_of)
    stated = [span for span in ordered if "workbench.input" in span.attributes and read[span.span_id].kind not in _ASIDE]
    if not question and stated:  # our own attributes say what was asked, on whichever span: a gateway below the caller's root
        question = _said(read[stated[0].span_id].columns, ("input",), question_of)
        answer = answer or _said(read[stated[0].span_id].columns, ("output",), answer_of)
    if not question and "messages_in" in top:
        question = question_of(top["messages_in"])
    if not answer and "messages_out" in top:
        answer = answer_of(top["messages_out"])
    if not question:
        question = question_of(asked) if asked else _said_by(ordered, read, "input", question_of)
    if not answer:
        answer = answer_of(said) if said else _said_by(reversed(ordered), read, "output", answer_of)
    return {
        "input": question,
        "output": answer,
        "input_preview": _preview(question),
        "output_preview": _preview(answer),
        "messages": [*asked, *said],
    }


def _outermost(calls: list[StoredSpan], ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> list[StoredSpan]:
    """Calls that are not the inside of another: behind a gateway, what its model was given is not what the user asked."""
    parents = {span.span_id: span.parent_span_id for span in ordered}
    telling = {span.span_id for span in calls if {"messages_out", "completion"} & read[span.span_id].columns.keys()}

    def inside(span: StoredSpan) -> bool:
        seen = {span.span_id}
        above = span.parent_span_id
        while above is not None and above not in seen:
            if above in telling:
                return True
            seen.add(above)
            above = parents.get(above)
        return False

    return [span for span in calls if not inside(span)] if len(calls) > 1 else calls


def _system(columns: dict[str, Any]) -> list[Message]:
    system: list[Message] = columns.get("system", [])
    return [{**message, "role": "system"} for message in system]


def _said(columns: dict[str, Any], names: tuple[str, ...], reader: Any) -> str:
    for name in names:
        if name in columns:
            text: str = reader(columns[name])
            if text:
                return text
    return ""


def _said_by(spans: Iterable[StoredSpan], read: dict[str, Facts], name: str, reader: Any) -> str:
    preferred = sorted(spans, key=lambda span: read[span.span_id].kind in _ASIDE)
    for span in preferred:
        text = _said(read[span.span_id].columns, (name,), reader)
        if text:
            return text
    return ""


def _preview(text: str) -> str:
    return " ".join(text[: PREVIEW * 2].split())[:PREVIEW]


def _documents(ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> list[dict[str, Any]]:
    """Every retrieved document once, as the last span that named it had it (a reranker comes after the retriever)."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for span in ordered:
        for document in read[span.span_id].columns.get("documents", []):
            key = (document["id"], "" if document["id"] else document["content"])
            found[key] = {**found.get(key, {}), **{name: value for name, value in document.items() if value not in (None, "")}}
    return [{"id": "", "score": None, "content": "", **document} for document in found.values()]


def _tool_calls(ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> list[dict[str, Any]]:
    """Calls from tool spans, and those that a model asked for and whose span is not here."""
    calls: list[dict[str, Any]] = []
    for span in ordered:
        columns = read[span.span_id].columns
        if read[span.span_id].kind is not SpanKind.TOOL:
            continue
        call: dict[str, Any] = {
            "id": columns.get("tool_call_id", ""),
            "name": columns.get("tool_name", span.name),
            "arguments": columns.get("tool_arguments", parsed(columns.get("input"))),
            "result": columns.get("tool_result", parsed(columns.get("output"))),
            "status": "error" if span.status == "error" else "ok",
            "span_id": span.span_id,
            "duration_ms": round((span.ended_ns - span.started_ns) / 1e6, 3),
        }
        receipt = columns.get("tool_receipt") or _receipt_in(call["result"])
        if receipt:
            call["receipt"] = receipt
        if span.status == "error":
            call["error"] = span.status_message or columns.get("error", "")
        calls.append(call)
    answered = _answered(ordered, read)
    known, names = {call["id"] for call in calls if call["id"]}, {call["name"] for call in calls}
    for span in ordered:
        for message in read[span.span_id].columns.get("messages_out", []):
            for asked in message.get("tool_calls", []):
                if (asked["id"] and asked["id"] in known) or asked["name"] in names:
                    continue
                known.add(asked["id"])
                calls.append({**asked, "result": answered.get(asked["id"]), "span_id": span.span_id})
    return calls


def _receipt_in(result: Any) -> Any:
    """What a tool's result offers as the proof of what it did."""
    if isinstance(result, dict):
        return result.get("receipt") or result.get("receipt_id")
    return None


def _answered(ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> dict[str, str]:
    """Tool results that models were given, by call id."""
    return {
        message["tool_call_id"]: message["content"]
        for span in ordered
        for message in read[span.span_id].columns.get("messages_in", [])
        if message.get("tool_call_id")
    }


def _dialect(ordered: Sequence[StoredSpan], read: dict[str, Facts]) -> str:
    """The dialect that most spans speak, plain OTLP only when none speaks another."""
    counts: dict[str, int] = {}
    for span in ordered:
        name = read[span.span_id].dialect
        counts[name] = counts.get(name, 0) + (name != "otlp")
    return max(counts, key=lambda name: counts[name])


def _judged(feedback: Iterable[Feedback]) -> dict[str, Any]:
    """The trace's rating and what else feedback says about it."""
    given = sorted(feedback, key=lambda one: (one.at, one.id))
    rating: float | None = None
    thumb: float | None = None
    for one in given:
        if one.source != "explicit" or one.number is None:
            continue
        if one.kind == "float" and one.minimum is not None and one.maximum is not None and one.maximum > one.minimum:
            rating = 1 + 4 * (one.number - one.minimum) / (one.maximum - one.minimum)
        elif one.kind == "boolean":
            thumb = 5.0 if one.number else 1.0
    value = thumb if rating is None else rating
    return {
        "rating": None if value is None else round(value, 2),
        "feedback_count": len(given),
        "has_correction": any(one.kind == "correction" for one in given),
    }


def trace_text(row: Any) -> str:
    """What text search covers: the question, the answer, and the tools' names."""
    tools = " ".join(as_text(call.get("name")) for call in row.tool_calls)
    return "\n".join(part for part in (row.input, row.output, tools) if part)
