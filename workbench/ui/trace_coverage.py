"""Coming in: who sends spans, in which dialects, what of them nobody reads, and what was rejected."""

import json
from collections import defaultdict
from datetime import timedelta

import plotly.graph_objects as go
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.ids import new_id
from workbench.traces import coverage, own_mapping, queries, remapping
from workbench.traces.coverage_models import UnmappedAttribute
from workbench.ui import charts, links, page
from workbench.ui.guard import Visit

VIEW = "coverage"
_DAYS = 30
_COLOURS = (charts.ACCENT, charts.WARM, charts.GOOD, charts.MUTED, "#7a5ea8", "#b08a2e", "#4f7fb5")


def ways(visit: Visit, rejected: int) -> None:
    """Links from the list: what comes in, importing, and a notice of what was rejected."""
    with st.container(horizontal=True, vertical_alignment="center"):
        links.within("Coming in", key="traces_coming_in", icon=":material/move_to_inbox:", view=VIEW)
        if visit.can(Permission.INGEST_TRACES):
            links.within("Import a file", key="traces_import", icon=":material/upload_file:", view="import")
        if rejected:
            words = f"{rejected} rejected" if rejected < 100 else "100 or more rejected"
            links.within(f"{words}: see why", key="traces_rejected", icon=":material/error:", view=VIEW)


def show(visit: Visit) -> None:
    """The page about what comes in."""
    page.header("Coming in", "Who sends spans, in which conventions, and what of them is read.")
    with st.container(horizontal=True):
        links.within("All traces", key="traces_coverage_back", icon=":material/arrow_back:")
        if visit.can(Permission.INGEST_TRACES):
            links.within("Import a file", key="traces_import", icon=":material/upload_file:", view="import")
    with visit.read() as session:
        days = coverage.spans_by_day(session, visit.project.id, days=_DAYS)
        senders = coverage.senders(session, visit.project.id)
        unmapped = coverage.unmapped_attributes(session, visit.project.id)
        older = not senders and bool(queries.list_traces(session, visit.project.id, limit=1).rows)
    if older:
        page.empty(
            "Nothing is counted yet.", "Stored traces were read before there were counts; read again, they fill this page."
        )
    elif not senders:
        page.empty("Nothing has come in yet.", "Send a first trace, or import a file; then this page says who sends what.")
    else:
        _days(days)
        _senders(senders)
        _unmapped(visit, unmapped)
    _reading_again(visit)
    _rejected(visit)


def _days(days: list[tuple[str, str, int]]) -> None:
    st.subheader("Spans a day", anchor=False)
    by_dialect: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for day, dialect, spans in days:
        by_dialect[dialect].append((day, spans))
    made = charts.figure(height=200, y_title="spans")
    for place, (dialect, found) in enumerate(sorted(by_dialect.items())):
        bar = go.Bar(
            x=[day for day, _ in found],
            y=[spans for _, spans in found],
            name=dialect,
            marker_color=_COLOURS[place % len(_COLOURS)],
        )
        made.add_trace(bar)
    today = now().date()
    first, last = (today - timedelta(days=_DAYS)).isoformat(), (today + timedelta(days=1)).isoformat()
    made.update_layout(
        barmode="stack",
        showlegend=True,
        xaxis={"type": "date", "range": [first, last], "dtick": 86_400_000 * 7, "tickformat": "%-d %b"},
    )
    charts.show(made, key="coverage_days")
    st.caption(f"By day of arrival (UTC), the last {_DAYS} days, by convention. Counted when a span is first read.")


def _senders(senders: list[coverage.Sender]) -> None:
    st.subheader("Senders", anchor=False)
    rows = [
        {
            "Sender": one.sender or "(no service.name)",
            "Convention": one.dialect,
            "Instrumentation": one.scope,
            "Spans, 90 days": one.spans,
            "Last arrival": f"{page.moment(one.last_at)} ({page.ago(one.last_at)})",
        }
        for one in senders
    ]
    st.dataframe(rows, hide_index=True, key="coverage_senders")


def _unmapped(visit: Visit, unmapped: list[UnmappedAttribute]) -> None:
    st.subheader("Attributes that nothing reads", anchor=False)
    if not unmapped:
        page.empty("Every attribute is read.", "What a new sender brings that no convention knows will be listed here.")
        return
    st.caption("They are kept with their spans. Numbers in names are folded to N. Only names are counted here, never values.")
    rows = [
        {
            "Attribute": row.name,
            "Convention": row.dialect,
            "Instrumentation": row.scope,
            "Spans": row.count,
            "First seen": row.first_at,
            "Last seen": row.last_at,
            "Example": f"/traces?trace={row.example_trace_id}",
        }
        for row in unmapped
    ]
    st.dataframe(
        rows,
        hide_index=True,
        key="coverage_unmapped",
        column_config={
            "First seen": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm"),
            "Last seen": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm"),
            "Example": st.column_config.LinkColumn("Example", display_text="open"),
        },
    )
    _own_mapping(visit, [row.name for row in unmapped])


def _own_mapping(visit: Visit, names: list[str]) -> None:
    with visit.read() as session:
        found = own_mapping.current(session, visit.project.id)
    columns = {column: list(mapped) for column, mapped in found.columns.items()} if found else {}
    st.subheader("This project's own mapping", anchor=False)
    st.caption(
        "What no convention knows can be named as one of our columns. It fills a column that nothing else filled, and "
        "stored traces are read again with it."
    )
    may = visit.can(Permission.MAP_TRACES)
    for column, mapped in columns.items():
        for name in mapped:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{page.escape_markdown(name)} → **{own_mapping.COLUMNS[column]}**", width="content")
                if may and st.button("Remove", key=f"coverage_unmap_{column}_{name}", type="tertiary"):
                    rest = {
                        one: [other for other in others if (one, other) != (column, name)] for one, others in columns.items()
                    }
                    _change(visit, rest)
    if may:
        left, middle, right = st.columns([3, 2, 1], vertical_alignment="bottom")
        choices = list(dict.fromkeys(name for name in names if name != coverage.OTHERS))
        name = left.selectbox("Attribute", choices, key="coverage_attribute")
        column = middle.selectbox(
            "is our", list(own_mapping.COLUMNS), format_func=own_mapping.COLUMNS.__getitem__, key="coverage_column"
        )
        if right.button("Map", key="coverage_map", disabled=not name) and name:
            _change(visit, {**columns, column: [*columns.get(column, []), own_mapping.attribute_pattern(name)]})


def _reading_again(visit: Visit) -> None:
    """Whether stored traces were read with today's mapping, and the way to have them read again."""
    may = visit.can(Permission.MAP_TRACES)
    with visit.read() as session:
        running = remapping.state(session, visit.project.id)
        stale = remapping.is_stale(session, visit.project.id)
    if running is not None and running.is_running:
        _progress(visit)
    elif stale and may:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("Some stored traces were read with an older mapping.")
            if st.button("Read them again", key="coverage_remap"):
                with page.acting():
                    visit.services.traces.remap(visit.actor, visit.project.id, command_id=new_id())
                    st.rerun()
    elif running is not None:
        st.caption(
            f"Stored traces were last read again {page.ago(running.remap.done_at)}: "
            f"{running.remap.touched:,} of {page.count(running.remap.looked_at, 'trace')} had an older mapping."
        )


def _change(visit: Visit, columns: dict[str, list[str]]) -> None:
    with page.acting():
        visit.services.traces.map_attributes(visit.actor, visit.project.id, columns, command_id=new_id())
        st.rerun()


@st.fragment(run_every=1.0)
def _progress(visit: Visit) -> None:
    with visit.read() as session:
        running = remapping.state(session, visit.project.id)
    if running is None or not running.is_running:
        st.rerun()
    remap = running.remap
    share = min(1.0, remap.looked_at / remap.total) if remap.total else 1.0
    st.progress(
        share, text=f"Looked through {remap.looked_at:,} of {remap.total:,} traces; {running.waiting:,} wait to be read again."
    )


def _rejected(visit: Visit) -> None:
    """Senders never read the answer, so what was refused is shown here."""
    with visit.read() as session:
        rows = queries.rejected_spans(session, visit.project.id, limit=200)
    st.subheader("Rejected", anchor=False)
    if not rows:
        page.empty(
            "Nothing was rejected.", "Spans that cannot be taken are listed here with the reason, since senders never see it."
        )
        return
    st.caption("The last 200 at most, newest first. Choose one to see what came.")
    chosen = st.dataframe(
        [
            {
                "Received": page.moment(row.received_at),
                "Reason": row.reason,
                "Sent by": row.sent_by,
                "Span": row.name or "",
                "Trace id": row.trace_id or "",
            }
            for row in rows
        ],
        hide_index=True,
        key="traces_rejected_table",
        on_select="rerun",
        selection_mode="single-row",
    )
    picked = chosen["selection"]["rows"]
    if picked and picked[0] < len(rows):
        raw = rows[picked[0]].raw
        st.code(
            json.dumps(raw, indent=2, ensure_ascii=False) if raw is not None else "The body could not be read at all.",
            language="json",
        )
