"""The annotation card: one item at a time, as one component that the browser drives by keyboard.

The browser queues its acts and sends every one that is not acknowledged; here each is carried out once, by its id. See
annotate_card.js for the other half.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from sqlmodel import Session

from workbench.annotation import queries
from workbench.annotation.leases import Held
from workbench.annotation.models import Queue, QueueItem, Response, ResponseStatus
from workbench.annotation.schema import REWRITE
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.identity.queries import names_of
from workbench.traces.models import Feedback, Trace
from workbench.traces.queries import feedback_of, get_trace, session_traces
from workbench.ui.guard import Visit

_HERE = Path(__file__).parent
_card = st.components.v2.component(
    "workbench.annotate_card",
    html=(_HERE / "annotate_card.html").read_text(encoding="utf-8"),
    css=(_HERE / "annotate_card.css").read_text(encoding="utf-8"),
    js=(_HERE / "annotate_card.js").read_text(encoding="utf-8"),
)

_HANDLED = "annotate_handled"
_NEXT = "annotate_next"
_REMEMBERED = 400
"""Acts whose ids are kept, so that one that is sent again is not carried out again."""


def show(visit: Visit, queue: Queue, *, first_item: str | None = None, key: str = "annotate_card") -> None:
    """The card over a queue: takes the next item, saves, submits, and goes on.

    Args:
        first_item: the item to begin with, when an address names one.
    """
    _forget_other_queue(queue)
    held = _current(visit, queue, first_item)
    handled: dict[str, dict[str, Any] | None] = st.session_state.setdefault(_HANDLED, {})
    with visit.read() as session:
        data = _data(session, visit, queue, held)
    data["acked"] = list(handled)
    data["failures"] = [failure for failure in handled.values() if failure]
    data["notice"] = st.session_state.pop("annotate_notice", "")
    _card(key=key, data=data, on_acts_change=_handler(visit, key))


def _handler(visit: Visit, key: str) -> Callable[[], None]:
    def handle() -> None:
        acts = st.session_state[key].get("acts") or []
        handled: dict[str, dict[str, Any] | None] = st.session_state.setdefault(_HANDLED, {})
        for act in acts:
            if not isinstance(act, dict) or not isinstance(act.get("id"), str) or act["id"] in handled:
                continue
            try:
                _carry_out(visit, act)
                handled[act["id"]] = None
            except WorkbenchError as error:
                handled[act["id"]] = {
                    "id": act["id"], "kind": act.get("kind"), "item": act.get("item"), "text": str(error),
                }  # fmt: skip
        for old in list(handled)[:-_REMEMBERED]:
            del handled[old]

    return handle


def _carry_out(visit: Visit, act: dict[str, Any]) -> None:
    """One act of the browser. What a second browser tab or a refresh sends again happens once, by its id."""
    annotation, actor = visit.services.annotation, visit.actor
    kind, item_id, command_id = act.get("kind"), str(act.get("item", "")), act["id"]
    values = act.get("values") or {}
    seconds = act["seconds"] if isinstance(act.get("seconds"), int | float) else 0.0
    consent = act["consent"] if isinstance(act.get("consent"), bool) else None
    if kind == "draft":
        annotation.save_draft(actor, item_id, values, seconds=seconds, consent=consent, command_id=command_id)
        return
    if kind == "touch":
        annotation.lease_item(actor, item_id, command_id=command_id)
        return
    if kind == "submit":
        annotation.submit(actor, item_id, values, seconds=seconds, consent=consent, command_id=command_id)
        st.session_state[_NEXT] = None
    elif kind == "skip":
        annotation.skip(actor, item_id, values, seconds=seconds, command_id=command_id)
        st.session_state[_NEXT] = None
    elif kind == "flag":
        reason = str(act.get("reason", ""))
        annotation.flag(actor, item_id, reason=reason, values=values, seconds=seconds, command_id=command_id)
        st.session_state[_NEXT] = None
    elif kind == "undo":
        back = annotation.undo(actor, str(act.get("queue", "")), command_id=command_id)
        st.session_state[_NEXT] = back.item.id
        if back.lease_until is None:
            st.session_state["annotate_notice"] = (
                "Taken back. Somebody else works on that item now; it returns to you when they are done."
            )
            st.session_state[_NEXT] = None


def _forget_other_queue(queue: Queue) -> None:
    if st.session_state.get("annotate_queue_id") != queue.id:
        st.session_state["annotate_queue_id"] = queue.id
        st.session_state[_NEXT] = None


def _current(visit: Visit, queue: Queue, first_item: str | None) -> Held | None:
    """The item in hand; taken from the queue when there is none."""
    annotation, actor = visit.services.annotation, visit.actor
    chosen: str | None = st.session_state.get(_NEXT)
    if first_item and st.session_state.get("annotate_first_item") != first_item:
        st.session_state["annotate_first_item"] = first_item
        chosen = first_item
        try:
            held = annotation.lease_item(actor, first_item)
            if held.item.queue_id == queue.id:
                st.session_state[_NEXT] = held.item.id
                return held
        except WorkbenchError as error:
            st.session_state["annotate_notice"] = str(error)
    if chosen:
        with visit.read() as session:
            still = _still_held(session, visit, chosen)
        if still is not None:
            return still
    taken = annotation.lease_next(actor, queue.id)
    st.session_state[_NEXT] = taken.item.id if taken else None
    return taken


def _still_held(session: Session, visit: Visit, item_id: str) -> Held | None:
    """The item without writing anything, while this person holds it."""
    item = session.get(QueueItem, item_id)
    if item is None or item.project_id != visit.project.id or item.held_by(now()) != visit.actor.id:
        return None
    mine = queries.history(session, item_id, person_id=visit.actor.id)
    latest = next((row for row in reversed(mine) if row.status != ResponseStatus.WITHDRAWN), None)
    return Held(
        item=item,
        values=dict(latest.values) if latest else {},
        seconds=latest.seconds if latest else 0.0,
        consent=latest.consent if latest else True,
        saved_at=latest.at if latest else None,
        lease_until=item.lease_until,
    )


def _data(session: Session, visit: Visit, queue: Queue, held: Held | None) -> dict[str, Any]:
    """Everything the card shows, as JSON. Text from outside stays text: the card sets it with textContent only."""
    progress = queries.progress(session, [queue.id])[queue.id]
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    others = {person: name for person, name in queries.working_now(session, queue.id).items() if person != visit.actor.id}
    data: dict[str, Any] = {
        "queue": queue.id,
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
            each for each in session_traces(session, trace.project_id, trace.session_id, limit=20)
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
