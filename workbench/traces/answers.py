"""The workbench's own traces: an answer of its gateway as spans, stored like everybody else's."""

import hashlib
import itertools
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from workbench import __version__
from workbench.core.errors import InvalidInput
from workbench.traces.decoded import Decoded, Source, SpanData

_TRACE_ID = re.compile(r"[0-9a-f]{32}")


def new_trace_id() -> str:
    """A random trace id as 32 hexadecimal digits."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class LoggedAnswer:
    """What the gateway knows of an answer it gave."""

    question: str
    answer: str
    started_at: datetime
    duration_ms: float
    trace_id: str = field(default_factory=new_trace_id)
    """32 hexadecimal digits."""
    parent_span_id: str | None = None
    """The caller's span, when it sent a `traceparent`."""
    name: str = "answer"
    session_id: str | None = None
    user_id: str | None = None
    messages: Sequence[dict[str, Any]] = ()
    """What the model was given: [{"role", "content"}]; the question alone when empty."""
    documents: Sequence[dict[str, Any]] = ()
    """Retrieved passages: [{"id", "score", "content", "version", "title", "cited"}]"""
    citations: Sequence[dict[str, Any]] = ()
    """[{"entry_id", "version_id", "key", "span", "start", "end"}]; they mark the documents they cite."""
    tool_calls: Sequence[dict[str, Any]] = ()
    guard: Sequence[dict[str, Any] | str] = ()
    """Rules that fired."""
    release: str | None = None
    prompt_version: str | None = None
    corpus_commit: str | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    """Hashes by slot."""
    mode: str | None = None
    """generated, evidence only, declined, …"""
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    first_token_ms: float | None = None
    retrieval_ms: float | None = None
    language: str | None = None
    intent: str | None = None
    triage_label: str | None = None
    status: str = "ok"
    """ok or error."""
    error: str | None = None
    tags: Sequence[str] = ()
    machine_written: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping on the root span."""


_SCOPE = {"name": "workbench.gateway", "version": __version__}
_RESOURCE = {"service.name": "learning-workbench"}


def spans_of_answer(answer: LoggedAnswer) -> Decoded:
    """The spans: one for the turn, below it retrieval and generation.

    Raises:
        InvalidInput: the trace id is not 32 hexadecimal digits.
    """
    if not _TRACE_ID.fullmatch(answer.trace_id):
        raise InvalidInput(f"{answer.trace_id[:80]!r} is no trace id.", todo="It has 32 lower-case hexadecimal digits.")
    source = Source(
        "own:" + hashlib.sha256(json.dumps([_RESOURCE, _SCOPE]).encode()).hexdigest(), dict(_RESOURCE), dict(_SCOPE)
    )
    started = int(answer.started_at.timestamp() * 1e9)
    ended = started + int(answer.duration_ms * 1e6)
    failed = answer.status == "error"

    seed = f"{answer.trace_id}:{answer.parent_span_id}:{started}:"
    ids = (hashlib.sha256(f"{seed}{number}".encode()).hexdigest()[:16] for number in itertools.count())

    def span(name: str, parent: str | None, start: int, end: int, attributes: dict[str, Any]) -> SpanData:
        # The same answer gets the same ids, so that logging it again after a crash adds nothing.
        given = {key: value for key, value in attributes.items() if value not in (None, "", [], {})}
        return SpanData(
            answer.trace_id, next(ids), parent, source.id, name, "server" if parent is None else "internal",
            start, max(start, end), "error" if failed else "ok", (answer.error or "")[:2000] if failed else "", given,
        )  # fmt: skip

    root = span(
        answer.name,
        answer.parent_span_id,
        started,
        ended,
        {
            "workbench.kind": "chain",
            "workbench.input": answer.question,
            "workbench.output": answer.answer,
            "workbench.session_id": answer.session_id,
            "workbench.user_id": answer.user_id,
            "workbench.release": answer.release,
            "workbench.prompt_version": answer.prompt_version,
            "workbench.corpus_commit": answer.corpus_commit,
            "workbench.configuration": answer.configuration,
            "workbench.mode": answer.mode,
            "workbench.language": answer.language,
            "workbench.intent": answer.intent,
            "workbench.triage.label": answer.triage_label,
            "workbench.guard": [rule if isinstance(rule, dict) else {"rule": rule} for rule in answer.guard],
            "workbench.first_token_ms": answer.first_token_ms,
            "workbench.cost": None if answer.cost is None else str(answer.cost),
            "workbench.tags": list(answer.tags),
            "workbench.machine_written": answer.machine_written,
            "workbench.citations": list(answer.citations),
            **answer.attributes,
        },
    )
    attributes: dict[str, Any]
    spans = [root]
    retrieved = started
    if answer.documents:
        retrieved = min(ended, started + int((answer.retrieval_ms or 0) * 1e6))
        attributes = {
            "workbench.kind": "retriever",
            "workbench.input": answer.question,
            "workbench.documents": _marked(answer),
        }
        spans.append(span("retrieve", root.span_id, started, retrieved, attributes))
    for call in answer.tool_calls:
        attributes = {
            "workbench.kind": "tool",
            "workbench.tool.name": call.get("name"),
            "workbench.tool.call_id": call.get("id"),
            "workbench.tool.arguments": call.get("arguments"),
            "workbench.tool.result": call.get("result"),
            "workbench.tool.receipt": call.get("receipt"),
        }
        spans.append(span(str(call.get("name") or "tool"), root.span_id, retrieved, retrieved, attributes))
    if answer.model:
        asked = list(answer.messages) or [{"role": "user", "content": answer.question}]
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.response.model": answer.model,
            "gen_ai.input.messages": asked,
            "gen_ai.output.messages": [{"role": "assistant", "content": answer.answer}],
            "gen_ai.usage.input_tokens": answer.input_tokens,
            "gen_ai.usage.output_tokens": answer.output_tokens,
        }
        spans.append(span("generate", root.span_id, retrieved, ended, attributes))
    return Decoded(spans, {source.id: source}, [])


def _marked(answer: LoggedAnswer) -> list[dict[str, Any]]:
    """The documents, each knowing whether and what of it the answer cites: one stretch of its text, or a list of several."""
    cited: dict[str, list[Any]] = {}
    for citation in answer.citations:
        for name in {str(citation[name]) for name in ("version_id", "entry_id", "key") if citation.get(name)}:
            cited.setdefault(name, []).append(citation.get("span", True))
    documents = []
    for document in answer.documents:
        names = [str(document[name]) for name in ("version", "id", "key") if document.get(name)]
        spans: list[Any] = []
        for stretch in next((cited[name] for name in names if name in cited), []):
            if stretch not in spans:  # it may be a list, which no set takes
                spans.append(stretch)
        given = document.get("cited", False)
        documents.append({**document, "cited": given if not spans else spans[0] if len(spans) == 1 else spans})
    return documents
