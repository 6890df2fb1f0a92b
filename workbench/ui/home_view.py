"""The parts of the home page."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.jobs import Job, JobState, list_jobs
from workbench.core.runtime_client import RuntimeClient
from workbench.monitoring.overview import LoopNumbers, Waiting
from workbench.ui import charts, page
from workbench.ui.guard import Visit
from workbench.ui.links import page_file

_PREPARING = ("demo_incumbent",)


def waiting(tasks: Sequence[Waiting]) -> None:
    """The person's next tasks, the first one first."""
    st.subheader("What waits for you", anchor=False)
    if not tasks:
        page.empty("Nothing waits for you.", "New answers, proposals and reviews appear here when there are some.")
    for index, task in enumerate(tasks):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"home_task_{index}"):
            with st.container():
                page.plain(task.title)
                page.plain(task.detail, muted=True)
            st.page_link(page_file(task.page), label=task.action, icon=":material/arrow_forward:", width="content")


def activity(days: Sequence[tuple[date, int, int]]) -> None:
    """Traces a day, the low-rated ones in a warm colour."""
    st.subheader("Answers a day, last 60 days", anchor=False)
    if not days:
        page.empty(
            "No trace has arrived yet.", "Send some with the command below, or load the demo with `workbench demo load`."
        )
        return
    figure = charts.figure(height=210)
    x = [day for day, _, _ in days]
    figure.add_bar(x=x, y=[n - bad for _, n, bad in days], marker_color=charts.ACCENT, name="others")
    figure.add_bar(x=x, y=[bad for _, _, bad in days], marker_color=charts.WARM, name="rated 1 or 2 stars")
    figure.update_layout(barmode="stack", bargap=0.25, showlegend=True, legend={"orientation": "h", "y": 1.15, "x": 0})
    charts.show(figure, key="home_activity")


def loop(numbers: LoopNumbers) -> None:
    """The loop, stage by stage, each a way into its page."""
    st.subheader("The loop", anchor=False)
    live = numbers.live_release or "nothing"
    stages = [
        ("traces", "Traces", f"{numbers.traces_week:,}", f"this week, {numbers.low_rated_week:,} low-rated"),
        ("annotate", "Annotation", f"{numbers.open_items:,}", f"waiting, {numbers.submitted_week:,} submitted this week"),
        ("knowledge", "Knowledge", f"{numbers.live_entries:,}", f"entries live, {numbers.stale_entries:,} past review"),
        ("datasets", "Datasets", f"{numbers.datasets:,}", f"versions, {numbers.dataset_rows:,} examples"),
        ("tune", "Tuning", f"{numbers.adapters:,}", f"adapters, {numbers.jobs_running:,} jobs running"),
        ("compare", "Evaluation", f"{numbers.comparisons:,}", f"comparisons, last {numbers.last_verdict or 'none yet'}"),
        ("releases", "Releases", live, _release_words(numbers)),
    ]
    columns = st.columns(len(stages), gap="small")
    for index, (column, (name, title, number, words)) in enumerate(zip(columns, stages, strict=True)):
        with column, st.container(border=True, height="stretch", key=f"home_stage_{name}"):
            st.page_link(page_file(name), label=title, icon=f":material/counter_{index + 1}:")
            page.big(number)
            page.plain(words, muted=True)
    st.caption(
        "What is released answers through the gateway, and its answers come back as traces. Each step is in the audit ledger."
    )


def _release_words(numbers: LoopNumbers) -> str:
    if numbers.live_release is None:
        return "is live yet"
    waiting = f", {numbers.proposed} to approve" if numbers.proposed else ""
    return f"live since {page.moment(numbers.live_since)}{waiting}"


def preparations(visit: Visit) -> None:
    """While a first start converts the model and trains the first adapter: how far it is."""
    if _unprepared(visit):
        _preparing(visit)


def _unprepared(visit: Visit) -> list[Job]:
    with visit.read() as session:
        jobs = list_jobs(session, visit.project.id, kinds=_PREPARING, limit=6)
    return [job for job in jobs if job.state != JobState.SUCCEEDED]


@st.fragment(run_every=2)
def _preparing(visit: Visit) -> None:
    jobs = _unprepared(visit)
    if not jobs:
        st.rerun()
    base = _base_model(visit)
    if base.get("state") == "converting":
        words = f"Converting the base model, once: {base.get('stage', 'starting')}"
        st.progress(float(base.get("progress", 0.0)), text=page.escape_markdown(words))
    elif base.get("state") == "failed":
        st.error(f"The base model cannot be used. {page.escape_markdown(str(base.get('reason', '')))}")
    for job in jobs:
        if job.status.is_terminal:
            st.error(f"{page.escape_markdown(job.title)} ended as {job.state}. {page.escape_markdown(job.error or '')}")
        else:
            st.progress(0.0 if job.status is JobState.QUEUED else 0.5, text=page.escape_markdown(_job_words(job)))


def _job_words(job: Job) -> str:
    if job.status is JobState.QUEUED:
        return f"{job.title}: waits for its turn"
    return f"{job.title}: {job.progress.get('message') or 'under way, about two minutes the first time'}"


def _base_model(visit: Visit) -> dict[str, Any]:
    runtime = RuntimeClient(visit.context.settings)
    try:
        return dict(runtime.health()["base"])
    except WorkbenchError:
        return {}
    finally:
        runtime.close()


def bring_your_own(visit: Visit) -> None:
    """The ways in for another application's data."""
    st.subheader("Bring your own data", anchor=False)
    api = visit.context.settings.api_url
    traces, knowledge, application = st.columns(3, gap="large")
    with traces:
        st.markdown("**Traces**, over OpenTelemetry")
        st.code(
            f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={api}/v1/traces\nOTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20wb_…",
            language="bash",
        )
        st.caption("Or a file: `workbench traces import FILE`.")
    with knowledge:
        st.markdown("**Knowledge**, one JSON object a line")
        st.code('{"key": "fees", "title": "Card fees", "text": "…"}', language="json")
        st.page_link(page_file("knowledge"), label="Import on the Knowledge page", icon=":material/menu_book:")
    with application:
        st.markdown("**Answers**, through the gateway")
        st.code(f"OPENAI_BASE_URL={api}/v1\nOPENAI_API_KEY=wb_…", language="bash")
        if visit.can(Permission.MANAGE_KEYS):
            st.page_link(page_file("admin"), label="Create a key on the Admin page", icon=":material/key:")
        else:
            st.caption("An admin creates the key.")
