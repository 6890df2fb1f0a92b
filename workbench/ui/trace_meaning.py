"""Traces that are near in meaning: the list of a search by meaning, and a trace's like on its page."""

from dataclasses import replace

import streamlit as st

from workbench.core.errors import WorkbenchError
from workbench.core.runtime_client import RuntimeClient
from workbench.traces.filters import TraceFilter
from workbench.traces.models import Trace
from workbench.traces.queries import TracePage, traces_among
from workbench.ui import page, trace_filters
from workbench.ui.guard import Visit
from workbench.ui.trace_filters import View

NEAREST = 200
"""Traces that are looked at; filters leave some of them out."""
_LIKE = 10


def page_of(visit: Visit, view: View) -> TracePage | None:
    """The list of a view that asks for meaning, nearest first; None where it does not, or where the runtime is away."""
    text = view.filters.text.strip()
    if not view.similar and not (view.by_meaning and text):
        return None
    try:
        near = RuntimeClient(visit.context.settings).nearest_traces(
            visit.project.id, NEAREST, text="" if view.similar else text, trace_id=view.similar
        )
    except WorkbenchError as error:
        page.failure(error)
        st.caption("Searching by meaning is off. What you see is the ordinary list.")
        return None
    # Beside a trace the text still narrows by words; alone it is what was looked for.
    filters = view.filters if view.similar and not view.by_meaning else replace(view.filters, text="")
    with visit.read() as session:
        rows = traces_among(session, visit.project.id, [trace_id for trace_id, _ in near], filters)
    st.caption(
        f"Nearest first, of the {page.count(len(near), 'nearest question')}; the other filters leave {len(rows):,}. "
        "The newest 20,000 traces are compared, new ones within a minute or so."
    )
    return TracePage(rows, None, len(rows), True)


def similar(visit: Visit, trace: Trace, view: View) -> None:
    """The like of a trace, looked up when it is opened."""
    if not trace.input.strip():
        return
    part = st.expander("Similar traces", key=f"trace_similar_{trace.trace_id}", on_change="rerun")
    if not part.open:
        return
    with part:
        try:
            near = RuntimeClient(visit.context.settings).nearest_traces(visit.project.id, _LIKE, trace_id=trace.trace_id)
        except WorkbenchError as error:
            page.failure(error)
            return
        score = dict(near)
        with visit.read() as session:
            rows = traces_among(session, visit.project.id, list(score))
        if not rows:
            page.empty("Nothing to compare with yet.", "Questions are embedded in the background; look again shortly.")
            return
        for row in rows:
            rated = f", rated {row.rating:g} of 5" if row.rating is not None else ""
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{score[row.trace_id]:.0%}{rated}", width=150)
                st.button(
                    page.escape_markdown(row.input_preview or "(no question)"), key=f"trace_similar_open_{row.trace_id}",
                    type="tertiary", on_click=trace_filters.go, args=(view,), kwargs={"trace": row.trace_id},
                )  # fmt: skip
        everything = View(TraceFilter(), "all", "newest", None, similar=trace.trace_id)
        st.button(
            "See all in the list",
            key="trace_similar_all",
            icon=":material/arrow_forward:",
            on_click=trace_filters.go,
            args=(everything,),
        )
