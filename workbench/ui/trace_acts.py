"""What people do with traces: send them to an annotation queue, tag them."""

from collections.abc import Sequence

import streamlit as st

from workbench.annotation import queries as annotation
from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.ui import page
from workbench.ui.guard import Visit

SEND, TAG = "send", "tag"
MOST = 1000
"""Traces that one act may take."""

_DONE = "trace_act_done"


def offered(visit: Visit) -> list[tuple[str, str]]:
    """(kind, label) of the acts that this person may do on traces."""
    acts = [(SEND, "Send to queue")] if visit.can(Permission.MANAGE_QUEUES) else []
    return acts + ([(TAG, "Tag")] if visit.can(Permission.TAG_TRACES) else [])


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
