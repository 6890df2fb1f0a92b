"""The admin page's processes and jobs, refreshed while one looks."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from workbench.core.jobs import Job, list_jobs
from workbench.ui import page
from workbench.ui.guard import Visit


def processes(visit: Visit) -> None:
    """What runs, how often it was restarted, and every job."""
    _live(visit)


@st.fragment(run_every=3)
def _live(visit: Visit) -> None:
    children = _supervised(visit)
    if children is None:
        page.empty(
            "No supervisor runs this workbench.",
            "The pages were started by themselves. `workbench up` starts and watches all four processes.",
        )
    else:
        for column, (name, child) in zip(st.columns(len(children)), children.items(), strict=True):
            with column, st.container(border=True):
                st.markdown(f"**{name}**")
                if child["pid"] is None:
                    st.badge("restarting", color="orange")
                elif child["restarts"]:
                    st.badge(f"running, restarted {page.count(child['restarts'], 'time')}", color="orange")
                else:
                    st.badge("running", color="green")
                st.caption(
                    f"pid {child['pid'] or 'none'}" + (f", last end: {child['last_exit']}" if child["last_exit"] else "")
                )
    with visit.read() as session:
        jobs = list_jobs(session, visit.project.id)
    if not jobs:
        page.empty("No job has run yet.", "Fine-tunes and comparisons appear here when somebody launches one.")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Job": [job.title for job in jobs],
                "State": [job.state for job in jobs],
                "Progress": [_progress(job) for job in jobs],
                "Attempts": [job.attempt for job in jobs],
                "Launched by": [job.created_by_name for job in jobs],
                "Queued": [job.created_at for job in jobs],
                "What went wrong": [job.error or "" for job in jobs],
            }
        ),
        hide_index=True,
        column_config={"Queued": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm")},
        key="admin_jobs",
    )
    open_jobs = {job.id: job.title for job in jobs if not job.status.is_terminal}
    if open_jobs:
        with st.form("admin_cancel_job", border=False):
            chosen = st.selectbox("Cancel a job", list(open_jobs), format_func=open_jobs.__getitem__, key="admin_cancel_choice")
            if st.form_submit_button("Ask it to stop"):
                with page.acting("Asked. It stops at its next step."):
                    visit.services.jobs.cancel(visit.actor, chosen)


def _supervised(visit: Visit) -> dict[str, Any] | None:
    path = visit.context.settings.home / "run" / "supervisor.json"
    try:
        children: dict[str, Any] = json.loads(path.read_text())["children"]
    except (OSError, ValueError, KeyError):
        return None
    return children


def _progress(job: Job) -> str:
    done, total, unit = (job.progress.get(name) for name in ("done", "total", "unit"))
    return f"{done} of {total} {unit or ''}".strip() if total else str(job.progress.get("message", ""))
