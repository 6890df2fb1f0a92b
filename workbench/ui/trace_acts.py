"""What people do with traces: send them to an annotation queue, tag them."""

from collections.abc import Sequence

import streamlit as st

from workbench.annotation import queries as annotation
from workbench.annotation.models import ItemState, Queue, QueueItem
from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.knowledge.queries import live_by_key
from workbench.traces.models import Trace
from workbench.ui import links, page, trace_replay
from workbench.ui.guard import Visit

SEND, TAG = "send", "tag"
MOST = 1000
"""Traces that one act may take."""

_DONE = "trace_act_done"


def offered(visit: Visit) -> list[tuple[str, str]]:
    """(kind, label) of the acts that this person may do on traces."""
    acts = [(SEND, "Send to queue")] if visit.can(Permission.MANAGE_QUEUES) else []
    return acts + ([(TAG, "Tag")] if visit.can(Permission.TAG_TRACES) else [])


def on_one(visit: Visit, trace: Trace, queues: Sequence[tuple[Queue, QueueItem]]) -> None:
    """What can be done with one trace alone, each within two clicks: replay, correct knowledge, golden case, annotate."""
    if visit.can(Permission.REPLAY_TRACES):
        st.button("Replay", key="trace_replay_open_button", on_click=trace_replay.toggle, args=(trace.trace_id,))
    if visit.can(Permission.EDIT_KNOWLEDGE):
        _correct(visit, trace)
    if visit.can(Permission.EDIT_GOLDEN) and trace.input.strip():
        links.to("compare", "Golden case", icon=":material/verified:", trace=trace.trace_id)
    if visit.can(Permission.ANNOTATE):
        _annotate_now(visit, trace, queues)


def _correct(visit: Visit, trace: Trace) -> None:
    """The entries behind the answer, cited ones first; without any, the form of a new entry."""
    keys = [str(one.get("id") or "") for one in sorted(trace.documents, key=lambda one: not one.get("cited"))[:50]]
    with visit.read() as session:
        known = live_by_key(session, visit.project.id, [key for key in keys if 0 < len(key) <= 200])
    found = [key for key in dict.fromkeys(keys) if key in known]
    if not found:
        title = " ".join(trace.input.split())[:150]
        links.to("knowledge", "Add knowledge", icon=":material/edit:", new="1", title=title)
        return
    with st.popover("Correct knowledge", key="trace_correct"):
        st.caption("What was retrieved for this answer. A correction that goes live is used by the next question.")
        for key in found[:12]:
            version = known[key]
            words = f"{version.title} ({key})" if version else f"{key}, not live any more"
            links.to("knowledge", page.escape_markdown(words), icon=":material/edit:", entry=key, edit="1")
        links.to(
            "knowledge",
            "None of these: add an entry",
            icon=":material/add:",
            new="1",
            title=" ".join(trace.input.split())[:150],
        )


def _annotate_now(visit: Visit, trace: Trace, queues: Sequence[tuple[Queue, QueueItem]]) -> None:
    """The trace's item on the card; where it is in no queue, those who manage queues put it into one on the way."""
    here = next((item for queue, item in queues if item.state == ItemState.OPEN and queue.closed_at is None), None)
    if here is not None:
        links.to("annotate", "Annotate now", icon=":material/edit_note:", queue=here.queue_id, item=here.id)
    elif not queues and visit.can(Permission.MANAGE_QUEUES):
        with visit.read() as session:
            open_queues = annotation.list_queues(session, visit.project.id)
        if not open_queues:
            return
        with st.popover("Annotate now", key="trace_annotate"):
            for queue in open_queues[:8]:
                if st.button(page.escape_markdown(queue.name), key=f"trace_annotate_{queue.id}", type="tertiary"):
                    with page.acting():
                        (item,) = visit.services.annotation.add_items(visit.actor, queue.id, [trace.trace_id])
                        st.switch_page(links.page_file("annotate"), query_params={"queue": queue.id, "item": item.id})


def open_dialog(visit: Visit, kind: str, trace_ids: Sequence[str]) -> None:
    """Ask for what the act needs. Each opening is one command, so that a double click does it once."""
    st.session_state["trace_act_command"] = new_id()
    {SEND: _send_dialog, TAG: _tag_dialog}[kind](visit, tuple(trace_ids))


def say_done() -> None:
    """The toast of an act that closed its dialog."""
    if message := st.session_state.pop(_DONE, None):
        st.toast(message)


@st.dialog("Send to a queue")
def _send_dialog(visit: Visit, trace_ids: tuple[str, ...]) -> None:
    with visit.read() as session:
        queues = annotation.list_queues(session, visit.project.id)
    if not queues:
        page.empty("There is no annotation queue yet.", "Make one on the Annotate page, then come back.")
        return
    names = {queue.id: queue.name for queue in queues}
    chosen = st.selectbox("Queue", list(names), format_func=names.__getitem__, key="traces_send_queue")
    st.caption(
        f"{page.count(len(trace_ids), 'trace')} will wait there for a person. Those already in the queue stay as they are."
    )
    if st.button(f"Send {page.count(len(trace_ids), 'trace')}", type="primary", key="traces_send_confirm"):
        try:
            added = visit.services.annotation.add_items(
                visit.actor, chosen, trace_ids, command_id=st.session_state["trace_act_command"]
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        already = len(trace_ids) - len(added)
        st.session_state[_DONE] = f"{len(added)} sent to {page.escape_markdown(names[chosen])}" + (
            f", {already} were there already." if already else "."
        )
        st.rerun()


@st.dialog("Tag")
def _tag_dialog(visit: Visit, trace_ids: tuple[str, ...]) -> None:
    with st.form("traces_tag_form", border=False):
        tag = st.text_input("Tag", max_chars=60, key="traces_tag_word", placeholder="for example: needs a policy")
        st.caption(f"On {page.count(len(trace_ids), 'trace')}. A tag can be taken off again in the trace.")
        pressed = st.form_submit_button("Tag", type="primary", key="traces_tag_confirm")
    if pressed:
        try:
            visit.services.traces.tag(
                visit.actor, visit.project.id, trace_ids, tag, command_id=st.session_state["trace_act_command"]
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        st.session_state[_DONE] = "Tagged."
        st.rerun()
