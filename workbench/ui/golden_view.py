"""Golden sets on a page: their versions and cases, importing a file, and making a case out of a trace."""

from typing import Any

import pandas as pd
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.golden.formats import TASKS
from workbench.golden.models import GoldenCase, GoldenSet
from workbench.golden.queries import cases, list_sets
from workbench.traces.models import Trace
from workbench.traces.queries import get_trace
from workbench.ui import page
from workbench.ui.guard import Visit
from workbench.workflows.golden_case import Learned, add_golden_case, learned_from

_COMMAND = "golden_command_id"
_EXAMPLES = {
    "triage": '{"text": "My card was stolen", "label": "cards", "tags": {"language": "en", "intent": "card_lost"}}',
    "answers": (
        '{"question": "What does a transfer cost?", "evidence": ["transfer-fees"], "must_state": [["2 EUR", "two euros"]],\n'
        ' "must_not_state": ["free"], "format": {"max_sentences": 2, "citation": true, "decline": false},\n'
        ' "reference": "It costs 2 EUR [transfer-fees].", "tags": {"language": "en", "intent": "fees"}}'
    ),
}


def show(visit: Visit) -> None:
    """All versions, the cases of the chosen one, and the import."""
    st.subheader("Golden sets", anchor=False)
    st.caption(
        "Cases that a release must pass. Each version is frozen under its hash; nothing in any of them may be trained on."
    )
    with visit.read() as session:
        versions = list_sets(session, visit.project.id)
    if versions:
        picked = st.dataframe(
            pd.DataFrame([_row(item) for item in versions]),
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            key="golden_versions",
        )
        if picked["selection"]["rows"]:
            _cases(visit, versions[picked["selection"]["rows"][0]])
    else:
        page.empty("There is no golden set yet.", "Import one as JSON Lines below.")
    if visit.can(Permission.EDIT_GOLDEN):
        with st.expander("Import a golden set, or a new version of one"):
            _import(visit)


def case_from_trace(visit: Visit, trace_id: str) -> None:
    """A form that adds the input of a trace to a golden set, with what a good answer is."""
    try:
        with visit.read() as session:
            trace = get_trace(session, visit.project.id, trace_id)
            sets = {item.id: item for item in list_sets(session, visit.project.id, newest_only=True)}
            learned = learned_from(session, visit.project.id, trace.input)
    except WorkbenchError as error:
        page.failure(error)
        return
    with st.container(border=True, key="golden_from_trace"):
        st.subheader("Make a golden case out of this trace", anchor=False)
        page.plain(trace.input or "")
        if not trace.input.strip():
            page.empty("This trace has no question.", "A golden case needs one; choose another trace.")
            return
        if not sets:
            page.empty("There is no golden set yet.", "Import one first.")
            return
        golden = sets[
            st.selectbox("Golden set", list(sets), format_func=lambda item: sets[item].title, key="golden_trace_set")
            or next(iter(sets))
        ]
        expected = _label(visit, trace) if golden.task == "triage" else _facts(trace)
        reason = st.text_input("Reason", key="golden_trace_reason", placeholder="Why a release must get this right")
        despite = _despite(learned) if learned else False
        command = st.session_state.setdefault(_COMMAND, new_id())
        blocked = bool(learned) and not despite
        if st.button("Add the case", type="primary", key="golden_trace_add", disabled=blocked):
            with page.acting(f"Added to a new version of {page.escape_markdown(golden.name)}."):
                add_golden_case(
                    visit.context, visit.actor, golden.id, trace_id, expected=expected, reason=reason.strip(),
                    despite_training=despite, command_id=command,
                )  # fmt: skip
                st.session_state[_COMMAND] = new_id()
                st.query_params.clear()
                st.rerun()


def _despite(learned: list[Learned]) -> bool:
    """Say that models may have learned from the text, and ask whether to go on."""
    first = learned[0]
    who = f" {', '.join(first.adapters[:4])} learned from it." if first.adapters else ""
    more = f" So do {page.count(len(learned) - 1, 'other dataset version')}." if len(learned) > 1 else ""
    st.warning(
        page.escape_markdown(
            f"{first.dataset.name} v{first.dataset.number} holds this text (“{first.shared[:120]}”).{more}{who} "
            "What a model was trained on cannot test it: a comparison of such a model with this golden set will be refused."
        )
    )
    return st.checkbox("Add it all the same, for models that were not trained on it", key="golden_trace_despite")


def _row(golden: GoldenSet) -> dict[str, Any]:
    return {
        "Golden set": golden.title,
        "Task": golden.task,
        "Cases": golden.size,
        "Frozen": page.moment(golden.frozen_at),
        "By": golden.created_by_name,
        "Reason": golden.reason,
        "Hash": page.short(golden.content_hash),
    }


def _cases(visit: Visit, golden: GoldenSet) -> None:
    with visit.read() as session:
        rows = cases(session, golden.id)
    st.dataframe(
        pd.DataFrame([_case(golden, row) for row in rows]),
        hide_index=True,
        height=min(38 + 35 * len(rows), 420),
        key=f"golden_cases_{golden.id}",
    )


def _case(golden: GoldenSet, case: GoldenCase) -> dict[str, Any]:
    content = case.content
    value: dict[str, Any] = {"Case": case.position + 1}
    if golden.task == "triage":
        value |= {"Asked": content.get("text", "erased"), "Label": content.get("label", "")}
    else:
        form = content.get("format") or {}
        value |= {
            "Asked": content.get("question", "erased"),
            "Must state": "; ".join(" / ".join(fact) for fact in content.get("must_state") or []),
            "Must not state": "; ".join(content.get("must_not_state") or []),
            "Format": ", ".join(
                words
                for words in (
                    f"at most {form['max_sentences']} sentences" if form.get("max_sentences") else "",
                    "cites" if form.get("citation") else "",
                    "declines" if form.get("decline") else "",
                )
                if words
            ),
            "Evidence": ", ".join(content.get("evidence") or []),
        }
    return value | {"Tags": ", ".join(f"{name}: {item}" for name, item in case.tags.items() if name != "id")}


def _import(visit: Visit) -> None:
    name_box, task_box = st.columns(2)
    name = name_box.text_input("Name", key="golden_name", placeholder="An existing name makes its next version")
    task = task_box.selectbox("Task", TASKS, key="golden_task")
    st.caption("One JSON object a line, such as")
    st.code(_EXAMPLES[task], language="json")
    file = st.file_uploader("File", type=["jsonl", "json", "txt"], key="golden_file")
    reason = st.text_input("Reason", key="golden_reason")
    if st.button("Import", key="golden_import", disabled=file is None or not name.strip()) and file is not None:
        with page.acting("The golden set is frozen."):
            visit.services.golden.import_jsonl(
                visit.actor, visit.project.id, name=name, task=task, data=file.getvalue(), reason=reason.strip()
            )
            st.rerun()


def _label(visit: Visit, trace: Trace) -> dict[str, Any]:
    teams = [str(team["key"]) for team in visit.project.teams]
    known = trace.triage_label if trace.triage_label in teams else None
    label: str | None = st.selectbox("Right label", teams, index=teams.index(known) if known else 0, key="golden_trace_label")
    return {"label": label or ""}


def _facts(trace: Trace) -> dict[str, Any]:
    facts = st.text_area(
        "Must state: one fact a line, other wordings behind |", key="golden_trace_facts", placeholder="2 EUR | two euros"
    )
    forbidden = st.text_area("Must not state: one a line", key="golden_trace_forbidden", height=80)
    keys = [str(document.get("id", "")) for document in trace.documents or []]
    evidence = st.multiselect(
        "Evidence it should cite", keys, key="golden_trace_evidence", accept_new_options=True, placeholder="Keys of entries"
    )
    most, cites, declines = st.columns(3, vertical_alignment="bottom")
    return {
        "must_state": [
            [part.strip() for part in line.split("|") if part.strip()] for line in facts.splitlines() if line.strip()
        ],
        "must_not_state": [line.strip() for line in forbidden.splitlines() if line.strip()],
        "evidence": [str(item) for item in evidence],
        "format": {
            "max_sentences": most.number_input("At most sentences", 1, 20, 2, key="golden_trace_most"),
            "citation": cites.checkbox("Must cite", value=True, key="golden_trace_cites"),
            "decline": declines.checkbox("Must decline", key="golden_trace_declines"),
        },
    }
