"""A job as people watch it: how far it is, its live curve, cancelling, and why it failed."""

from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.errors import NotSignedIn
from workbench.core.jobs import Job, JobMetric, JobState, list_jobs, metrics_of
from workbench.ui import charts, guard, page
from workbench.ui.guard import Visit

_REFRESH_SECONDS = 1.5
_LOG_BYTES = 6_000
_STATES = {
    JobState.QUEUED: ("Waiting", "gray"),
    JobState.RUNNING: ("Running", "blue"),
    JobState.SUCCEEDED: ("Done", "green"),
    JobState.FAILED: ("Failed", "red"),
    JobState.CANCELLED: ("Cancelled", "gray"),
    JobState.INTERRUPTED: ("Paused", "orange"),
}
_CURVES = {"loss": ("Loss while training", charts.ACCENT), "validation_loss": ("Loss on the validation split", charts.WARM)}


def badge(job: Job) -> None:
    """The job's state as a word on colour."""
    word, colour = _STATES[job.status]
    st.badge(word, color=colour)  # type: ignore[arg-type]


def state_words(job: Job) -> str:
    """The job's state in a word."""
    return _STATES[job.status][0]


@st.fragment(run_every=_REFRESH_SECONDS)
def live(job_id: str, *, curve: bool = False) -> None:
    """A job that has not ended, refreshed by itself; when it ends the whole page is drawn again.

    Args:
        curve: draw the loss as it falls.
    """
    try:
        visit = guard.visit()
    except NotSignedIn as error:
        page.failure(error)
        return
    with visit.read() as session:
        job = session.get(Job, job_id)
        points = metrics_of(session, job_id) if curve else []
        open_jobs = [other for other in list_jobs(session, kinds=[job.kind]) if not other.status.is_terminal] if job else []
    if job is None or job.status.is_terminal:
        st.rerun()
    with st.container(border=True, key=f"job_{job.id}"):
        _head(visit, job)
        share = _share(job)
        st.progress(share, text=page.escape_markdown(words(job, ahead=_ahead(job, open_jobs))))
        if points:
            charts.show(curve_figure(points), key=f"job_curve_{job.id}")


def words(job: Job, *, ahead: int = 0) -> str:
    """How far a job is, as a sentence: `12 of 48 steps, about 2 min left. Loss 0.412.`"""
    if job.cancel_requested:
        return "It is being stopped…"
    if job.status is JobState.QUEUED:
        return f"Waits for its turn; {page.count(ahead, 'job')} before it." if ahead else "Waits for the worker to take it."
    if job.status is JobState.INTERRUPTED:
        return "Paused by a shutdown; it goes on from its last checkpoint at the next start."
    if job.lease_until is not None and job.lease_until < now():
        return "The worker does not answer; the job goes on from its last checkpoint when it is back."
    done, total = job.progress.get("done"), job.progress.get("total")
    message = str(job.progress.get("message") or "")
    if not total or total <= 1:
        return f"{message[:1].upper()}{message[1:]}…" if message else "Starting…"
    text = f"{done:,} of {total:,} {job.progress.get('unit') or 'steps'}"
    left = job.progress.get("remaining_seconds")
    if left is not None and done:
        text += f", about {page.duration(max(1, left))} left"
    return f"{text} · {message}" if message else text


def ended(visit: Visit, job: Job) -> None:
    """A job that has ended: its curve, and when it failed the reason and the end of its log."""
    with visit.read() as session:
        points = metrics_of(session, job.id)
    if job.status is JobState.FAILED:
        st.error(page.escape_markdown(job.error or "It ended without saying why; see its log."))
    elif job.error:
        st.info(page.escape_markdown(job.error))
    if points:
        charts.show(curve_figure(points), key=f"job_ended_curve_{job.id}")
    if job.status is JobState.FAILED and (text := log_tail(visit, job.id)):
        with st.expander("End of its log"):
            page.plain(text, mono=True)


def curve_figure(points: list[JobMetric]) -> go.Figure:
    """The curves of a job over its steps."""
    made = charts.figure(height=230, x_title="step", y_title="loss")
    shown = 0
    for name, (label, colour) in _CURVES.items():
        mine = [point for point in points if point.name == name]
        if not mine:
            continue
        shown += 1
        mode = "lines+markers" if len(mine) < 40 else "lines"
        made.add_scatter(
            x=[point.step for point in mine],
            y=[point.value for point in mine],
            mode=mode,
            name=label,
            line={"color": colour, "width": 2},
            marker={"size": 4},
            hovertemplate="step %{x}: %{y:.3f}<extra></extra>",
        )
    made.update_layout(
        showlegend=shown > 1, legend={"orientation": "h", "y": 1.12, "x": 0}, yaxis={"rangemode": "tozero"}, uirevision="keep"
    )
    return made


def log_tail(visit: Visit, job_id: str) -> str:
    """The end of the job's log; empty when it wrote none. Paths of this installation are shortened."""
    file = visit.context.settings.folder("logs") / "jobs" / f"{Path(job_id).name}.log"
    try:
        with file.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LOG_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.replace(str(visit.context.settings.home), "…").strip()


@st.dialog("Stop this job?")
def _confirm_cancel(job_id: str, title: str, done: str) -> None:
    page.plain(title)
    st.caption(f"{done} What it has done so far is lost, and it makes no result. Nothing that is live changes.")
    reason = st.text_input("Reason", key=f"job_cancel_reason_{job_id}", placeholder="Optional, for the audit ledger")
    stop, keep = st.columns(2)
    if stop.button("Stop it", type="primary", key=f"job_cancel_confirm_{job_id}", width="stretch"):
        visit = guard.visit()
        with page.acting("The job is being stopped."):
            visit.services.jobs.cancel(visit.actor, job_id, reason=reason)
            st.rerun()
    if keep.button("Let it run", key=f"job_cancel_keep_{job_id}", width="stretch"):
        st.rerun()


def _head(visit: Visit, job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(job)
        page.plain(job.title)
        by = f"by {job.created_by_name}" if job.created_by_name else ""
        page.plain(f"{page.moment(job.created_at)} {by}", muted=True)
        may = visit.can(Permission.CANCEL_JOBS) and not job.cancel_requested
        if may and st.button("Stop", key=f"job_cancel_{job.id}", icon=":material/stop_circle:"):
            _confirm_cancel(job.id, job.title, words(job))


def _share(job: Job) -> float:
    done, total = job.progress.get("done") or 0, job.progress.get("total") or 0
    return min(1.0, max(0.0, done / total)) if total else 0.0


def _ahead(job: Job, others: list[Job]) -> int:
    return sum(other.id != job.id and other.created_at < job.created_at for other in others)
