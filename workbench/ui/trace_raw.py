"""A trace as JSON: shown where it can be read, prepared as a file where it is too long for that."""

import json

import streamlit as st

from workbench.traces.cli_views import trace_as_json, trace_json_pieces
from workbench.ui import page
from workbench.ui.guard import Visit

_SHOWN_SPANS = 500
"""A trace of more spans is not shown as text; its spans are found above."""
_SHOWN = 400_000
"""Characters that are shown."""


@st.fragment
def show(visit: Visit, trace_id: str, spans: int) -> None:
    """A section that reads the trace when it is opened.

    Args:
        spans: how many spans the trace has.
    """
    with st.expander("Raw trace", key="trace_raw", on_change="rerun") as section:
        if not section.open:
            return
        st.download_button(
            "Download as JSON",
            lambda: _file(visit, trace_id),  # written only when it is wanted
            file_name=f"trace-{trace_id}.json",
            mime="application/json",
            key="trace_download",
            on_click="ignore",
        )
        with visit.read() as session:
            document = trace_as_json(
                session, visit.project.id, trace_id, project=visit.project.key, spans=min(spans, _SHOWN_SPANS)
            )
        if spans > _SHOWN_SPANS:
            st.caption(f"The first {_SHOWN_SPANS:,} of {page.count(spans, 'span')}; the download has all of them.")
        text = json.dumps(document, ensure_ascii=False, indent=2)
        if len(text) > _SHOWN:
            st.caption(f"The first {_SHOWN:,} of {len(text):,} characters.")
        st.code(text[:_SHOWN], language="json" if len(text) <= _SHOWN else None, height=480, wrap_lines=True)


def _file(visit: Visit, trace_id: str) -> bytes:
    with visit.read() as session:
        pieces = trace_json_pieces(session, visit.project.id, trace_id, project=visit.project.key)
        return b"".join(piece.encode() for piece in pieces)
