"""The span timeline of a trace, and one span in full."""

import json
from pathlib import Path
from typing import Any

import streamlit as st
from sqlmodel import Session

from workbench.core.errors import NotFound
from workbench.traces.models import Span
from workbench.traces.queries import get_span, sources_of, spans_with_text, timeline
from workbench.ui import page, span_tree
from workbench.ui.guard import Visit

_HERE = Path(__file__).parent
_timeline = st.components.v2.component(
    "workbench.span_timeline",
    html='<div class="spans" id="spans"></div>',
    css=(_HERE / "span_timeline.css").read_text(encoding="utf-8"),
    js=(_HERE / "span_timeline.js").read_text(encoding="utf-8"),
)

_LONG = 5000
"""Spans from which reading them takes long enough to be noticed."""
_VALUE = 4000
"""Characters of one attribute that are shown."""
_ATTRIBUTES = 300
"""Attributes of one span that are shown."""
_RAW = 200_000
"""Characters of a span's JSON that are shown."""


@st.fragment
def show(visit: Visit, trace_id: str, count: int) -> None:
    """A section that reads a trace's spans when it is opened. A click on a span shows it below.

    Args:
        count: how many spans the trace has.
    """
    with st.expander(f"Spans ({count:,})", key="trace_spans", on_change="rerun") as section:
        if section.open:
            _opened(visit, trace_id, count)


def warm(visit: Visit, trace_id: str, count: int) -> None:
    """Read a very long trace's spans when its page is drawn already, so that they are there when somebody opens them."""
    if count >= _LONG:
        with visit.read() as session:
            _columns(session, visit.project.id, trace_id, count)


def _opened(visit: Visit, trace_id: str, count: int) -> None:
    with visit.read() as session:
        data = _columns(session, visit.project.id, trace_id, count)
    if data is None:
        page.empty("No spans are here.", "They are removed, or still on their way.")
        return
    key, chosen, searched = f"trace_timeline_{trace_id}", f"trace_span_{trace_id}", f"trace_span_search_{trace_id}"
    ids: list[str] = data.pop("ids")
    stamp = data["stamp"]

    def pick() -> None:
        wanted = (st.session_state.get(key) or {}).get("pick")
        # A row of other columns than these would be another span.
        if isinstance(wanted, dict) and wanted.get("stamp") == stamp and wanted.get("row") in range(len(ids)):
            st.session_state[chosen] = ids[wanted["row"]]

    def find() -> None:
        wanted = str((st.session_state.get(key) or {}).get("find") or "").strip()[:200]
        if wanted:
            with visit.read() as session:
                hits = set(spans_with_text(session, visit.project.id, trace_id, wanted))
            rows = [row for row, span_id in enumerate(ids) if span_id in hits]
            st.session_state[searched] = {"text": wanted, "rows": rows, "stamp": stamp}

    at = st.session_state.get(chosen)
    found = st.session_state.get(searched)
    _timeline(
        key=key,
        data={
            **data,
            "picked": ids.index(at) if at in ids else None,
            "found": found if found and found["stamp"] == stamp else None,
        },
        on_pick_change=pick,
        on_find_change=find,
    )
    if picked := st.session_state.get(chosen):
        _one(visit, trace_id, picked)
    else:
        st.caption("Choose a span to see its attributes and events. Arrow keys move and fold, Enter shows one, e finds errors.")


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _columns(_session: Session, project_id: str, trace_id: str, spans: int) -> dict[str, Any] | None:
    """The columns of the timeline; None without spans. Kept a minute, since each click on a span draws it again.

    Args:
        _session: of somebody who may read the project.
        spans: how many there are, so that more of them are read anew.
    """
    bars = timeline(_session, project_id, trace_id)
    return span_tree.columns(bars) if bars else None


def _one(visit: Visit, trace_id: str, span_id: str) -> None:
    with visit.read() as session:
        try:
            span = get_span(session, visit.project.id, trace_id, span_id)
        except NotFound as error:
            page.failure(error)
            return
        source = sources_of(session, [span]).get(span.source_id)
    with st.container(border=True, key="trace_span"):
        page.plain(span.name)
        if span.status_message:
            page.plain(span.status_message[:_VALUE], muted=True)
        st.caption(
            f"{page.escape_markdown(span.kind)} span, {page.escape_markdown(span.status)}, {span.duration_ms:,.1f} ms, "
            f"id {page.escape_markdown(span.span_id)}"
        )
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.caption("Attributes")
            page.facts({name: _text(value) for name, value in sorted(span.attributes.items())[:_ATTRIBUTES]} or {"none": ""})
            if len(span.attributes) > _ATTRIBUTES:
                st.caption(f"{len(span.attributes) - _ATTRIBUTES:,} more are in the span's JSON.")
        with right:
            for event in span.events[:_ATTRIBUTES]:
                st.caption("Event")
                page.facts({"name": event["name"], **{name: _text(value) for name, value in event["attributes"].items()}})
            if len(span.events) > _ATTRIBUTES:
                st.caption(f"{len(span.events) - _ATTRIBUTES:,} more events are in the span's JSON.")
            if source is not None:
                st.caption("Sent by")
                scope = " ".join(str(source.scope.get(name) or "") for name in ("name", "version"))
                page.facts({**{name: _text(value) for name, value in source.resource.items()}, "scope": scope})
        with st.expander("This span as JSON", key="trace_span_json", on_change="rerun") as raw:
            if raw.open:
                _raw(span)


def _raw(span: Span) -> None:
    text = json.dumps(span.model_dump(mode="json", exclude={"id", "project_id"}), ensure_ascii=False, indent=2)
    st.download_button(
        "Download", text, file_name=f"span-{span.span_id}.json", mime="application/json", key="trace_span_download"
    )
    if len(text) > _RAW:
        st.caption(f"The first {_RAW:,} of {len(text):,} characters; the download has all of them.")
    st.code(text[:_RAW], language="json" if len(text) <= _RAW else None, height=360, wrap_lines=True)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) < _VALUE else f"{text[:_VALUE]}… ({len(text):,} characters)"
