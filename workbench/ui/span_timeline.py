"""The span timeline of a trace, and one span in full."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import streamlit as st

from workbench.traces.queries import SpanBar, get_span, sources_of, timeline
from workbench.ui import page
from workbench.ui.guard import Visit

_HERE = Path(__file__).parent
_timeline = st.components.v2.component(
    "workbench.span_timeline",
    html='<div class="spans" id="spans"></div>',
    css=(_HERE / "span_timeline.css").read_text(encoding="utf-8"),
    js=(_HERE / "span_timeline.js").read_text(encoding="utf-8"),
)


@st.fragment
def show(visit: Visit, trace_id: str) -> None:
    """The timeline; a click on a span shows it below."""
    with visit.read() as session:
        bars = timeline(session, visit.project.id, trace_id)
    if not bars:
        page.empty("No spans are here.", "They are removed, or still on their way.")
        return
    chosen = f"trace_span_{trace_id}"
    picked = st.session_state.get(chosen)
    began = min(bar.started_ns for bar in bars)
    total = max(bar.ended_ns for bar in bars) - began
    result = _timeline(
        key="trace_timeline",
        data={"spans": rows(bars), "total": round(total / 1e6, 3), "picked": picked},
        on_pick_change=_nothing,
    )
    if result.get("pick"):
        picked = st.session_state[chosen] = str(result["pick"])
    if picked and any(bar.span_id == picked for bar in bars):
        _one(visit, trace_id, picked)
    else:
        st.caption("Choose a span to see its attributes and events.")


def rows(bars: list[SpanBar]) -> list[list[Any]]:
    """[id, name, kind, depth, start ms, duration ms, failed] a span, children below their parent by start.

    A span whose parent is missing, or that is its own ancestor, stands at the left.
    """
    known = {bar.span_id for bar in bars}
    children: dict[str | None, list[SpanBar]] = defaultdict(list)
    for bar in bars:
        children[bar.parent_span_id if bar.parent_span_id in known else None].append(bar)
    began = min(bar.started_ns for bar in bars)
    ordered: list[list[Any]] = []
    seen: set[str] = set()

    def descend(top: list[SpanBar]) -> None:
        stack = [(bar, 0) for bar in reversed(top)]
        while stack:
            bar, depth = stack.pop()
            if bar.span_id in seen:
                continue
            seen.add(bar.span_id)
            start, took = (bar.started_ns - began) / 1e6, (bar.ended_ns - bar.started_ns) / 1e6
            ordered.append(
                [bar.span_id, bar.name[:200], bar.kind, depth, round(start, 3), round(took, 3), bar.status == "error"]
            )
            stack += [(child, depth + 1) for child in reversed(children[bar.span_id])]

    descend(children[None])
    for bar in bars:  # what only cycles reach
        if bar.span_id not in seen:
            descend([bar])
    return ordered


def _one(visit: Visit, trace_id: str, span_id: str) -> None:
    with visit.read() as session:
        span = get_span(session, visit.project.id, trace_id, span_id)
        source = sources_of(session, [span]).get(span.source_id)
    with st.container(border=True):
        page.plain(span.name)
        if span.status_message:
            page.plain(span.status_message, muted=True)
        st.caption(f"{span.kind} span, {span.status}, {span.duration_ms:,.1f} ms, id {span.span_id}")
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.caption("Attributes")
            page.facts({name: _text(value) for name, value in sorted(span.attributes.items())} or {"none": ""})
        with right:
            for event in span.events:
                st.caption("Event")
                page.facts({"name": event["name"], **{name: _text(value) for name, value in event["attributes"].items()}})
            if source is not None:
                st.caption("Sent by")
                scope = " ".join(str(source.scope.get(name) or "") for name in ("name", "version"))
                page.facts({**{name: _text(value) for name, value in source.resource.items()}, "scope": scope})


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) < 4000 else f"{text[:4000]}… ({len(text):,} characters)"


def _nothing() -> None:
    """Streamlit only reports values that have a callback."""
