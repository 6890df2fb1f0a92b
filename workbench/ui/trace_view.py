"""One trace as people read it: the conversation first, this turn in full, the facts beside it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from sqlmodel import Session

from workbench.traces.models import Feedback, Trace
from workbench.traces.queries import Turn, feedback_of, session_turns
from workbench.traces.talk import MOST, talk_of
from workbench.ui import citations, page, trace_masking, trace_origin
from workbench.ui.trace_filters import View
from workbench.ui.trace_list import link, milliseconds, money
from workbench.ui.trace_origin import Origin

_HERE = Path(__file__).parent
_view = st.components.v2.component(
    "workbench.trace_view",
    html='<div class="view" id="view"></div>',
    css=(_HERE / "trace_view.css").read_text(encoding="utf-8"),
    js=(_HERE / "trace_view.js").read_text(encoding="utf-8"),
)

_LONGEST = 60_000
"""Characters of one text that go to the browser; the raw trace below has all of it."""
_TURNS = 60


def data_of(session: Session, trace: Trace, view: View, *, may_correct: bool = False) -> dict[str, Any]:
    """What the component shows of a trace and its conversation, as JSON.

    Args:
        may_correct: whether to offer the way to the knowledge entries behind the answer.
    """
    turns = session_turns(session, trace.project_id, trace.session_id) if trace.session_id else []
    before, after = _around(turns, trace)
    feedback = feedback_of(session, trace.project_id, trace.trace_id)
    return {
        "glance": _glance(trace),
        "language": trace.language or "",
        "earlier": [_other_turn(one, view) for one in before],
        "turn": _this_turn(session, trace, feedback, may_correct=may_correct, told=bool(before)),
        "later": [_other_turn(one, view) for one in after],
        "facts": _facts(session, trace),
    }


def show(data: dict[str, Any], *, key: str = "trace_view") -> str | None:
    """Draw what `data_of` made; returns the id of another turn that was opened in this run."""
    result = _view(key=key, data=data, on_open_change=_nothing)
    opened = result.get("open")
    turns = [*data["earlier"], *data["later"], *data.get("turns", [])]
    return opened if any(turn["id"] == opened for turn in turns) else None


def _around(turns: list[Turn], trace: Trace) -> tuple[list[Turn], list[Turn]]:
    """The turns before and after this one; of a very long conversation the nearest."""
    at = next((number for number, turn in enumerate(turns) if turn.trace_id == trace.trace_id), None)
    if at is None:
        return [], []
    return turns[max(0, at - _TURNS // 2) : at], turns[at + 1 : at + 1 + _TURNS // 2]


def _glance(trace: Trace) -> list[list[str]]:
    tokens = [f"{count:,}" if count is not None else "?" for count in (trace.input_tokens, trace.output_tokens)]
    pairs = [["Status", trace.status, "bad" if trace.status == "error" else ""]]
    if trace.rating is not None:
        pairs.append(["Rating", f"{trace.rating:g} of 5", "low" if trace.rating <= 2 else ""])
    pairs.append(["Latency", milliseconds(trace.duration_ms), ""])
    if trace.first_token_ms is not None:
        pairs.append(["First token", milliseconds(trace.first_token_ms), ""])
    if trace.input_tokens is not None or trace.output_tokens is not None:
        pairs.append(["Tokens in, out", f"{tokens[0]} · {tokens[1]}", ""])
    if trace.cost is not None:
        pairs.append(["Cost", money(trace.cost, trace.currency), ""])
    pairs += trace_masking.glance(trace)
    pairs.append(["Spans", f"{trace.span_count:,}" + (f", {trace.error_count} failed" if trace.error_count else ""), ""])
    return pairs


def _other_turn(turn: Turn, view: View) -> dict[str, Any]:
    return {
        "id": turn.trace_id,
        "link": link(turn.trace_id, view),
        "time": page.moment(turn.started_at),
        "question": cut(turn.input),
        "answer": cut(turn.output),
        "error": turn.error or "",
        "failed": turn.status == "error",
        "rating": turn.rating,
    }


def _this_turn(session: Session, trace: Trace, feedback: list[Feedback], *, may_correct: bool, told: bool) -> dict[str, Any]:
    """The turn in full.

    Args:
        told: whether the turns before are shown as turns, so that the request's own copy of them is not needed.
    """
    talk = talk_of(trace)
    documents = trace.documents[:MOST]
    origins = trace_origin.origins(session, trace, documents)
    return {
        "id": trace.trace_id,
        "time": page.moment(trace.started_at),
        "system": cut(talk.system),
        "before": [] if told else [_message(message) for message in talk.before[-MOST:]],
        "question": cut(trace.input),
        "steps": [
            {"tool": tool(step["call"])} if "call" in step else {"said": _message({**step["say"], "tool_calls": []})}
            for step in talk.steps
        ],
        "more_steps": talk.left_out,
        "answer": cut(trace.output),
        "machine": trace.machine_written,
        "error": trace.error or "",
        "failed": trace.status == "error",
        "rating": trace.rating,
        "guard": trace_origin.fired(trace),
        "written": cut(trace_origin.written_before_guard(session, trace)),
        "feedback": [signal(one) for one in feedback[:MOST]],
        "documents": [
            _document(trace, document, origin, number, may_correct=may_correct)
            for number, (document, origin) in enumerate(zip(documents, origins, strict=True), start=1)
        ],
        "more_documents": max(0, len(trace.documents) - MOST),
        "missing": trace_origin.new_entry_link(trace.input) if may_correct and not trace.documents else "",
        "messages": [_message(message) for message in trace.messages[:MOST]] if len(trace.messages) > 2 else [],
    }


def signal(one: Feedback) -> dict[str, Any]:
    """Feedback as the component shows it."""
    stars = value = None
    mood = ""
    if one.kind == "boolean" and one.number is not None:
        value, mood = ("yes", "good") if one.number else ("no", "bad")
        if one.name in ("thumb", "thumbs"):
            value = "thumbs up" if one.number else "thumbs down"
        elif one.source != "explicit":
            mood = ""
    elif one.kind == "float" and one.number is not None:
        if (one.minimum, one.maximum) == (1, 5):
            stars = one.number
        else:
            value = f"{one.number:g} of {one.minimum:g} to {one.maximum:g}"
    who = {"explicit": "from the end user", "implicit": "from what the end user did", "annotator": "from an annotator"}[
        one.source
    ]
    about = " · on one span" if one.span_id else " · on the whole session" if one.trace_id is None else ""
    return {
        "name": "what the user wanted instead" if one.kind == "correction" else _words(one.name),
        "value": value,
        "mood": mood,
        "stars": stars,
        "text": cut(one.text),
        "who": who + about,
        "time": page.moment(one.at),
    }


def _document(trace: Trace, document: dict[str, Any], origin: Origin, number: int, *, may_correct: bool) -> dict[str, Any]:
    content = cut(str(document.get("content") or ""))
    key = str(document.get("id") or "")
    cited = citations.cited_in(content, document.get("cited"), trace.output, [key, origin.key, str(number)])
    return {
        "title": str(document.get("title") or origin.title or key or "passage")[:300],
        "key": origin.key if origin.title else "",
        "link": origin.link,
        "correct": origin.correct if may_correct else "",
        "version": origin.words,
        "since": origin.since,
        "score": document["score"] if isinstance(document.get("score"), int | float) else None,
        "cited": cited.is_cited,
        "how": cited.how,
        "pieces": citations.pieces(content, cited.spans),
    }


def tool(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call as the component shows it."""
    parts = [("arguments", call.get("arguments")), ("result", call.get("result")), ("error", call.get("error"))]
    receipt = call.get("receipt")
    if isinstance(receipt, dict | list):
        parts.append(("receipt", receipt))
    return {
        "name": str(call.get("name") or "tool")[:300],
        "failed": call.get("status") == "error",
        "receipt": str(receipt)[:80] if isinstance(receipt, str | int) else ("kept" if receipt else ""),
        "took": milliseconds(call["duration_ms"]) if isinstance(call.get("duration_ms"), int | float) else "",
        "parts": [[name, _pretty(value)] for name, value in parts if value not in (None, "")],
    }


def _message(message: dict[str, Any]) -> dict[str, str]:
    calls = [f"→ {call.get('name')}({_pretty(call.get('arguments'))})" for call in message.get("tool_calls", [])]
    return {"role": str(message.get("role") or ""), "text": cut("\n".join([message.get("content") or "", *calls]).strip())}


def _facts(session: Session, trace: Trace) -> list[list[dict[str, Any]]]:
    """Groups of names and values for the side."""
    commit, prompt = trace_origin.commit_words(session, trace), trace_origin.prompt_words(session, trace)

    def fact(name: str, value: Any, *, hash: bool = False, full: Any = None, link: str = "") -> dict[str, Any] | None:
        if value in (None, "", []):
            return None
        text = str(value)
        made: dict[str, Any] = {"name": name, "value": page.short(text) if hash and text.startswith("sha256:") else text}
        if hash:
            made.update(hash=True, full=text)
        if full is not None and str(full) != text:
            made["full"] = str(full)
        if link:
            made["link"] = link
        return made

    groups = [
        [
            fact("Team", trace.triage_label),
            fact("Intent", trace.intent),
            fact("Language", trace.language),
            fact("Tags", ", ".join(trace.tags)),
        ],
        [
            fact("Model", trace.model),
            fact("Provider", trace.provider),
            fact("Release", trace.release, hash=True, link=trace_origin.release_link(session, trace)),
            fact("Prompt version", prompt, hash=prompt == trace.prompt_version, full=trace.prompt_version),
            fact("Corpus commit", commit.removeprefix("commit "), full=trace.corpus_commit),
            fact("Environment", trace.environment),
            fact("Written by", "a machine" if trace.machine_written else "no model"),
        ],
        [
            fact("User", trace.user_id, link="/traces?" + urlencode({"view": "users", "user": trace.user_id or ""})),
            fact(
                "Session",
                trace.session_id,
                link="/traces?" + urlencode({"view": "sessions", "session": trace.session_id or ""}),
            ),
            fact("Sent as", f"{trace.name} · {trace.dialect}"),
            fact("Trace id", trace.trace_id, hash=True),
        ],
    ]
    return [kept for group in groups if (kept := [one for one in group if one])]


def _words(name: Any) -> str:
    return str(name or "").replace("_", " ").replace("-", " ")[:200]


def _pretty(value: Any) -> str:
    return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))


def cut(text: str, longest: int = _LONGEST) -> str:
    """The text as far as it goes to the browser."""
    if len(text) <= longest:
        return text
    return text[:longest] + f"\n… and {len(text) - longest:,} more characters, in the raw trace."


def _nothing() -> None:
    """Streamlit only reports values that have a callback."""
