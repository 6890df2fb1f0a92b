"""A dataset version in the page: the list, its rows with their origin, checks, what changed, freezing and export."""

from datetime import UTC
from typing import Any

import pandas as pd
import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.datasets.checks import Level
from workbench.datasets.compare import Difference, compare
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.queries import examples
from workbench.datasets.verify import verify
from workbench.identity.queries import names_of
from workbench.ui import diff, links, page
from workbench.ui.guard import Visit

_TASKS = {"generation": "Supervised pairs: prompt and completion", "triage": "Classification: text and team"}
_SHORT_TASKS = {"generation": "Supervised pairs", "triage": "Classification"}
_PAGE = 50


def show_list(visit: Visit, versions: list[DatasetVersion], *, may_build: bool) -> None:
    """Every version, newest first; a click opens one."""
    if may_build and st.button("Build a version", type="primary", key="dataset_build"):
        st.query_params["build"] = "new"
        st.rerun()
    if not versions:
        page.empty(
            "There is no dataset version yet.",
            "Build one from the responses that annotators have submitted."
            if may_build
            else "An engineer builds versions from the responses that annotators have submitted.",
        )
        return
    rows = [
        {
            "Version": f"{each.name} v{each.number}",
            "Kind": _SHORT_TASKS.get(each.task, each.task),
            "Rows": each.rows,
            "To train on": each.train_rows,
            "Held out": each.validation_rows,
            "State": "frozen" if each.frozen_at else "open",
            "Hash": page.short(each.content_hash),
            "Built": each.created_at.astimezone(UTC),
            "By": each.created_by_name,
        }
        for each in versions
    ]
    chosen = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="dataset_table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"Built": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm", timezone="UTC")},
    )
    st.caption("Select a row to open the version.")
    selected = chosen["selection"]["rows"]
    if selected:
        open_version(versions[selected[0]].id)


def open_version(dataset_id: str) -> None:
    """Go to a version."""
    st.query_params.from_dict({"dataset": dataset_id})
    st.rerun()


def show_version(visit: Visit, version: DatasetVersion, versions: list[DatasetVersion]) -> None:
    """One version: its receipt, checks, rows and differences."""
    if st.button("All versions", type="tertiary", icon=":material/arrow_back:", key="dataset_back"):
        st.query_params.clear()
        st.rerun()
    state = "Frozen" if version.frozen_at else "Open"
    st.header(f"{page.escape_markdown(version.name)} v{version.number}", anchor=False)
    st.badge(state, color="green" if version.frozen_at else "orange")
    left, right = st.columns([3, 2], gap="large")
    with left:
        _checks(version)
    with right:
        _receipt(version)
        _acts(visit, version)
    with visit.read() as session:
        rows = examples(session, version.id)
        names = names_of(session, {person for row in rows for person in row.people})
    shown, changes, left_out = st.tabs(
        [f"Rows ({len(rows)})", "What changed", f"Left out ({len(version.excluded)})"], key="dataset_tabs"
    )
    with shown:
        _rows(version, rows, names)
    with changes:
        _changes(visit, version, versions, rows)
    with left_out:
        _left_out(version)


def _receipt(version: DatasetVersion) -> None:
    settings = version.settings
    period = " to ".join(str(settings.get(name) or "…")[:10] for name in ("since", "before"))
    facts = {
        "Kind": _TASKS.get(version.task, version.task),
        "Rows": f"{version.train_rows} to train on, {version.validation_rows} held out",
        "Hash": version.content_hash,
        "Traces of": "any time" if period == "… to …" else period,
        "Languages": ", ".join(settings.get("languages") or []) or "all",
        "Built": f"{page.moment(version.created_at)} by {version.created_by_name or 'a process'}",
        "Frozen": page.moment(version.frozen_at) if version.frozen_at else "not yet",
    }
    if version.frozen_reason:
        facts["Frozen because"] = version.frozen_reason
    page.facts(facts)


def _checks(version: DatasetVersion) -> None:
    st.subheader("Checks", anchor=False)
    show_checks(version.checks)


def show_checks(checks: list[dict[str, Any]]) -> None:
    """One line a check: its state in a word, what it found, what to do."""
    words = {Level.OK: ("Holds", "green"), Level.NOTE: ("Note", "blue"), Level.REASON: ("Needs a reason", "orange")}
    for check in checks:
        word, colour = words.get(check["level"], ("Stops", "red"))
        with st.container(horizontal=True, gap="small", vertical_alignment="top"):
            st.badge(word, color=colour, width=110)  # type: ignore[arg-type]
            with st.container():
                page.plain(f"{check['name']}: {check['text']}")
                if check["todo"]:
                    page.plain(check["todo"], muted=True)


def _acts(visit: Visit, version: DatasetVersion) -> None:
    if not visit.can(Permission.BUILD_DATASETS):
        return
    with st.container(horizontal=True):
        if version.frozen_at is None:
            if st.button("Freeze", type="primary", key="dataset_freeze"):
                _freeze(visit, version)
            if st.button("Discard", key="dataset_discard"):
                _discard(visit, version)
        else:
            links.to("tune", "Fine-tune on it", icon=":material/tune:", dataset=version.id)
        if st.button("Check the hash", key="dataset_verify"):
            _verify(visit, version)
        if st.button("Export", key="dataset_export"):
            _export(visit, version)


@st.dialog("Freeze this version")
def _freeze(visit: Visit, version: DatasetVersion) -> None:
    page.plain(
        f"{version.name} v{version.number} with {version.rows} rows can be trained on from then on. "
        "Freezing cannot be undone; a later version can take its place."
    )
    page.facts({"Hash": version.content_hash})
    asks = [check["text"] for check in version.checks if check["level"] == Level.REASON]
    reason = ""
    if asks:
        page.plain(" ".join(asks), muted=True)
        reason = st.text_area("Why it may be frozen all the same", key="dataset_freeze_reason")
    if st.button("Freeze under this hash", type="primary", key="dataset_freeze_do"):
        try:
            visit.services.datasets.freeze(
                visit.actor, version.id, content_hash=version.content_hash, reason=reason, command_id=f"freeze:{version.id}"
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        st.toast(f"{version.name} v{version.number} is frozen.")
        st.rerun()


@st.dialog("Discard this version")
def _discard(visit: Visit, version: DatasetVersion) -> None:
    page.plain("It leaves the list; the record of it stays. The responses are not touched.")
    if st.button("Discard it", type="primary", key="dataset_discard_do"):
        try:
            visit.services.datasets.discard(visit.actor, version.id)
        except WorkbenchError as error:
            page.failure(error)
            return
        st.query_params.clear()
        st.rerun()


@st.dialog("Export as JSON Lines")
def _export(visit: Visit, version: DatasetVersion) -> None:
    split = st.segmented_control("Rows", ["all", "train", "validation"], default="all", key="dataset_export_split")
    origin = st.checkbox("With trace, people, consent and split of each row", key="dataset_export_origin")
    page.plain("The export is recorded in the ledger.", muted=True)
    if st.button("Prepare the file", type="primary", key="dataset_export_do"):
        try:
            data = visit.services.datasets.export(
                visit.actor, version.id, split=None if split in (None, "all") else split, origin=origin
            )
        except WorkbenchError as error:
            page.failure(error)
            return
        name = f"{version.name}-v{version.number}-{page.short(version.content_hash, 8)}.jsonl".replace(" ", "-")
        st.download_button("Download", data, file_name=name, mime="application/jsonl", key="dataset_export_file")


def _verify(visit: Visit, version: DatasetVersion) -> None:
    try:
        with visit.read() as session:
            number = verify(session, version)
    except WorkbenchError as error:
        page.failure(error)
    else:
        st.success(f"All {number} rows have their leaves, and the leaves have this hash.")


def _rows(version: DatasetVersion, rows: list[DatasetExample], names: dict[str, str]) -> None:
    wanted = st.segmented_control(
        "Show",
        ["all", "train", "validation", "to look at"],
        default="all",
        key="dataset_rows_filter",
        label_visibility="collapsed",
    )
    chosen = [row for row in rows if wanted in (None, "all", row.split) or (wanted == "to look at" and row.notes)]
    if not chosen:
        page.empty("No rows here.", "Choose another part of the version.")
        return
    first, second = ("prompt", "completion") if version.task == "generation" else ("text", "label")
    table = pd.DataFrame(
        [
            {
                "#": row.position + 1,
                "Question": _question(row, first),
                "Label" if second == "label" else "Completion": str(row.content.get(second, "(erased)")).strip(),
                "Language": row.language or "",
                "Side": row.split,
                "By": ", ".join(names.get(person, "somebody") for person in row.people),
                "Consent": "yes" if row.consent else "no",
                "Look at": "; ".join(row.notes),
                "Trace": f"/traces?trace={row.trace_id}",
            }
            for row in chosen
        ]
    )
    selection = st.dataframe(
        table,
        hide_index=True,
        key=f"dataset_rows_{version.id}",
        on_select="rerun",
        selection_mode="single-row",
        height=430,
        column_config={
            "#": st.column_config.NumberColumn(width=50),
            "Question": st.column_config.TextColumn(width="large"),
            "Completion": st.column_config.TextColumn(width="large"),
            "Trace": st.column_config.LinkColumn(display_text="open", width=60),
        },
    )
    picked = selection["selection"]["rows"]
    if picked:
        _one_row(chosen[picked[0]], names)
    else:
        st.caption("Select a row to read it whole, with its origin.")


def _one_row(row: DatasetExample, names: dict[str, str]) -> None:
    with st.container(border=True):
        left, right = st.columns([3, 2], gap="large")
        with left:
            for name, value in row.content.items():
                st.caption(name.capitalize())
                page.plain(str(value), mono=name == "prompt")
        with right:
            page.facts(
                {
                    "Trace": row.trace_id,
                    "Responses": ", ".join(row.responses),
                    "People": ", ".join(names.get(person, person) for person in row.people),
                    "Consent to training": "yes" if row.consent else "no",
                    "Side": row.split,
                    "Leaf": row.leaf_hash,
                }
            )
            st.link_button("Open the trace", f"/traces?trace={row.trace_id}", type="tertiary")


def _question(row: DatasetExample, name: str) -> str:
    text = str(row.content.get(name, "(erased)"))
    if name == "prompt" and "Question:" in text:
        return text.rpartition("Question:")[2].rpartition("\n")[0].strip() or text
    return text


def _changes(visit: Visit, version: DatasetVersion, versions: list[DatasetVersion], rows: list[DatasetExample]) -> None:
    others = [each for each in versions if each.task == version.task and each.id != version.id]
    if not others:
        page.empty("There is nothing to compare with.", "Build another version of the same kind to see what changed.")
        return
    names = {each.id: f"{each.name} v{each.number}" for each in others}
    default = list(names).index(version.previous_id) if version.previous_id in names else 0
    older = st.selectbox(
        "Against", list(names), index=default, format_func=names.__getitem__, key=f"dataset_against_{version.id}"
    )
    with visit.read() as session:
        found = compare(examples(session, older), rows)
    if found.is_empty:
        page.empty("Nothing changed.", "Both versions hold the same rows.")
        return
    added, removed, changed, same = st.columns(4)
    for column, label, number in (
        (added, "Added", len(found.added)),
        (removed, "Removed", len(found.removed)),
        (changed, "Changed", len(found.changed)),
        (same, "Same", found.same),
    ):
        column.metric(label, number)
    _show_difference(found)


def _show_difference(found: Difference) -> None:
    for title, rows in (("Added", found.added), ("Removed", found.removed)):
        if rows:
            st.subheader(title, anchor=False)
            table = [{"Text": _text(row), "Language": row.language or "", "Side": row.split} for row in rows[:200]]
            st.dataframe(
                pd.DataFrame(table), hide_index=True, key=f"dataset_diff_{title}", height=min(300, 40 + 35 * len(table))
            )
    if found.changed:
        st.subheader("Changed", anchor=False)
        for old, new in found.changed[:_PAGE]:
            with st.container(border=True):
                before, after = _text(old), _text(new)
                if before == after:
                    page.plain(after)
                    moved = f"Side {old.split} → {new.split}. " if old.split != new.split else ""
                    page.plain(f"{moved}{len(old.responses)} → {len(new.responses)} responses behind it.", muted=True)
                else:
                    diff.show(before, after)
        if len(found.changed) > _PAGE:
            st.caption(f"{_PAGE} of {len(found.changed)} are shown.")


def _text(row: DatasetExample) -> str:
    if not row.content:
        return "(erased)"
    if "label" in row.content:
        return f"{row.content['text']} → {row.content['label']}"
    return f"{_question(row, 'prompt')}\n{str(row.content['completion']).strip()}"


def _left_out(version: DatasetVersion) -> None:
    if not version.excluded:
        page.empty("Nothing was left out.", "Every selected response became part of a row.")
        return
    table = [{"Why": each["reason"], "Trace": f"/traces?trace={each['trace_id']}"} for each in version.excluded]
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        key=f"dataset_left_out_{version.id}",
        column_config={"Trace": st.column_config.LinkColumn(display_text="open", width=60)},
    )
