"""What was done with many traces lately: progress, results, undo, and the files of exports."""

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import NotFound, NotSignedIn
from workbench.core.ids import new_id
from workbench.core.jobs import Job
from workbench.traces.act_models import ActState, TraceAct
from workbench.ui import guard, page
from workbench.ui.guard import Visit
from workbench.workflows.bulk import is_running, job_of, recent_acts
from workbench.workflows.bulk_kinds import EXPORT, GOLDEN, KINDS, SEND, TAG, UNTAG
from workbench.workflows.bulk_work import get_act

_LAST = "trace_act_last"
_DOING = {SEND: "Sending", TAG: "Tagging", UNTAG: "Taking a tag off", GOLDEN: "Making golden cases of", EXPORT: "Exporting"}
_DONE = {SEND: "Sent", TAG: "Tagged", UNTAG: "Took a tag off", GOLDEN: "Made golden cases of", EXPORT: "Exported"}


def remember(act: TraceAct) -> None:
    """Show this act above the page until it is closed."""
    st.session_state[_LAST] = act.id


def last(visit: Visit) -> None:
    """The act that this person did last in this tab: its progress, then its result with the undo."""
    act_id = st.session_state.get(_LAST)
    if act_id is None:
        return
    with visit.read() as session:
        try:
            act = get_act(session, act_id, visit.project.id)
        except NotFound:  # another project was chosen meanwhile
            del st.session_state[_LAST]
            return
        job = job_of(session, act)
    st.html('<div style="height:28px"></div>')  # the app's own header lies over the first line
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="trace_act_last_bar"):
        if is_running(act, job):
            _live(act.id)
        else:
            page.plain(sentence(act, job))
            _buttons(visit, act, job, "last")
        st.button("Close", key="trace_act_close", type="tertiary", on_click=_close)


def popover(visit: Visit) -> None:
    """The newest acts of the project; read when it is opened."""
    with st.popover("Recent acts", key="traces_recent", icon=":material/history:", on_change="rerun") as opened:
        if opened.open:
            _list(visit)


def _list(visit: Visit) -> None:
    with visit.read() as session:
        acts = recent_acts(session, visit.project.id, limit=12)
    if not acts:
        page.empty("Nothing yet.", "What is done with many traces is listed here, with its undo.")
    for act, job in acts:
        with st.container(border=True, key=f"trace_act_{act.id}"):
            page.plain(sentence(act, job))
            page.plain(f"{act.created_by_name}, {page.moment(act.created_at)}", muted=True)
            with st.container(horizontal=True):
                _buttons(visit, act, job, "list")


def sentence(act: TraceAct, job: Job | None = None) -> str:
    """What became of an act."""
    word = f" “{act.spec['tag']}”" if "tag" in act.spec else ""
    if is_running(act, job):
        done, total = (job.progress.get("done") or 0, job.progress.get("total") or act.total) if job else (0, act.total)
        doing = "Undoing" if act.state == ActState.UNDOING else f"{_DOING[act.kind]}{word}"
        waits = " It waits for the worker." if job and not job.started_at else ""
        return f"{doing}: {done:,} of {total:,}.{waits}"
    said = f"{_DONE[act.kind]}{word}: {act.changed:,} of {page.count(act.total, 'trace')}."
    if act.state == ActState.RUNNING:
        said = f"{_DOING[act.kind]}{word}: it ended before its end, after {act.done:,} of {act.total:,}."
    elif act.state == ActState.STOPPED:
        said += f" Stopped after {act.done:,}."
    elif act.state == ActState.FAILED:
        said += f" It failed: {act.error}"
    left = ", ".join(f"{count:,} {why}" for why, count in act.skipped.items())
    said += f" Left as they were: {left}." if left else ""
    if act.state == ActState.UNDONE:
        stayed = f" {act.undo['stayed']:,} stayed. {act.undo.get('why', '')}" if act.undo.get("stayed") else ""
        what = "The file was removed." if act.kind == EXPORT else f"{act.undo.get('taken', 0):,} taken back."
        said += f" Undone by {act.undo.get('by_name', '')}: {what}{stayed}"
    elif act.state == ActState.UNDOING:
        said += " Its undo ended before its end; undo it again for the rest."
    return said


def _buttons(visit: Visit, act: TraceAct, job: Job | None, place: str) -> None:
    if is_running(act, job):
        if job is not None and not job.cancel_requested and _may_stop(visit, job):
            st.button("Stop", key=f"trace_act_stop_{place}_{act.id}", on_click=_stop, args=(job.id,))
        return
    if act.result.get("artifact") and visit.can(Permission.EXPORT_TRACES):
        size = f"{act.result['bytes'] / 1e6:,.1f} MB"
        st.link_button(f"Download ({size})", f"/exports/{act.id}", icon=":material/download:", help=act.result["name"])
    if act.state != ActState.UNDONE and visit.can(KINDS[act.kind].permission) and (act.changed or act.done):
        label = "Remove the file" if act.kind == EXPORT else "Undo"
        st.button(label, key=f"trace_act_undo_{place}_{act.id}", on_click=_undo, args=(act.id,))


@st.fragment(run_every=1.0)
def _live(act_id: str) -> None:
    """An act that is going on; the whole page is drawn again at its end."""
    try:
        visit = guard.visit()
    except NotSignedIn as error:
        page.failure(error)
        return
    with visit.read() as session:
        act = get_act(session, act_id)
        job = job_of(session, act)
    if not is_running(act, job):
        st.rerun()
    done, total = (job.progress.get("done") or 0, job.progress.get("total") or 0) if job else (0, 0)
    st.progress(min(1.0, done / total) if total else 0.0, text=page.escape_markdown(sentence(act, job)))
    _buttons(visit, act, job, "live")


def _may_stop(visit: Visit, job: Job) -> bool:
    return job.created_by == visit.actor.id or visit.can(Permission.CANCEL_JOBS)


def _stop(job_id: str) -> None:
    visit = guard.visit()
    with page.acting("It stops after the batch that it is at."):
        visit.services.jobs.cancel(visit.actor, job_id)


def _undo(act_id: str) -> None:
    visit = guard.visit()
    with page.acting():
        remember(visit.services.bulk.undo(visit.actor, act_id, command_id=new_id()))


def _close() -> None:
    st.session_state.pop(_LAST, None)
