"""The traces page without an open trace: filters, list, pages."""

from dataclasses import replace
from typing import Any

import streamlit as st

from workbench.annotation.disagreement import MOST_DISAGREEMENT
from workbench.core.actors import Permission
from workbench.core.errors import InvalidInput, NotSignedIn
from workbench.traces import queries
from workbench.traces.facets import Facets, facets_within
from workbench.traces.queries import TraceFilter, TracePage
from workbench.ui import (
    guard,
    links,
    page,
    trace_acts,
    trace_bulk,
    trace_clusters,
    trace_coverage,
    trace_filter_bar,
    trace_filters,
    trace_list,
    trace_meaning,
    trace_pager,
    trace_recent,
    trace_sessions,
    trace_users,
    trace_views,
)
from workbench.ui.guard import Visit
from workbench.ui.trace_filters import ORDERS, View

PAGE_SIZE = 50
_SORT_WORDS = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "lowest rated": "Lowest rated",
    "slowest": "Slowest",
    "costliest": "Costliest",
    "least certain": "Least certain triage",
    MOST_DISAGREEMENT: "Most disagreement",
}
_ABOUT_SORT = {
    MOST_DISAGREEMENT: "Disagreement is 0 where people's ratings and labels are alike and 1 where they are as far apart as can "
    "be, on average over the questions that two or more answered. Traces that no two people annotated are left out.",
}


def show(visit: Visit) -> None:
    """The list of traces that the address describes."""
    page.header(
        "Traces", "What people asked and what the application answered. Open one to read it; select some to send them on."
    )
    trace_views.open_address(visit)
    view = trace_filters.read(st.query_params)
    facets, anything, rejected = _facets(visit.project.id, view.filters.since, view.filters.until)
    with st.container(horizontal=True, vertical_alignment="center"):
        if anything:
            trace_views.menu(visit, view)
            kept = trace_filters.write(replace(view, saved=None, after=None, sort="newest", similar=None, by_meaning=False))
            links.within("Sessions", key="traces_sessions", icon=":material/forum:", **{**kept, "view": trace_sessions.VIEW})
            links.within("Users", key="traces_users", icon=":material/group:", **{**kept, "view": trace_users.VIEW})
            links.within("Low-rated topics", key="traces_clusters", icon=":material/bubble_chart:", view=trace_clusters.VIEW)
        trace_coverage.ways(visit, rejected)
    if not anything:
        _how_to_send(visit)
        return
    trace_filter_bar.bar(view, facets)
    found = trace_meaning.page_of(visit, view) or _page(visit, view, count=True)
    _heading(visit, view, found)
    if found.rows:
        _rows([found])
    elif view.sort == MOST_DISAGREEMENT and found.total:
        page.empty("No two people have annotated one of these traces.", "Ask for two responses per item when you make a queue.")
    elif view.is_narrowed or view.period != "all":
        page.empty("No trace is like that.", "Remove a filter or choose a longer period.")
        st.button("Clear all filters", key="traces_clear", on_click=_clear)


@st.fragment
def _rows(first: list[TracePage]) -> None:
    """The list and the way through its pages. Turning one draws no more than this again.

    Args:
        first: the page that the whole run has read; taken from here, so that each later run reads its own.
    """
    if st.query_params.get("trace"):  # a row was opened
        st.rerun()
    try:
        visit = guard.visit()
    except NotSignedIn:
        st.rerun()
    view = trace_filters.read(st.query_params)
    found = first.pop() if first else trace_meaning.page_of(visit, view) or _page(visit, view)
    act = trace_list.show(found.rows, view, trace_bulk.offered(visit), ranked=found.ranked)
    if act and act["ids"]:
        trace_acts.open_dialog(visit, act["kind"], act["ids"])
    trace_pager.show("traces", view.after, found.next, lambda after: trace_filters.go(replace(view, after=after)))


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _facets(project_id: str, since: Any, until: Any) -> tuple[Facets, bool, int]:
    """Values with counts within the period, whether the project has traces at all, and how many spans were rejected."""
    with guard.services().context.database.session() as session:
        found = facets_within(session, project_id, TraceFilter(since=since, until=until))
        anything = bool(queries.list_traces(session, project_id, limit=1).rows)
        rejected = len(queries.rejected_spans(session, project_id, limit=100))
    return found, anything, rejected


def _page(visit: Visit, view: View, *, count: bool = False) -> TracePage:
    order = trace_filters.order_of(view, visit.project.id)

    def page(after: str | None) -> TracePage:
        return queries.list_traces(
            session, visit.project.id, view.filters, sort=order, after=after, limit=PAGE_SIZE, count=count
        )

    with visit.read() as session:
        try:
            return page(view.after)
        except InvalidInput:  # an address made by hand; its first page is what was meant
            return page(None)


def _heading(visit: Visit, view: View, found: TracePage) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        total = found.total or 0
        more = "" if found.total_is_exact else "more than "
        st.markdown(f"**{more}{page.count(total, 'trace')}**", width="content")
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
            if view.is_narrowed and found.rows:
                st.button("Clear filters", key="traces_clear", type="tertiary", on_click=_clear)
            if found.rows and not view.is_nearest:
                trace_bulk.all_hits_menu(visit, view.filters, f"All {total:,}{'' if found.total_is_exact else '+'} hits")
            trace_recent.popover(visit)
            st.session_state["traces_sort"] = view.sort
            st.selectbox(
                "Order", list(ORDERS), format_func=_SORT_WORDS.__getitem__, key="traces_sort", on_change=_sorted,
                label_visibility="collapsed", width=150,
            )  # fmt: skip
    if view.sort != "newest" and view.sort in _ABOUT_SORT:
        st.caption(_ABOUT_SORT[view.sort])


def _sorted() -> None:
    view = trace_filters.read(st.query_params)
    trace_pager.begin("traces")
    trace_filters.go(replace(view, sort=st.session_state["traces_sort"], after=None))


def _clear() -> None:
    trace_pager.begin("traces")
    st.query_params.from_dict({"period": trace_filters.DEFAULT_PERIOD})


def _how_to_send(visit: Visit) -> None:
    url = f"{visit.context.settings.api_url}/v1/traces"
    page.empty(
        "No traces yet.",
        "Point your application's OpenTelemetry exporter here, send a first trace with curl, or import a file. "
        "OpenTelemetry GenAI, OpenInference, Langfuse, Traceloop and MLflow attributes are understood.",
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.caption("From an application that uses OpenTelemetry")
        st.code(
            f"export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={url}\n"
            "export OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf\n"
            'export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20$WORKBENCH_KEY"',
            language="bash",
        )
        st.caption("From a file: OTLP JSON, a chat log, a table, a Langfuse or Phoenix export")
        st.code("workbench traces import FILE", language="bash")
    with right:
        st.caption("A first trace with curl")
        st.code(_CURL.replace("URL", url), language="bash")
    if visit.can(Permission.MANAGE_KEYS):
        st.page_link("pages/admin.py", label="Create a key", icon=":material/key:")
    else:
        st.caption("An admin creates the key: `workbench keys create my-app --scope ingest`.")


_CURL = """curl URL -H "Authorization: Bearer $WORKBENCH_KEY" \\
  -H "Content-Type: application/json" -d '{"resourceSpans": [{"scopeSpans": [{"spans": [{
    "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
    "name": "answer", "startTimeUnixNano": "'$(date +%s)'000000000",
    "attributes": [
      {"key": "workbench.input", "value": {"stringValue": "Where is my card?"}},
      {"key": "workbench.output", "value": {"stringValue": "It is on its way."}}]}]}]}]}'"""
