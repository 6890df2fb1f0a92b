"""Importing a file of traces: recognised, mapped where it is a table, previewed, then imported with a report of bad lines."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError
from workbench.traces.import_preview import Preview, header_of, preview
from workbench.traces.import_runs import ImportRun, last_of
from workbench.traces.importers.tabular import COLUMNS
from workbench.traces.imports import FORMAT_WORDS, FORMATS, ImportReport, recognise
from workbench.ui import links, page
from workbench.ui.guard import Visit

VIEW = "import"
TYPES = ["json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet"]
_WORDS = {
    "input": "Question",
    "output": "Answer",
    "model": "Model",
    "user": "User",
    "session": "Session",
    "time": "Time",
    "rating": "Rating",
    "comment": "Comment",
    "correction": "Correction",
    "tags": "Tags",
    "trace_id": "Trace id",
    "name": "Name",
    "language": "Language",
    "intent": "Intent",
    "input_tokens": "Input tokens",
    "output_tokens": "Output tokens",
    "cost": "Cost",
    "duration_ms": "Duration (ms)",
}
_FIRST = ("input", "output", "user", "session", "time", "model", "rating", "comment")
_SHOWN = 200


@dataclass(frozen=True)
class _Chosen:
    """How the uploaded file is to be read."""

    format: str
    columns: dict[str, str]
    scale: tuple[float, float]


def show(visit: Visit) -> None:
    """The import page."""
    page.header("Import traces", "From a file of another tool. Importing a file twice adds nothing.")
    links.within("All traces", key="traces_import_back", icon=":material/arrow_back:")
    if not visit.can(Permission.INGEST_TRACES):
        page.empty("Importing takes the role admin.", "Ask an admin for the role, or to import the file for you.")
        return
    run = last_of(visit.context, visit.project.id, visit.actor.id)
    if run is not None and st.session_state.get("traces_import_seen") != run.id:
        _running(visit, run.id)
        return
    file = st.file_uploader(
        "File",
        type=TYPES,
        key=f"traces_import_file_{st.session_state.get('traces_import_turn', 0)}",
        help="OTLP JSON, OpenAI-style chat logs, tables (CSV), Langfuse exports, Phoenix exports (JSON, CSV or Parquet).",
    )
    limit = st.get_option("server.maxUploadSize")
    st.caption(f"Up to {limit} MB here. Larger files, of any size: `workbench traces import FILE`.")
    if file is None:
        return
    path = _kept(visit, file)
    try:
        found = recognise(path)
    except WorkbenchError as error:
        page.failure(error)
        return
    try:
        chosen = _choose(path, found)
        seen = preview(path, chosen.format, columns=chosen.columns or None, scale=chosen.scale)
    except WorkbenchError as error:
        page.failure(error)
        return
    _previewed(seen)
    if st.button("Import", type="primary", key="traces_import_start", disabled=not seen.traces and not seen.feedback):
        with page.acting():
            visit.services.traces.begin_import(
                visit.actor, visit.project.id, path, file.name, format=chosen.format, columns=chosen.columns, scale=chosen.scale
            )
            st.session_state.pop("traces_import_seen", None)
            st.rerun()


def _choose(path: Path, found: str) -> _Chosen:
    chosen = st.selectbox(
        "Read as",
        FORMATS,
        index=FORMATS.index(found),
        format_func=FORMAT_WORDS.__getitem__,
        key=f"traces_import_format_{path.name}",
    )
    if chosen != "csv":
        return _Chosen(chosen, {}, (1.0, 5.0))
    header, guessed = header_of(path)
    st.markdown("**Columns**")
    st.caption("Which column of the file is which of ours. Columns that are left out are kept with the trace as metadata.")
    columns = _mapping(path, header, guessed, _FIRST)
    with st.expander("More columns"):
        columns |= _mapping(path, header, guessed, tuple(name for name in COLUMNS if name not in _FIRST))
    scale = (1.0, 5.0)
    if "rating" in columns:
        low, high = st.columns(2)
        scale = (
            low.number_input("Lowest rating", value=1.0, key="traces_import_low"),
            high.number_input("Highest rating", value=5.0, key="traces_import_high"),
        )
    return _Chosen(chosen, columns, scale)


def _mapping(path: Path, header: list[str], guessed: dict[str, str], names: tuple[str, ...]) -> dict[str, str]:
    options = ["", *header]
    columns: dict[str, str] = {}
    for start in range(0, len(names), 4):
        for place, ours in zip(st.columns(4), names[start : start + 4], strict=False):
            theirs = place.selectbox(
                _WORDS[ours],
                options,
                index=options.index(guessed[ours]) if ours in guessed else 0,
                format_func=lambda name: name or "not in the file",
                key=f"traces_import_{ours}_{path.name}",
            )
            if theirs:
                columns[ours] = theirs
    return columns


def _previewed(seen: Preview) -> None:
    st.markdown("**The first rows, as they will read**")
    if seen.traces:
        rows = [
            {
                "Question": trace["input"][:400],
                "Answer": trace["output"][:400],
                "Time": trace["started_at"],
                "Model": trace["model"] or "",
                "User": trace["user_id"] or "",
                "Session": trace["session_id"] or "",
                "Spans": trace["span_count"],
                "Tools": trace["tool_count"],
            }
            for trace in seen.traces
        ]
        st.dataframe(rows, hide_index=True, key="traces_import_preview")
    else:
        page.empty("No trace comes of these rows.", "See below why, and change how the file is read.")
    words = f"Of the first {page.count(seen.looked_at, 'record')}: {page.count(seen.feedback, 'signal')} of feedback"
    st.caption(f"{words}, {page.count(len(seen.bad_lines), 'line')} that cannot be read." if seen.bad_lines else f"{words}.")
    _bad(seen.bad_lines[:10])


@st.fragment(run_every=0.7)
def _running(visit: Visit, run_id: str) -> None:
    run = last_of(visit.context, visit.project.id, visit.actor.id)
    if run is None or run.id != run_id:
        st.rerun()
    if not run.ended:
        megabytes = f"{run.done / 1e6:,.1f} of {run.total / 1e6:,.1f} MB"
        words = "Making the traces readable" if run.total and run.done >= run.total else f"Reading {megabytes}"
        st.progress(run.share, text=f"{page.escape_markdown(run.name)}: {words}")
        st.caption("It goes on when you leave this page.")
        if st.button("Stop", key="traces_import_stop", disabled=run.cancelling):
            run.cancelling = True
        return
    _ended(run)


def _ended(run: ImportRun) -> None:
    if run.error is not None:
        page.failure(run.error)
    if run.report is not None:
        _reported(run.name, run.report)
    with st.container(horizontal=True):
        if st.button("Import another file", key="traces_import_again"):
            st.session_state["traces_import_seen"] = run.id
            st.session_state["traces_import_turn"] = st.session_state.get("traces_import_turn", 0) + 1
            st.rerun(scope="app")
        links.within("See the traces", key="traces_import_see", icon=":material/arrow_forward:", period="all")


def _reported(name: str, report: ImportReport) -> None:
    bad = [*report.bad_lines, *report.rejected]
    st.markdown(f"**{page.escape_markdown(name)}** ({FORMAT_WORDS.get(report.format, report.format)})")
    for place, (words, number) in zip(
        st.columns(4),
        (
            ("Traces", report.traces),
            ("New spans", report.new),
            ("Feedback", report.feedback),
            ("Bad lines", len(bad) + report.unnamed),
        ),
        strict=True,
    ):
        place.metric(words, f"{number:,}")
    if report.spans and not report.new:
        st.caption("Everything in this file was here already.")
    if bad:
        st.markdown("**Lines that were not imported**")
        _bad(bad[:_SHOWN])
        more = len(bad) + report.unnamed - _SHOWN
        if more > 0:
            st.caption(f"And {more:,} more; the download names {len(bad):,}.")
        st.download_button(
            "Download the list", _as_csv(bad), file_name="bad-lines.csv", mime="text/csv", key="traces_import_bad_download"
        )


def _bad(found: list[tuple[int, str]]) -> None:
    if found:
        narrow = {"Line": st.column_config.NumberColumn(width="small", format="%d")}
        st.dataframe([{"Line": number, "Why": why} for number, why in found], hide_index=True, column_config=narrow)


def _as_csv(found: list[tuple[int, str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["line", "why"])
    # A cell that begins like a formula would be run by spreadsheets.
    writer.writerows((number, f"'{why}" if why[:1] in "=+-@" else why) for number, why in found)
    return file.getvalue()


def _kept(visit: Visit, file: Any) -> Path:
    """The upload as a file, for as long as it is looked at; what others left behind for a day is removed."""
    folder = visit.context.settings.folder("run") / "imports"
    folder.mkdir(mode=0o700, exist_ok=True)
    suffix = re.sub(r"[^a-z0-9.]", "", Path(file.name).suffix.lower())
    path: Path = folder / f"{re.sub(r'[^A-Za-z0-9-]', '', file.file_id)}{suffix}"
    if not path.exists():
        _sweep(folder)
        path.write_bytes(file.getbuffer())
    return path


def _sweep(folder: Path) -> None:
    import time

    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > 86_400:
            old.unlink(missing_ok=True)
