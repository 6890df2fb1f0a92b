"""The traces page with a trace open."""

from collections.abc import Sequence

import streamlit as st

from workbench.annotation.models import Queue, QueueItem
from workbench.annotation.queries import queues_of_trace
from workbench.core.actors import Permission
from workbench.core.errors import NotFound
from workbench.traces import queries
from workbench.traces.models import Trace
from workbench.ui import (
    page,
    span_timeline,
    trace_acts,
    trace_filters,
    trace_masking,
    trace_meaning,
    trace_raw,
    trace_replay,
    trace_view,
)
from workbench.ui.guard import Visit
from workbench.ui.trace_filters import View
from workbench.workflows.bulk_kinds import SEND


def show(visit: Visit, trace_id: str) -> None:
    """One trace, with the way back to the list and to its neighbours there."""
    view = trace_filters.read(st.query_params)
    with visit.read() as session:
        try:
            trace = queries.get_trace(session, visit.project.id, trace_id)
        except NotFound as error:
            page.header("Traces")
            page.failure(error)
            st.button("Back to the list", key="trace_back", on_click=_go, args=(view, None))
            return
        near: tuple[str | None, str | None] = (None, None)
        if not view.is_nearest:
            near = queries.neighbours(
                session, visit.project.id, view.filters, trace, sort=trace_filters.order_of(view, visit.project.id)
            )
        queues = queues_of_trace(session, visit.project.id, trace.trace_id)
        data = trace_view.data_of(session, trace, view, may_correct=visit.can(Permission.EDIT_KNOWLEDGE))
    _bar(visit, view, trace, near, queues)
    if visit.can(Permission.REPLAY_TRACES):
        trace_replay.show(visit, trace)
    opened = trace_view.show(data, key=f"trace_view_{trace.trace_id}")
    if opened:
        _go(view, opened)
        st.rerun()
    trace_masking.show(visit, trace)
    if queues:
        st.caption(
            "In annotation: " + ", ".join(page.escape_markdown(f"{queue.name} ({item.state})") for queue, item in queues)
        )
    trace_meaning.similar(visit, trace, view)
    span_timeline.show(visit, trace.trace_id, trace.span_count)
    trace_raw.show(visit, trace.trace_id, trace.span_count)
    span_timeline.warm(visit, trace.trace_id, trace.span_count)


def _bar(
    visit: Visit,
    view: View,
    trace: Trace,
    neighbours: tuple[str | None, str | None],
    queues: Sequence[tuple[Queue, QueueItem]],
) -> None:
    before, behind = neighbours
    st.html('<div style="height:12px"></div>')  # the app's own header lies over the first line
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            st.title("Trace", anchor=False)
            st.button(
                "All traces", key="trace_back", icon=":material/arrow_back:", type="tertiary", on_click=_go, args=(view, None),
                shortcut="Escape",
            )  # fmt: skip
            st.button(
                "Previous", key="trace_previous", icon=":material/keyboard_arrow_up:", disabled=before is None, on_click=_go,
                args=(view, before), shortcut="Alt+Up",
            )  # fmt: skip
            st.button(
                "Next", key="trace_next", icon=":material/keyboard_arrow_down:", disabled=behind is None, on_click=_go,
                args=(view, behind), shortcut="Alt+Down",
            )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right", width="content"):
            if trace.tags and visit.can(Permission.TAG_TRACES):
                with st.popover("Tags", key="trace_tags"):
                    for number, tag in enumerate(trace.tags):
                        st.button(
                            f"Take off “{page.escape_markdown(tag)}”", key=f"trace_untag_{number}", type="tertiary",
                            on_click=_untag, args=(visit, trace.trace_id, tag),
                        )  # fmt: skip
            trace_acts.on_one(visit, trace, queues)
            for kind, label in trace_acts.offered(visit):
                if st.button(label, key=f"trace_{kind}", type="primary" if kind == SEND else "secondary"):
                    trace_acts.open_dialog(visit, kind, [trace.trace_id])


def _untag(visit: Visit, trace_id: str, tag: str) -> None:
    with page.acting("Taken off."):
        visit.services.traces.untag(visit.actor, visit.project.id, [trace_id], tag)


def _go(view: View, trace_id: str | None) -> None:
    trace_filters.go(view, trace=trace_id)
