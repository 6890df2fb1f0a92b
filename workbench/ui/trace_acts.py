"""What people do with one trace: replay it, correct what misled it, annotate it, send it on, tag it."""

from collections.abc import Sequence

import streamlit as st

from workbench.annotation import queries as annotation
from workbench.annotation.models import ItemState, Queue, QueueItem
from workbench.core.actors import Permission
from workbench.knowledge.queries import live_by_key
from workbench.traces.hits import chosen
from workbench.traces.models import Trace
from workbench.ui import links, page, trace_bulk, trace_replay
from workbench.ui.guard import Visit
from workbench.workflows.bulk_kinds import SEND, TAG


def offered(visit: Visit) -> list[tuple[str, str]]:
    """(kind, label) of the acts that this person may do on one trace as on many."""
    return [one for one in trace_bulk.offered(visit) if one[0] in (SEND, TAG)]


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
    """Ask for what the act on these traces needs."""
    trace_bulk.open_dialog(visit, kind, chosen(trace_ids))
