"""Tune: make an adapter out of a dataset version, watch it learn, read its receipt."""

import pandas as pd
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.jobs import Job, JobState
from workbench.tuning import queries
from workbench.ui import adapter_receipt, guard, job_progress, links, page, tune_form

visit = guard.visit()
page.header("Tune", "Make an adapter out of a frozen dataset version. Whether it is better is decided on the Compare page.")

with visit.read() as session:
    adapters = queries.adapters(session, visit.project.id)
    jobs = queries.fine_tunes(session, visit.project.id)
by_job = {adapter.job_id: adapter for adapter in adapters}
open_jobs = [job for job in jobs if not job.status.is_terminal]
shown_job = next((job for job in jobs if job.id == st.query_params.get("job")), None)
shown_adapter = next((item for item in adapters if st.query_params.get("adapter") in (item.id, item.content_hash)), None)
if shown_adapter is None and shown_job is not None:
    shown_adapter = by_job.get(shown_job.id)


def history(job: Job) -> dict[str, object]:
    """One row of the list of fine-tunes."""
    adapter = by_job.get(job.id)
    return {
        "Result": adapter.title if adapter else job_progress.state_words(job),
        "Fine-tune": job.title,
        "Took": page.duration(adapter.seconds) if adapter else "",
        "Memory": f"{adapter.peak_memory_bytes / 1e9:.1f} GB" if adapter and adapter.peak_memory_bytes else "",
        "Launched": page.moment(job.created_at),
        "By": job.created_by_name,
        "Hash": page.short(adapter.content_hash) if adapter else "",
    }


def detail() -> None:
    """One fine-tune or adapter, and the way back."""
    if st.button("All fine-tunes", icon=":material/arrow_back:", key="tune_back"):
        st.query_params.clear()
        st.rerun()
    if shown_adapter is not None:
        st.subheader(shown_adapter.title, anchor=False)
        links.to(
            "compare", "Compare it with the incumbent", icon=":material/compare_arrows:", adapter=shown_adapter.content_hash
        )
        adapter_receipt.show(visit, shown_adapter)
    elif shown_job is not None:
        st.subheader(page.escape_markdown(shown_job.title), anchor=False)
        if shown_job.status.is_terminal:
            job_progress.badge(shown_job)
            job_progress.ended(visit, shown_job)
            if shown_job.status is JobState.FAILED:
                st.caption("Nothing was registered. Correct the cause and launch it again: it starts fresh.")
        else:
            job_progress.live(shown_job.id, curve=True)


def listing() -> None:
    """Every fine-tune of the project, newest first; choosing one opens it."""
    st.subheader("Adapters and fine-tunes", anchor=False)
    if not jobs:
        page.empty("No adapter has been made yet.", "Choose a recipe and a dataset version above, and launch a fine-tune.")
        return
    chosen = st.dataframe(
        pd.DataFrame([history(job) for job in jobs]),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="tune_history",
        column_config={"Fine-tune": st.column_config.TextColumn(width="large")},
    )
    st.caption("Choose a row to read its receipt, or why it failed.")
    if chosen["selection"]["rows"]:
        st.query_params.clear()
        st.query_params["job"] = jobs[chosen["selection"]["rows"][0]].id
        st.rerun()


if shown_job is not None or shown_adapter is not None:
    detail()
else:
    for job in open_jobs:
        job_progress.live(job.id, curve=job.id == open_jobs[-1].id)
    if visit.can(Permission.TUNE):
        st.subheader("New fine-tune", anchor=False)
        tune_form.show(visit, st.query_params.get("dataset"))
    listing()
