"""The list of traces as one component: reading, opening, selecting, all by keyboard too."""

from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from workbench.traces.queries import TraceSummary
from workbench.ui import page, trace_masking
from workbench.ui.trace_filters import View, write

_HERE = Path(__file__).parent
_list = st.components.v2.component(
    "workbench.trace_list",
    html='<div class="list" id="list" role="grid" aria-label="Traces"></div>',
    css=(_HERE / "trace_list.css").read_text(encoding="utf-8"),
    js=(_HERE / "trace_list.js").read_text(encoding="utf-8"),
)


def show(
    rows: list[TraceSummary], view: View, acts: list[tuple[str, str]], *, key: str = "trace_list"
) -> tuple[str | None, dict[str, Any] | None]:
    """Draw the rows.

    Args:
        acts: (kind, label) of what can be done with selected rows.

    Returns:
        The trace id that was opened in this run, and {"kind", "ids"} of an act on selected rows; None each otherwise.
    """
    data = {"rows": [_row(row, view) for row in rows], "acts": [list(act) for act in acts]}
    result = _list(key=key, data=data, on_open_change=_nothing, on_act_change=_nothing)
    opened, act = result.get("open"), result.get("act")
    known = {row.trace_id for row in rows}
    if isinstance(act, dict) and isinstance(act.get("ids"), list):
        act = {"kind": str(act.get("kind")), "ids": [one for one in act["ids"] if one in known]}
    else:
        act = None
    return (opened if opened in known else None), act


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


def _row(row: TraceSummary, view: View) -> dict[str, Any]:
    day = f"{row.started_at:%-d %b %H:%M}"
    marks = [["bad", "error"]] if row.status == "error" else []
    marks += [["good", "correction"]] if row.has_correction else []
    if masked := sum(row.mask_counts.values()):
        marks.append(["dim", f"{masked:,} masked", f"Masked on the way in: {trace_masking.in_words(row.mask_counts)}"])
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
