"""A comparison's verdict, in words first and then as pictures."""

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from workbench.evaluation.gate import signed
from workbench.evaluation.models import Comparison
from workbench.evaluation.rule import Rule
from workbench.evaluation.statistics import SMALLEST_SLICE
from workbench.ui import charts, page

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "orange"}
_KINDS = {
    "label": "Right label",
    "answered": "Says something",
    "must_state": "States the facts",
    "must_not_state": "Keeps from what must not be stated",
    "max_sentences": "Keeps to the number of sentences",
    "citation": "Cites the evidence",
    "decline": "Declines without evidence",
}
_MOST_SLICES = 24


def verdict_words(comparison: Comparison) -> str:
    """The verdict, or that there is none yet."""
    return comparison.verdict or "no verdict yet"


def show(comparison: Comparison) -> None:
    """The verdict, why, the intervals, and each kind of check."""
    found = comparison.statistics
    with st.container(border=True, key="compare_verdict"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(str(comparison.verdict), color=COLOURS[str(comparison.verdict)])  # type: ignore[arg-type]
            page.big(found["headline"])
        for reason in found["reasons"]:
            page.plain(reason)
        with st.expander("The rule"):
            page.plain(Rule.from_json(comparison.rule).in_words())
            st.caption("It was set before the first case ran. Nobody can edit a verdict; another comparison can be run.")
    all_cases = found["difference"]
    _numbers(comparison, all_cases)
    st.subheader("Candidate minus incumbent, in percentage points of cases passed", anchor=False)
    charts.show(forest(comparison), key=f"compare_forest_{comparison.id}")
    st.caption(_forest_words(all_cases))
    _kinds(comparison)


def _numbers(comparison: Comparison, found: dict[str, Any]) -> None:
    scores = comparison.statistics["scores"]
    columns = st.columns(4)
    pairs = found["pairs"]
    columns[0].metric("Candidate passed", f"{found['candidate_passed']} of {pairs}", help=comparison.candidate_name)
    columns[1].metric("Incumbent passed", f"{found['incumbent_passed']} of {pairs}", help=comparison.incumbent_name)
    columns[2].metric(
        "Only one of them passed",
        f"+{found['gained']} / −{found['lost']}",
        help="Cases that only the candidate passed, and cases that only the incumbent passed.",
    )
    columns[3].metric(
        "Checks held, on average",
        f"{scores['candidate']:.0%} against {scores['incumbent']:.0%}",
        help=f"Difference {signed(scores['value'])} points, 95% interval {signed(scores['low'])} to {signed(scores['high'])}.",
    )


def forest(comparison: Comparison) -> go.Figure:
    """Every interval on one axis: all cases, then each guarded tag's values."""
    found = comparison.statistics
    margin = float(comparison.rule["margin_points"])
    rows = [("All cases", found["difference"], False)]
    ordered = sorted(found["slices"], key=lambda item: (item["tag"], -item["difference"]["pairs"]))
    rows += [(f"{item['tag']}: {item['value']}", item["difference"], item["significantly_worse"]) for item in ordered]
    rows = rows[:_MOST_SLICES]
    made = charts.figure(height=90 + 28 * len(rows), x_title="percentage points")
    names = [f"{name} ({values['pairs']})" for name, values, _worse in rows]
    for index, (_name, values, worse) in enumerate(rows):
        colour = charts.BAD if worse else charts.ACCENT if index == 0 else charts.MUTED
        made.add_scatter(
            x=[values["value"] * 100],
            y=[names[index]],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(values["high"] - values["value"]) * 100],
                "arrayminus": [(values["value"] - values["low"]) * 100],
                "thickness": 3 if index == 0 else 1.5,
                "width": 0,
            },
            marker={"size": 11 if index == 0 else 8, "color": colour, "symbol": "diamond" if index == 0 else "circle"},
            mode="markers",
            hovertemplate=f"{_interval(values)}<extra></extra>",
        )
    made.add_vline(x=0, line={"color": charts.MUTED, "width": 1})
    made.add_vline(
        x=-margin,
        line={"color": charts.WARM, "width": 1, "dash": "dash"},
        annotation_text=f"margin −{margin:g}",
        annotation_position="top",
    )
    made.update_layout(margin={"l": 8, "r": 8, "t": 24, "b": 8}, yaxis={"autorange": "reversed", "gridcolor": "rgba(0,0,0,0)"})
    return made


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"


def _interval(found: dict[str, Any]) -> str:
    return f"{signed(found['value'])} points, {signed(found['low'])} to {signed(found['high'])}"


def _forest_words(found: dict[str, Any]) -> str:
    clustered = ""
    if found["clusters"] < found["pairs"]:
        clustered = (
            f" The {found['pairs']} cases come from {found['clusters']} conversations, so the intervals are "
            f"{found['design_effect'] ** 0.5:.1f} times as wide."
        )
    return (
        "Right of the line: the candidate passes more. Each bar is a 95% interval (Tango's score interval), its cases in "
        f"brackets. Exact test over all cases: {_p(found['p_value'])}.{clustered} A slice counts as worse only after "
        "Holm's correction for looking at all of them; otherwise it is a hint. Values with fewer than "
        f"{SMALLEST_SLICE} cases are left out: so few show nothing."
    )


def _kinds(comparison: Comparison) -> None:
    kinds = comparison.statistics.get("checks") or {}
    if set(kinds) <= {"label"}:
        return
    st.subheader("What held, by kind of check", anchor=False)
    made = charts.figure(height=60 + 46 * len(kinds), x_title="percent of the checks that held")
    for arm, colour in (("incumbent", charts.MUTED), ("candidate", charts.ACCENT)):
        shown = {kind: counts[arm] for kind, counts in kinds.items() if arm in counts}
        made.add_bar(
            y=[_KINDS.get(kind, kind) for kind in shown],
            x=[100 * held / asked for held, asked in shown.values()],
            orientation="h",
            name=arm,
            marker_color=colour,
            text=[f"{held} of {asked}" for held, asked in shown.values()],
            textposition="auto",
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    made.update_layout(
        barmode="group",
        showlegend=True,
        legend={"orientation": "h", "y": 1.1, "x": 0, "traceorder": "reversed"},
        yaxis={"autorange": "reversed"},
        xaxis={"range": [0, 100]},
    )
    charts.show(made, key=f"compare_kinds_{comparison.id}")
