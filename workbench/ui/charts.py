"""Plotly figures with one look, in the theme's colours."""

from typing import Any

import plotly.graph_objects as go
import streamlit as st

ACCENT = "#1f6f78"
WARM = "#c0692b"
MUTED = "#8a979d"
GOOD = "#3c8d5a"
BAD = "#bd4b4b"


def figure(*, height: int = 240, x_title: str = "", y_title: str = "") -> go.Figure:
    """An empty figure: no grid noise, small margins, transparent ground, so that it fits light and dark."""
    made = go.Figure()
    made.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12},
        showlegend=False,
        hovermode="closest",
        xaxis={"title": x_title, "showgrid": False, "zeroline": False, "automargin": True},
        yaxis={"title": y_title, "gridcolor": "rgba(128,140,145,.18)", "zeroline": False, "automargin": True},
    )
    return made


def show(made: go.Figure, *, key: str, **options: Any) -> None:
    """Draw it across its container, without the floating tool bar."""
    st.plotly_chart(made, key=key, config={"displayModeBar": False}, theme="streamlit", **options)
