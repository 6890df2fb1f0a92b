"""A list of traces as one component: reading, opening, selecting, by keyboard too. Sessions and users are listed alike."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from workbench.traces.queries import TraceSummary
from workbench.ui import page, trace_masking
from workbench.ui.trace_filters import View, go, write

_HERE = Path(__file__).parent
_TITLES = ["Time (UTC)", "Question and answer", "Team, language", "Model, release", "Latency, cost"]
_list = st.components.v2.component(
    "workbench.trace_list",
    html='<div class="list" id="list" role="grid"></div>',
    css=(_HERE / "trace_list.css").read_text(encoding="utf-8"),
    js=(_HERE / "trace_list.js").read_text(encoding="utf-8"),
)


def show(
    rows: list[TraceSummary],
    view: View,
    acts: list[tuple[str, str]],
    *,
    ranked: Mapping[str, float] | None = None,
    key: str = "trace_list",
) -> dict[str, Any] | None:
    """Draw the rows. A row that is opened is in the address when the next run begins.

    Args:
        acts: (kind, label) of what can be done with selected rows.
        ranked: trace id → how far its annotators are apart, where the order is by that.

    Returns:
        {"kind", "ids"} of an act on selected rows in this run; None otherwise.
    """
    ranked = ranked or {}
    made = [_row(row, view, ranked.get(row.trace_id)) for row in rows]
    data = {"label": "Traces", "titles": _TITLES, "rows": made, "acts": [list(act) for act in acts]}
    known = {row.trace_id for row in rows}

    def open_it() -> None:
        if (opened := st.session_state[key].get("open")) in known:
            go(view, trace=opened)

    act = _list(key=key, data=data, on_open_change=open_it, on_act_change=_nothing, on_way_change=_nothing).get("act")
    if isinstance(act, dict) and isinstance(act.get("ids"), list):
        return {"kind": str(act.get("kind")), "ids": [one for one in act["ids"] if one in known]}
    return None


def show_groups(label: str, titles: list[str], rows: list[dict[str, Any]], *, key: str) -> tuple[str | None, str | None]:
    """Draw rows of anything else: five titles, and rows as `_row` makes them.

    A line of a cell may be words, {"words", "way", "title"?} for a way to something else, or {"bars": [[number, of these low]],
    "title"}.

    Returns:
        The id of the row that was opened in this run, and the `way` that was taken; None each otherwise.
    """
    data = {"label": label, "titles": titles, "rows": rows, "acts": []}
    result = _list(key=key, data=data, on_open_change=_nothing, on_act_change=_nothing, on_way_change=_nothing)
    opened, way = result.get("open"), result.get("way")
    ways = {line["way"] for row in rows for pair in row["cells"] for line in pair if isinstance(line, dict) and "way" in line}
    return (opened if opened in {row["id"] for row in rows} else None), (way if way in ways else None)


def short_id(name: str) -> str:
    """An id that the application gave, short enough for a list; a pseudonym stays whole."""
    return name if len(name) <= 24 else f"{name[:14]}…{name[-6:]}"


def link(trace_id: str, view: View) -> str:
    """The address of a trace within a view."""
    return "/traces?" + urlencode({**write(view), "trace": trace_id}, doseq=True)


def money(amount: Decimal | None, currency: str) -> str:
    """A cost as people read it: two significant digits below a cent."""
    if amount is None:
        return ""
    if amount == 0:
        return f"0 {currency}"
    return (
        f"{amount:.2f} {currency}"
        if abs(amount) >= 1
        else f"{float(amount):.2g} {currency}"
        if amount >= Decimal("0.0001")
        else f"{amount:.6f} {currency}"
    )


def milliseconds(value: float | None) -> str:
    """A latency: `320 ms`, `1.4 s`, `2 min 5 s`."""
    if value is None:
        return ""
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 60_000 else page.duration(value / 1000)


def _row(row: TraceSummary, view: View, apart: float | None = None) -> dict[str, Any]:
    day = f"{row.started_at:%-d %b %H:%M}"
    marks = [["bad", "error"]] if row.status == "error" else []
    marks += [["good", "correction"]] if row.has_correction else []
    if masked := sum(row.mask_counts.values()):
        marks.append(["dim", f"{masked:,} masked", f"Masked on the way in: {trace_masking.in_words(row.mask_counts)}"])
    marks += [["bad" if apart else "", f"disagreement {apart:.2f}"]] if apart is not None else []
    marks += [["", tag] for tag in row.tags[:6]]
    return {
        "id": row.trace_id,
        "link": link(row.trace_id, view),
        "time": day,
        "exact": f"{row.started_at:%Y-%m-%d %H:%M:%S} UTC",
        "rating": row.rating,
        "question": row.input_preview,
        "answer": row.output_preview,
        "error": row.error or "",
        "failed": row.status == "error",
        "marks": marks,
        "cells": [
            [row.triage_label or "", row.language or ""],
            [row.model or "", page.short(row.release) if row.release else ""],
            [milliseconds(row.duration_ms), money(row.cost, row.currency)],
        ],
    }


def _nothing() -> None:
    """Streamlit only reports values that have a callback."""
