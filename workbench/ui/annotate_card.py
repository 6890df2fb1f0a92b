"""The annotation card: one item at a time, as one component that the browser drives by keyboard.

The browser queues its acts and sends every one that is not acknowledged; here each is carried out once, by its id. See
annotate_card.js for the other half.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from sqlmodel import Session

from workbench.annotation import queries
from workbench.annotation.leases import Held
from workbench.annotation.models import Queue, QueueItem, ResponseStatus
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.ui import annotate_live
from workbench.ui.annotate_item import card_data
from workbench.ui.guard import Visit

_HERE = Path(__file__).parent
_card = st.components.v2.component(
    "workbench.annotate_card",
    html=(_HERE / "annotate_card.html").read_text(encoding="utf-8"),
    css=(_HERE / "annotate_card.css").read_text(encoding="utf-8"),
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("annotate_text.js", "annotate_card.js")),
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
        data = card_data(session, visit, queue, held)
    data["acked"] = [act for act in _sent(key) if act in handled]
    data["failures"] = [failure for act in data["acked"] if (failure := handled[act])]
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


def _sent(key: str) -> list[str]:
    """Ids of the acts that the browser sent last."""
    state = st.session_state.get(key) or {}
    return [act["id"] for act in state.get("acts") or [] if isinstance(act, dict) and isinstance(act.get("id"), str)]


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
    if kind == "ask":
        annotate_live.suggest(visit, item_id, command_id=command_id)
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
            item = session.get(QueueItem, chosen)
        if still is not None:
            return still
        if item is not None and item.held_by(now()) and item.queue_id == queue.id:
            st.session_state["annotate_notice"] = (
                f"{item.leased_by_name} took the item over, since it was left for a while. Your draft is kept."
            )
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
