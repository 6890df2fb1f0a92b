"""Every release and every move, newest first."""

import html

import pandas as pd
import streamlit as st

from workbench.releases import queries
from workbench.releases.models import Release
from workbench.releases.queries import Happening
from workbench.ui import charts, page, release_parts
from workbench.ui.guard import Visit

_WORDS = {
    "proposed": "proposed",
    "approved": "approved",
    "rejected": "rejected",
    "withdrawn": "withdrew",
    "promoted": "promoted",
    "rolled_back": "rolled back to",
}
_COLOURS = {
    "approved": charts.GOOD,
    "promoted": charts.ACCENT,
    "rolled_back": charts.WARM,
    "rejected": charts.BAD,
    "withdrawn": charts.MUTED,
    "proposed": charts.MUTED,
}
_PAGE = 25


def table(visit: Visit, releases: list[Release], live_id: str | None) -> None:
    """All releases; choosing one opens it."""
    if not releases:
        page.empty("There is no release yet.", "An engineer proposes the first one.")
        return
    rows = [
        {
            "Release": item.title,
            "State": "live" if item.id == live_id else item.state,
            "Changes": ", ".join(str(slot).replace("_", " ") for slot in item.manifest["changed"]) or "corpus policy",
            "Evidence": ", ".join(evidence["verdict"] for evidence in item.manifest["evidence"]) or "none",
            "Proposed by": item.proposed_by_name,
            "When": page.moment(item.proposed_at),
            "Manifest": page.short(item.manifest_hash),
        }
        for item in releases
    ]
    chosen = st.dataframe(
        pd.DataFrame(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key="releases_table"
    )
    st.caption("Choose a row to see what it changed, on which evidence, and who decided.")
    if chosen["selection"]["rows"]:
        release_parts.open_release(releases[chosen["selection"]["rows"][0]].id)


def timeline(visit: Visit) -> None:
    """Who proposed, decided, promoted and rolled back what, when and why."""
    with visit.read() as session:
        lines = queries.history(session, visit.context.settings, visit.project.id)
    if not lines:
        page.empty("Nothing has happened yet.", "Every proposal, decision, promotion and rollback appears here.")
        return
    shown = lines if len(lines) <= _PAGE or st.toggle(f"All {len(lines)} lines", key="releases_all_history") else lines[:_PAGE]
    st.html(f'<div style="display:flex;flex-direction:column">{"".join(map(_line, shown))}</div>')


def _line(line: Happening) -> str:
    colour = _COLOURS[line.kind]
    number = f" · move {line.move}" if line.move else ""
    words = f"{html.escape(line.by)} {_WORDS[line.kind]} <b>{html.escape(line.release.title)}</b>"
    reason = f'<div style="opacity:.8">“{html.escape(line.reason)}”</div>' if line.reason else ""
    broken = "" if line.holds else f'<div style="color:{charts.BAD}">The signature of this line does not hold.</div>'
    return (
        '<div style="display:grid;grid-template-columns:9.5rem 1.1rem 1fr;gap:.2rem .6rem;line-height:1.45">'
        f'<div style="opacity:.65;text-align:right">{page.moment(line.at)}</div>'
        '<div style="display:flex;flex-direction:column;align-items:center">'
        f'<div style="width:.65rem;height:.65rem;border-radius:50%;background:{colour};margin-top:.35rem;flex:none"></div>'
        '<div style="width:1px;flex:1;background:rgba(128,140,145,.4);min-height:1rem"></div></div>'
        f'<div style="padding-bottom:.8rem;overflow-wrap:anywhere">{words}<span style="opacity:.65">{number}</span>'
        f"{reason}{broken}</div></div>"
    )
