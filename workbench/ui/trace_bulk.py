"""The dialogs of acts on several traces, selected ones or all hits of a filter: what to do, a preview, and doing it."""

from typing import Any

import streamlit as st

from workbench.annotation import queries as annotation
from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.golden.queries import list_sets
from workbench.traces.exporting import FORMATS
from workbench.traces.hits import Hits, all_hits
from workbench.traces.queries import TraceFilter, traces_by_id
from workbench.ui import page, trace_recent
from workbench.ui.guard import Visit
from workbench.workflows.bulk import AT_ONCE, Preview
from workbench.workflows.bulk_kinds import EXPORT, GOLDEN, SEND, TAG, UNTAG

_COMMAND = "trace_act_command"
_ACTS = (
    (SEND, "Send to queue", Permission.MANAGE_QUEUES),
    (TAG, "Tag", Permission.TAG_TRACES),
    (UNTAG, "Take a tag off", Permission.TAG_TRACES),
    (GOLDEN, "Golden cases", Permission.EDIT_GOLDEN),
    (EXPORT, "Export", Permission.EXPORT_TRACES),
)
_CONFIRM = {
    SEND: "Send {}", TAG: "Tag {}", UNTAG: "Take it off {}", GOLDEN: "Make cases of {}", EXPORT: "Export {}",
}  # fmt: skip
_OWN_LABEL = "The trace's own label"


def offered(visit: Visit) -> list[tuple[str, str]]:
    """(kind, label) of the acts that this person may do on several traces."""
    return [(kind, label) for kind, label, permission in _ACTS if visit.can(permission)]


def all_hits_menu(visit: Visit, filters: TraceFilter, label: str) -> None:
    """A menu of acts on everything that the filter hits."""
    acts = dict(offered(visit))
    if not acts:
        return
    kind = st.menu_button(
        label, list(acts), format_func=acts.__getitem__, key="traces_all", icon=":material/checklist:",
        help="Do something with all hits of this filter.",
    )  # fmt: skip
    if kind:
        with visit.read() as session:
            hits = all_hits(session, visit.project.id, filters)
        open_dialog(visit, kind, hits)


def open_dialog(visit: Visit, kind: str, hits: Hits) -> None:
    """Ask for what the act needs. Each opening is one command, so that a double click does it once."""
    st.session_state[_COMMAND] = new_id()
    title = next(label for one, label, _ in _ACTS if one == kind)
    st.dialog(title)(_body)(visit, kind, hits)


def _body(visit: Visit, kind: str, hits: Hits) -> None:
    spec = _CHOOSE[kind](visit)
    if spec is None:
        return
    try:
        found = visit.services.bulk.preview(visit.actor, visit.project.id, kind, spec, hits)
    except WorkbenchError as error:
        page.failure(error)
        return
    _preview(visit, found)
    confirm = _CONFIRM[kind].format(page.count(found.changes, "trace"))
    if st.button(confirm, type="primary", key=f"traces_{kind}_confirm", disabled=found.changes == 0):
        try:
            act = visit.services.bulk.begin(
                visit.actor, visit.project.id, kind, spec, hits, command_id=st.session_state[_COMMAND]
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        trace_recent.remember(act)
        st.rerun()


def _preview(visit: Visit, found: Preview) -> None:
    st.markdown(f"**{page.count(found.total, 'trace')}**")
    for why, count in found.skipped.items():
        st.caption(f"{count:,} will be left as they are: {why}.")
    if found.note:
        st.caption(page.escape_markdown(found.note))
    with visit.read() as session:
        traces = traces_by_id(session, visit.project.id, found.examples)
    if traces:
        st.caption("Such as" if found.total > len(traces) else "Namely")
        for trace_id in found.examples:
            if trace_id in traces:
                page.plain(traces[trace_id].input_preview[:140] or traces[trace_id].name or trace_id, muted=True)
    if found.total > AT_ONCE:
        st.caption("So many are dealt with in the background. You can go on meanwhile; the progress is shown above the list.")


def _queue(visit: Visit) -> dict[str, Any] | None:
    with visit.read() as session:
        queues = annotation.list_queues(session, visit.project.id)
    if not queues:
        page.empty("There is no annotation queue yet.", "Make one on the Annotate page, then come back.")
        return None
    names = {queue.id: queue.name for queue in queues}
    return {"queue_id": st.selectbox("Queue", list(names), format_func=names.__getitem__, key="traces_send_queue")}


def _tag(visit: Visit) -> dict[str, Any] | None:
    word = st.text_input("Tag", max_chars=60, key="traces_tag_word", placeholder="for example: needs a policy")
    if not word.strip():
        st.caption("Type a word and press Enter to see what it would do.")
        return None
    return {"tag": word}


def _golden(visit: Visit) -> dict[str, Any] | None:
    with visit.read() as session:
        sets = {one.id: one for one in list_sets(session, visit.project.id, newest_only=True)}
    if not sets:
        page.empty("There is no golden set yet.", "Import one on the Compare page, then come back.")
        return None
    golden_id = st.selectbox("Golden set", list(sets), format_func=lambda one: sets[one].title, key="traces_golden_set")
    spec: dict[str, Any] = {"golden_set_id": golden_id}
    if sets[golden_id].task == "triage":
        teams = [str(team["key"]) for team in visit.project.teams]
        label = st.selectbox("Right label", ["", *teams], format_func=lambda one: one or _OWN_LABEL, key="traces_golden_label")
        spec["label"] = label
    else:
        st.caption("The reference is the last correction, or else the last rewrite by an annotator.")
        most, cites = st.columns(2, vertical_alignment="bottom")
        spec["format"] = {
            "max_sentences": int(most.number_input("At most sentences", 1, 20, 2, key="traces_golden_most")),
            "citation": cites.checkbox("Must cite", value=True, key="traces_golden_cites"),
        }
    spec["despite_training"] = st.checkbox(
        "Also texts that a model may have learned", key="traces_golden_despite",
        help="A comparison still refuses the models concerned.",
    )  # fmt: skip
    return spec


def _format(visit: Visit) -> dict[str, Any] | None:
    return {"format": st.selectbox("Format", list(FORMATS), format_func=FORMATS.__getitem__, key="traces_export_format")}


_CHOOSE = {SEND: _queue, TAG: _tag, UNTAG: _tag, GOLDEN: _golden, EXPORT: _format}
