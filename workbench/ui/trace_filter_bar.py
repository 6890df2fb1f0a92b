"""The filter bar of the traces page: what is used most in a row, the rest behind a button, and a chip for what of it is on."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import streamlit as st

from workbench.core.clock import now
from workbench.traces.facets import Facets
from workbench.traces.filters import HAS, TraceFilter
from workbench.ui import page
from workbench.ui.trace_filters import CHOICES, ENDS, FLAGS, NUMBERS, PERIODS, View, go, read, saved_id, signal, spelled

FIRST_ROW = ("model", "release", "language")
_TABS = {
    "What it was": ("status", "triage_label", "intent", "tool", "operation", "environment", "dialect"),
    "What answered": ("provider", "prompt_version", "corpus_commit"),
    "Tags and fields": ("tag", "tag_any", "tag_none", "has", "lacks"),
}
RATINGS = ("", "-2", "-3", "4-")
_SIGNALS = {"": "Any", "yes": "With feedback", "no": "Without feedback", "correction": "With a correction"}
_WORDS = {"session": "Session", "user": "User"}


def bar(view: View, facets: Facets) -> None:
    """The filter bar. A change goes into the address and back to the first page."""
    _fill_widgets(view)
    others = chips(view.filters)
    shown_chips = others + ([(f"Like trace {view.similar[:8]}", None)] if view.similar else [])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(
            "Search",
            key="traces_q",
            on_change=_changed,
            placeholder="question or answer",
            icon=":material/search:",
            width=165,
        )
        st.selectbox(
            "Search by", ["words", "meaning"], key="traces_by", on_change=_changed, width=94,
            help="Words: the text occurs in question, answer or tool name. Meaning: questions that ask something alike.",
        )  # fmt: skip
        st.selectbox(
            "Period", list(PERIODS), format_func=PERIODS.__getitem__, key="traces_period", on_change=_changed, width=118
        )
        ratings = [*RATINGS, *({rated(view.filters)} - set(RATINGS))]
        st.selectbox("Rating", ratings, format_func=rating_words, key="traces_rating", on_change=_changed, width=104)
        for name in FIRST_ROW:
            _choice(name, view, facets, width=98)
        with st.popover(f"More ({len(others)})" if others else "More", key="traces_more", on_change="rerun") as more:
            if more.open:  # dozens of widgets, which every other run would pay for
                _more(view, facets)
    if view.period == "dates":
        st.date_input("Days (UTC)", key="traces_dates", on_change=_changed, width=280)
    if shown_chips:
        with st.container(horizontal=True, gap="small", key="traces_chips"):
            for number, (words, without) in enumerate(shown_chips):
                st.button(
                    page.escape_markdown(words), key=f"traces_chip_{number}", icon=":material/close:", icon_position="right",
                    on_click=_without, args=(without,), help="Remove this filter",
                )  # fmt: skip


def _more(view: View, facets: Facets) -> None:
    if not facets.exact:
        st.caption("Counts are of whole days, the first and the last one included.")
    titles = [*_TABS, "Numbers", "Who and feedback"]
    tabs = dict(zip(titles, st.tabs(titles), strict=True))
    for title, names in _TABS.items():
        with tabs[title]:
            for name in names:
                _choice(name, view, facets)
    with tabs["Numbers"]:
        for name, words in NUMBERS.items():
            low, high = st.columns(2)
            low.number_input(f"{words}, from", min_value=0.0, step=None, key=f"traces_{name}_min", on_change=_changed)
            high.number_input("to", min_value=0.0, step=None, key=f"traces_{name}_max", on_change=_changed)
    with tabs["Who and feedback"]:
        st.selectbox("Feedback", list(_SIGNALS), format_func=_SIGNALS.__getitem__, key="traces_feedback", on_change=_changed)
        for name, (_, words, yes, no) in FLAGS.items():
            choices = {"": "Any", "yes": yes, "no": no}
            st.selectbox(words, list(choices), format_func=choices.__getitem__, key=f"traces_{name}", on_change=_changed)
        for name, words in _WORDS.items():
            st.text_input(words, key=f"traces_{name}", on_change=_changed)


def chips(filters: TraceFilter) -> list[tuple[str, dict[str, Any]]]:
    """What is on of the filters that the row does not show: words, and the fields to set to take it off."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, title in CHOICES.items():
        if name not in FIRST_ROW:
            values = getattr(filters, name)
            said = {one: one.replace("_", " ") if name in ("has", "lacks") else one for one in values}
            found += [(f"{title}: {said[one]}", {name: tuple(other for other in values if other != one)}) for one in values]
    for name, title in NUMBERS.items():
        low, high = getattr(filters, f"{name}_min"), getattr(filters, f"{name}_max")
        if low is not None or high is not None:
            ends = {(False, False): f"{spelled(low)} to {spelled(high)}", (True, False): f"at most {spelled(high)}"}
            words = ends.get((low is None, high is None), f"at least {spelled(low)}")
            found.append((f"{title.partition(' (')[0]}: {words}", {f"{name}_min": None, f"{name}_max": None}))
    if signal(filters):
        found.append((_SIGNALS[signal(filters)], {"has_feedback": None, "has_correction": None}))
    for field, title, yes, no in FLAGS.values():
        value = getattr(filters, field)
        if value is not None:
            found.append((f"{title}: {yes if value else no}", {field: None}))
    found += [(f"{title}: {value}", {name: None}) for name, title in _WORDS.items() if (value := getattr(filters, name))]
    return found + ([("Low-rated, about one thing", {"cluster": None})] if filters.cluster else [])


def _without(changes: dict[str, Any] | None) -> None:
    view = read(st.query_params)
    if changes is None:
        go(replace(view, similar=None, after=None))
    else:
        go(replace(view, filters=replace(view.filters, **changes), after=None))


def _choice(name: str, view: View, facets: Facets, *, width: Any = "stretch") -> None:
    values = getattr(view.filters, name)
    if name in ("has", "lacks"):
        counts: dict[str, int] = {}
        options = list(HAS)
    else:
        counts = dict(facets.values.get("tag" if name.startswith("tag") else name, []))
        options = [*counts, *(value for value in values if value not in counts)]

    def words(value: str) -> str:
        if value in HAS and not counts:
            return value.replace("_", " ")
        return f"{value} ({counts[value]:,})" if value in counts else f"{value} (0)"

    st.multiselect(
        CHOICES[name], options, key=f"traces_{name}", on_change=_changed, format_func=words, placeholder="any", width=width
    )


def _fill_widgets(view: View) -> None:
    """The address is the truth; widgets show it."""
    state, filters = st.session_state, view.filters
    state["traces_q"] = filters.text
    state["traces_by"] = "meaning" if view.by_meaning else "words"
    state["traces_period"] = view.period
    state["traces_rating"] = rated(filters)
    state["traces_feedback"] = signal(filters)
    for name in _WORDS:
        state[f"traces_{name}"] = getattr(filters, name) or ""
    for name in CHOICES:
        state[f"traces_{name}"] = list(getattr(filters, name))
    for name in ENDS:
        if not name.startswith("rating"):
            state[f"traces_{name}"] = getattr(filters, name)
    for name, (field, *_) in FLAGS.items():
        state[f"traces_{name}"] = {True: "yes", False: "no", None: ""}[getattr(filters, field)]
    if view.period == "dates":
        today = now().date()
        first = filters.since.date() if filters.since else today - timedelta(days=30)
        last = (filters.until - timedelta(days=1)).date() if filters.until else today
        state["traces_dates"] = (first, max(first, last))


def _changed() -> None:
    """Read the widgets into the address."""
    state = st.session_state
    low, _, high = state["traces_rating"].partition("-")
    query: dict[str, Any] = {
        "q": state["traces_q"].strip(),
        "period": state["traces_period"],
        "rating_min": low,
        "rating_max": high,
        "feedback": state["traces_feedback"],
        "sort": st.query_params.get("sort", ""),
        "view": saved_id(st.query_params) or "",
        "cluster": st.query_params.get("cluster", ""),
        "by": state["traces_by"],
        "similar": st.query_params.get("similar", ""),
        **{name: state[f"traces_{name}"].strip() for name in _WORDS},
        **{name: state[f"traces_{name}"] for name in (*CHOICES, *FLAGS)},
        **{name: spelled(state[f"traces_{name}"]) for name in ENDS if not name.startswith("rating")},
    }
    if state["traces_period"] == "dates":
        today = now().date()
        chosen = state.get("traces_dates") or (today - timedelta(days=30), today)
        query["since"] = chosen[0].isoformat()
        query["until"] = (chosen[1] if len(chosen) > 1 else chosen[0]).isoformat()
    go(read(query))


def rated(filters: TraceFilter) -> str:
    """The rating range as `low-high`, either side empty where it is open; empty for any."""
    low, high = (spelled(end) or "" for end in (filters.rating_min, filters.rating_max))
    return f"{low}-{high}" if low or high else ""


def rating_words(choice: str) -> str:
    """A range as `rated` spells it, in words."""
    low, _, high = choice.partition("-")
    if low and high:
        return f"{low} to {high}" if low != high else low
    return f"{high} or lower" if high else f"{low} or higher" if low else "any"
