"""What the annotation card shows of an item, as JSON."""

import json
from typing import Any

from sqlmodel import Session

from workbench.annotation import queries
from workbench.annotation.leases import Held
from workbench.annotation.models import Queue, Response, ResponseStatus
from workbench.annotation.schema import REWRITE
from workbench.core.clock import now
from workbench.identity.queries import names_of
from workbench.traces.models import Feedback, Trace
from workbench.traces.queries import feedback_of, get_trace, session_turns
from workbench.ui.guard import Visit


def card_data(session: Session, visit: Visit, queue: Queue, held: Held | None) -> dict[str, Any]:
    """Everything the card shows, as JSON. Text from outside stays text: the card sets it with textContent only."""
    progress = queries.progress(session, [queue.id])[queue.id]
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    others = {person: name for person, name in queries.working_now(session, queue.id).items() if person != visit.actor.id}
    data: dict[str, Any] = {
        "queue": queue.id,
        "person": visit.actor.id,
        "questions": queue.questions,
        "guidelines": queue.guidelines,
        "progress": {"done": progress.done, "total": progress.total},
        "others": sorted(others.values()),
        "today": queries.submitted_since(session, visit.project.id, visit.actor.id, midnight),
        "can_undo": queries.last_act(session, queue.id, visit.actor.id) is not None,
        "item": None,
        "suggestions": {},
        "saved_at": None,
    }
    if held is None:
        data["done_title"], data["done_text"] = _ending(progress, others)
        return data
    trace = get_trace(session, visit.project.id, held.item.trace_id)
    feedback = feedback_of(session, visit.project.id, trace.trace_id)
    history = queries.history(session, held.item.id, person_id=visit.actor.id)
    data["item"] = _item(session, trace, held, feedback, history)
    data["saved_at"] = held.saved_at.isoformat() if held.saved_at else None
    if queue.show_suggestions:
        data["suggestions"] = _suggestions(session, held, feedback)
    return data


def _item(session: Session, trace: Trace, held: Held, feedback: list[Feedback], history: list[Response]) -> dict[str, Any]:
    acts = [row.id for row in history if row.status != ResponseStatus.DRAFT]
    meta = [["Asked", f"{trace.started_at:%-d %b %Y %H:%M} UTC"]]
    meta += [["Language", trace.language]] if trace.language else []
    meta += [["Release", trace.release]] if trace.release else []
    meta += [["Customer's rating", f"{trace.rating:g} of 5"]] if trace.rating is not None else []
    meta += [["Guard", ", ".join(str(rule.get("rule", "")) for rule in trace.guard)]] if trace.guard else []
    return {
        "id": held.item.id,
        "turn": acts[-1] if acts else "",
        "values": held.values,
        "seconds": held.seconds,
        "consent": held.consent,
        "answer": trace.output,
        "link": f"/traces?trace={trace.trace_id}",
        "meta": meta,
        "turns": _turns(session, trace),
        "feedback": [
            {"title": "What the customer said", "text": each.text}
            for each in feedback
            if each.kind == "comment" and each.text and each.source != "annotator"
        ],
        "documents": [
            {
                "title": str(document.get("title") or document.get("id") or "Document"),
                "source": _source(document),
                "text": str(document.get("content") or ""),
            }
            for document in trace.documents
        ],
        "tools": [
            {
                "title": str(call.get("name") or "tool"),
                "source": str(call.get("status") or ""),
                "text": _readable(call),
            }
            for call in trace.tool_calls
        ],
    }


def _turns(session: Session, trace: Trace) -> list[dict[str, Any]]:
    """The conversation as turns: what came before is folded, the answer under review comes last."""
    turns: list[dict[str, Any]] = []
    if trace.session_id:
        earlier = [
            each for each in session_turns(session, trace.project_id, trace.session_id, limit=20)
            if each.started_at < trace.started_at and each.trace_id != trace.trace_id
        ]  # fmt: skip
        if earlier:
            who = f"Earlier in this conversation ({len(earlier)})"
            text = "\n\n".join(f"Customer: {each.input}\nAssistant: {each.output}" for each in earlier)
            turns.append(
                {"kind": "earlier", "who": f"Earlier in this conversation ({len(earlier)})", "text": text, "folded": True}
            )
    for message in trace.messages:
        role, text = str(message.get("role", "")), str(message.get("content") or "")
        if role in ("system", "developer") and text:
            turns.append({"kind": "system", "who": "Instructions to the model", "text": text, "folded": True})
    turns.append({"kind": "user", "who": "Customer", "text": trace.input or "(no question was logged)"})
    who = "Assistant, to be judged" if trace.machine_written else "Staff, to be judged"
    turns.append({"kind": "reviewed", "who": who, "text": trace.output or "(no answer was logged)"})
    return turns


def _suggestions(session: Session, held: Held, feedback: list[Feedback]) -> dict[str, list[dict[str, Any]]]:
    """Proposals by question, the surest first; a correction by the end user is one for the rewrite."""
    found: dict[str, list[dict[str, Any]]] = {}
    rows = queries.suggestions_of(session, held.item.id)
    names = names_of(session, {row.agent for row in rows if row.kind == "person"})
    for row in rows:
        shown = {"value": row.value["value"], "agent": names.get(row.agent, row.agent), "score": row.score}
        found.setdefault(row.question, []).append(shown)
    for each in feedback:
        if each.kind == "correction" and each.text:
            found.setdefault(REWRITE, []).append({"value": each.text, "agent": "the customer", "score": None})
    return found


def _source(document: dict[str, Any]) -> str:
    score = document.get("score")
    key = str(document.get("id") or "")
    parts = [key] if key != str(document.get("title") or key) else []
    parts += [f"score {score:.2f}"] if isinstance(score, int | float) else []
    parts += ["cited"] if document.get("cited") else []
    return " · ".join(part for part in parts if part)


def _readable(call: dict[str, Any]) -> str:
    def text_of(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)

    parts = [
        f"{name}: {text_of(call[name])}" for name in ("arguments", "result", "receipt") if call.get(name) not in (None, "")
    ]
    return "\n".join(parts) or "(nothing was logged)"


def _ending(progress: queries.Progress, others: dict[str, str]) -> tuple[str, str]:
    """What the card says when nothing is left for this person: title and next step."""
    if not progress.total:
        return "This queue is empty.", "Send traces to it from the Traces page, or choose another queue."
    if not progress.waiting:
        flagged = f" {progress.flagged} flagged and waiting for a decision." if progress.flagged else ""
        return "The queue is done.", f"{progress.done} of {progress.total} items are finished.{flagged}"
    if others:
        names = ", ".join(sorted(others.values()))
        return (
            "Nothing is left for you right now.",
            f"{names} hold the last items; reload in a while to see if any return.",
        )
    return "Nothing is left for you.", f"{progress.waiting} items wait for other people: you have answered or skipped them."
