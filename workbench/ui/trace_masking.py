"""What was masked in a trace, and, where it is kept and permitted, the way to see it."""

from collections.abc import Mapping

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.traces.masking.numbering import keeps_originals_of
from workbench.traces.models import Trace
from workbench.ui import page
from workbench.ui.guard import Visit


def glance(trace: Trace) -> list[list[str]]:
    """How many values are masked, as a pair for the trace's figures; nothing where none is."""
    count = sum(trace.mask_counts.values())
    if count:
        return [["Masked", page.count(count, "value"), ""]]
    return [] if trace.mask_policy else [["Masked", "stored before masking", ""]]


def in_words(counts: Mapping[str, int]) -> str:
    """Counts by type, such as `1 email, 2 phone`."""
    return ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(counts.items()))


def show(visit: Visit, trace: Trace) -> None:
    """Which types were masked, and for those who may, the originals."""
    if not trace.mask_counts:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"Masked on the way in: {in_words(trace.mask_counts)}, by version {trace.mask_policy} of the project's rules."
        )
        if not visit.can(Permission.SEE_ORIGINALS):
            return
        with visit.read() as session:
            kept = keeps_originals_of(session, visit.project.id, trace.trace_id)
        if kept:
            with st.popover("Show original", key="trace_originals"):
                _originals(visit, trace)


def _originals(visit: Visit, trace: Trace) -> None:
    st.caption("It is written into the ledger that you saw them, and why. Nothing is changed in the trace.")
    reason = st.text_input("Why do you need to see them?", key=f"trace_original_reason_{trace.trace_id}")
    if not st.button("Show", type="primary", key="trace_original_show"):
        return
    try:
        originals = visit.services.masking.reveal(visit.actor, visit.project.id, trace.trace_id, reason=reason)
    except WorkbenchError as error:
        page.failure(error)
        return
    # Shown in this run only: what is drawn next time is the trace as it is stored.
    page.facts({one.placeholder: one.text if one.text is not None else "not kept, or erased" for one in originals})
