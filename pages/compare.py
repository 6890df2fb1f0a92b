"""Compare: candidate and incumbent on the same golden cases, and the verdict that follows."""

import pandas as pd
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.jobs import Job, JobState
from workbench.evaluation import queries
from workbench.evaluation.gate import signed
from workbench.evaluation.models import Comparison
from workbench.golden.queries import get_set
from workbench.ui import case_view, compare_form, golden_view, guard, job_progress, links, page, verdict_view

visit = guard.visit()
page.header("Compare", "Candidate and incumbent answer the same golden cases; a rule set beforehand gives the verdict.")

with visit.read() as session:
    comparisons = queries.comparisons(session, visit.project.id)
    jobs = {item.id: session.get(Job, item.job_id) for item in comparisons if item.job_id}
shown = next((item for item in comparisons if item.id == st.query_params.get("comparison")), None)


def state_of(comparison: Comparison) -> str:
    """Verdict, or how its job stands."""
    job = jobs.get(comparison.id)
    if comparison.verdict is not None or job is None:
        return verdict_view.verdict_words(comparison)
    return job_progress.state_words(job)


def detail(comparison: Comparison) -> None:
    """One comparison: verdict, intervals, cases."""
    if st.button("All comparisons", icon=":material/arrow_back:", key="compare_back"):
        st.query_params.clear()
        st.rerun()
    with visit.read() as session:
        golden = get_set(session, comparison.golden_set_id)
        pairs = queries.case_pairs(session, comparison)
    st.subheader(page.escape_markdown(f"{comparison.candidate_name} against {comparison.incumbent_name}"), anchor=False)
    st.caption(
        page.escape_markdown(
            f"On {golden.title}, {page.count(golden.size, 'case')} · launched by {comparison.launched_by_name} "
            f"{page.moment(comparison.created_at)} · decided {page.moment(comparison.finished_at)}"
            if comparison.verdict
            else f"On {golden.title}, {page.count(golden.size, 'case')} · launched by {comparison.launched_by_name} "
            f"{page.moment(comparison.created_at)}"
        )
    )
    job = jobs.get(comparison.id)
    if comparison.verdict is None:
        if job is not None and not job.status.is_terminal:
            job_progress.live(job.id)
        elif job is not None:
            job_progress.badge(job)
            job_progress.ended(visit, job)
            if job.status in (JobState.FAILED, JobState.CANCELLED):
                st.caption("It has no verdict. Launch the comparison again; its cases start anew.")
    else:
        verdict_view.show(comparison)
        if visit.can(Permission.PROPOSE_RELEASE):
            links.to("releases", "Propose a release from this", icon=":material/verified:", comparison=comparison.id)
    if any(pair.candidate or pair.incumbent for pair in pairs):
        case_view.show(comparison, pairs)
    with st.expander("Receipt"):
        page.facts(compare_form.receipt(comparison, golden))


def listing() -> None:
    """All comparisons, newest first; choosing one opens it."""
    st.subheader("Comparisons", anchor=False)
    if not comparisons:
        page.empty("Nothing has been compared yet.", "Choose a golden set and two arms above, and launch a comparison.")
        return
    rows = []
    for item in comparisons:
        found = (item.statistics or {}).get("difference")
        rows.append(
            {
                "Verdict": state_of(item),
                "Candidate": item.candidate_name,
                "Incumbent": item.incumbent_name,
                "Task": item.task,
                "Difference, points": f"{signed(found['value'])} ({signed(found['low'])} to {signed(found['high'])})"
                if found
                else "",
                "Cases": found["pairs"] if found else None,
                "Launched": page.moment(item.created_at),
                "By": item.launched_by_name,
            }
        )
    chosen = st.dataframe(
        pd.DataFrame(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key="compare_history"
    )
    st.caption("Choose a row to see its verdict and cases. The difference is candidate minus incumbent with its 95% interval.")
    if chosen["selection"]["rows"]:
        st.query_params.clear()
        st.query_params["comparison"] = comparisons[chosen["selection"]["rows"][0]].id
        st.rerun()


if shown is not None:
    detail(shown)
else:
    for item in comparisons:
        job = jobs.get(item.id)
        if job is not None and not job.status.is_terminal:
            job_progress.live(job.id)
    if (trace_id := st.query_params.get("trace")) and visit.can(Permission.EDIT_GOLDEN):
        golden_view.case_from_trace(visit, trace_id)
    if visit.can(Permission.COMPARE):
        st.subheader("New comparison", anchor=False)
        compare_form.show(visit, st.query_params.get("adapter"))
    listing()
    golden_view.show(visit)
