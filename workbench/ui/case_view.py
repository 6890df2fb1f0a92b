"""The cases of a comparison: a table with filters, and one case with both answers side by side."""

import html
from typing import Any

import pandas as pd
import streamlit as st

from workbench.evaluation.models import CaseResult, Comparison
from workbench.evaluation.queries import CasePair
from workbench.golden.formats import text_of
from workbench.ui import charts, diff, page

_FILTERS = {
    "All": None,
    "Different": {"gained", "lost"},
    "Regressions": {"lost"},
    "Gains": {"gained"},
    "Both failed": {"neither"},
}
_OUTCOMES = {
    "gained": "only the candidate passed",
    "lost": "only the incumbent passed",
    "both": "both passed",
    "neither": "both failed",
    "waiting": "not run yet",
}


def show(comparison: Comparison, pairs: list[CasePair]) -> None:
    """Filters, table, and the chosen case."""
    st.subheader("Cases", anchor=False)
    chosen = _filtered(pairs)
    if not chosen:
        page.empty("No case is like that.", "Choose another filter.")
        return
    picked = st.dataframe(
        pd.DataFrame([_row(comparison, pair) for pair in chosen]),
        hide_index=True,
        height=min(38 + 35 * len(chosen), 400),
        on_select="rerun",
        selection_mode="single-row",
        key=f"compare_cases_{comparison.id}",
        column_config={
            "Case": st.column_config.NumberColumn(width="small"),
            "Asked": st.column_config.TextColumn(width="large"),
            "Candidate score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
            "Incumbent score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1, width="small"),
        },
    )
    rows = picked["selection"]["rows"]
    if rows and rows[0] < len(chosen):
        st.query_params["case"] = str(chosen[rows[0]].case.position + 1)
    linked = st.query_params.get("case")
    shown = next((pair for pair in chosen if str(pair.case.position + 1) == linked), chosen[0])
    _case(comparison, shown)


def _filtered(pairs: list[CasePair]) -> list[CasePair]:
    which, language, intent, search = st.columns([5, 2, 2, 3], vertical_alignment="bottom")
    counts = {
        name: len(pairs) if wanted is None else sum(pair.outcome in wanted for pair in pairs)
        for name, wanted in _FILTERS.items()
    }
    name = which.segmented_control(
        "Show",
        list(_FILTERS),
        default="All",
        required=True,
        format_func=lambda item: f"{item} {counts[item]}",
        key="compare_filter",
    )
    wanted = _FILTERS[name or "All"]
    tag_language = language.selectbox("Language", ["any", *_values(pairs, "language")], key="compare_language")
    tag_intent = intent.selectbox("Intent", ["any", *_values(pairs, "intent")], key="compare_intent")
    words = search.text_input("Words in the case or the answers", key="compare_search").casefold().strip()
    return [
        pair
        for pair in pairs
        if (wanted is None or pair.outcome in wanted)
        and tag_language in ("any", pair.case.tags.get("language"))
        and tag_intent in ("any", pair.case.tags.get("intent"))
        and words in _everything(pair)
    ]


def _values(pairs: list[CasePair], tag: str) -> list[str]:
    return sorted({str(pair.case.tags[tag]) for pair in pairs if pair.case.tags.get(tag)})


def _everything(pair: CasePair) -> str:
    outputs = [row.output for row in (pair.candidate, pair.incumbent) if row]
    return "\n".join([text_of(pair.case.content), *outputs]).casefold()


def _row(comparison: Comparison, pair: CasePair) -> dict[str, Any]:
    value: dict[str, Any] = {
        "Case": pair.case.position + 1,
        "Outcome": _OUTCOMES[pair.outcome],
    }
    if comparison.task == "answers":
        value["Candidate score"] = round(pair.candidate.score, 2) if pair.candidate else None
        value["Incumbent score"] = round(pair.incumbent.score, 2) if pair.incumbent else None
    value["Asked"] = text_of(pair.case.content) or "erased"
    if comparison.task == "triage":
        value["Expected"] = pair.case.content.get("label", "")
    for title, row in (("Candidate", pair.candidate), ("Incumbent", pair.incumbent)):
        value[title] = row.output if row else ""
    value["Language"] = pair.case.tags.get("language", "")
    value["Intent"] = pair.case.tags.get("intent", "")
    return value


def _case(comparison: Comparison, pair: CasePair) -> None:
    case = pair.case
    with st.container(border=True, key="compare_case"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**Case {case.position + 1}**")
            colour = {"gained": "green", "lost": "red"}.get(pair.outcome, "gray")
            st.badge(_OUTCOMES[pair.outcome], color=colour)  # type: ignore[arg-type]
            page.plain(", ".join(f"{tag}: {value}" for tag, value in case.tags.items() if tag != "id"), muted=True)
        page.plain(text_of(case.content) or "This case was erased.")
        if pair.incumbent is None or pair.candidate is None:
            st.caption("Not both arms have run this case yet.")
            return
        st.divider()
        diff.side_by_side(
            pair.incumbent.output,
            pair.candidate.output,
            before_title=f"Incumbent · {comparison.incumbent_name}",
            after_title=f"Candidate · {comparison.candidate_name}",
        )
        left, right = st.columns(2, gap="medium")
        for column, row in ((left, pair.incumbent), (right, pair.candidate)):
            with column:
                _checks(row)
                _made_by(comparison, row)
        if reference := case.content.get("reference"):
            st.caption("A good answer, for reference")
            page.plain(str(reference), muted=True)


_CHECKS = {
    "label": "Label",
    "answered": "Says something",
    "must_state": "States",
    "must_not_state": "Does not state",
    "max_sentences": "Length",
    "citation": "Source",
    "decline": "Declines",
}


def _checks(row: CaseResult) -> None:
    lines = []
    for check in row.checks:
        sign, colour, spoken = ("✓", charts.GOOD, "holds") if check["ok"] else ("✕", charts.BAD, "broken")
        kind = _CHECKS.get(check["kind"], check["kind"])
        found = f" <span style='opacity:.7'>({html.escape(check['detail'])})</span>" if check["detail"] else ""
        lines.append(
            f"<div><span role='img' aria-label='{spoken}' style='color:{colour};font-weight:700'>{sign}</span> "
            f"<b>{kind}</b> {html.escape(check['expected'])}{found}</div>"
        )
    st.html(f"<div style='line-height:1.6'>{''.join(lines)}</div>")


def _made_by(comparison: Comparison, row: CaseResult) -> None:
    details = row.details
    if comparison.task == "triage":
        scores = ", ".join(f"{label} {share:.0%}" for label, share in (details.get("scores") or {}).items())
        page.plain(f"Probabilities: {scores}" if scores else "", muted=True)
        return
    facts = {
        "Made by": {"generate": "the model", "evidence": "the cited sentence", "decline": "declining"}.get(
            details.get("mode", ""), ""
        ),
        "Cites": ", ".join(details.get("cited") or []) or "nothing",
        "Evidence found": ", ".join(details.get("passages") or []) or "none",
        "Guard": "; ".join(f"{fired['rule'].replace('_', ' ')}: {fired['detail']}" for fired in details.get("guard") or [])
        or "nothing fired",
    }
    if details.get("written"):
        facts["The model wrote"] = str(details["written"])
    page.facts({name: value for name, value in facts.items() if value})
