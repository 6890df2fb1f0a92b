"""Filters of the traces page, kept in the address: a link reopens the view."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import streamlit as st

from workbench.core.clock import now
from workbench.traces.queries import SORTS, TraceFilter

PERIODS = {
    "1d": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "all": "All time",
    "dates": "Dates",
}
DEFAULT_PERIOD = "90d"
CHOICES = {
    "model": "Model", "release": "Release", "language": "Language", "status": "Status", "triage_label": "Triage label",
    "intent": "Intent", "tag": "Tag", "environment": "Environment", "dialect": "Dialect",
}  # fmt: skip
"""Filter field and query parameter → its name on the page."""
FIRST_ROW = ("model", "release", "language", "status")
_SAVED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_RATINGS = ("", "-2", "-3", "4-")
_SIGNALS = {"": "Any", "yes": "With feedback", "no": "Without feedback", "correction": "With a correction"}


@dataclass(frozen=True)
class View:
    """What the list shows."""

    filters: TraceFilter
    period: str
    sort: str
    after: str | None
    saved: str | None = None
    """The saved view that it began as; its filters may have been changed since."""

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the period filters."""
        return not replace(self.filters, since=None, until=None).is_empty


def read(query: Mapping[str, Any], *, moment: datetime | None = None) -> View:
    """The view that an address describes; what makes no sense in it is passed over.

    Args:
        query: query parameters, with `get` for one value and, on Streamlit's, `get_all` for several.
    """
    moment = moment or now()
    period = _one(query, "period") or DEFAULT_PERIOD
    since, until = _day(_one(query, "since")), _day(_one(query, "until"))
    if since or until:
        period = "dates"
    elif period not in PERIODS or period == "dates":
        period = DEFAULT_PERIOD
    if period.endswith("d"):
        since = (moment - timedelta(days=int(period[:-1]))).replace(second=0, microsecond=0)
    signal = _one(query, "feedback")
    filters = TraceFilter(
        since=since,
        until=until + timedelta(days=1) if until else None,
        text=(_one(query, "q") or "")[:200],
        session=_one(query, "session"),
        user=_one(query, "user"),
        rating_min=_rating(_one(query, "rating_min")),
        rating_max=_rating(_one(query, "rating_max")),
        has_feedback={"yes": True, "no": False}.get(signal or ""),
        has_correction=True if signal == "correction" else None,
        **{name: _several(query, name) for name in CHOICES},
    )
    sort = _one(query, "sort") or "newest"
    return View(filters, period, sort if sort in SORTS else "newest", _one(query, "after"), saved_id(query))


def write(view: View) -> dict[str, Any]:
    """The query parameters of a view, without those that say nothing.

    A saved view's id alone stands for its filters, so beside it the period is always said.
    """
    filters = view.filters
    query: dict[str, Any] = {
        "view": view.saved,
        "period": view.period if view.saved or view.period != DEFAULT_PERIOD else None,
        "q": filters.text,
        "session": filters.session,
        "user": filters.user,
        "rating_min": f"{filters.rating_min:g}" if filters.rating_min is not None else None,
        "rating_max": f"{filters.rating_max:g}" if filters.rating_max is not None else None,
        "feedback": _signal(filters) or None,
        "sort": view.sort if view.sort != "newest" else None,
        "after": view.after,
        **{name: list(getattr(filters, name)) for name in CHOICES},
    }
    if view.period == "dates":
        query["period"] = None
        query["since"] = filters.since.date().isoformat() if filters.since else None
        query["until"] = (filters.until - timedelta(days=1)).date().isoformat() if filters.until else None
    return {name: value for name, value in query.items() if value}


def bar(view: View, facets: Mapping[str, list[tuple[str, int]]]) -> None:
    """The filter bar. A change goes into the address and back to the first page."""
    _fill_widgets(view)
    more = sum(bool(getattr(view.filters, name)) for name in CHOICES if name not in FIRST_ROW) + _other_filters(view.filters)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(
            "Search",
            key="traces_q",
            on_change=_changed,
            placeholder="words in question or answer",
            icon=":material/search:",
            width=195,
        )
        st.selectbox(
            "Period", list(PERIODS), format_func=PERIODS.__getitem__, key="traces_period", on_change=_changed, width=130
        )
        ratings = [*_RATINGS, *({_rated(view.filters)} - set(_RATINGS))]
        st.selectbox("Rating", ratings, format_func=_rating_words, key="traces_rating", on_change=_changed, width=112)
        for name in FIRST_ROW:
            _choice(name, view, facets, width=106)
        with st.popover(f"More ({more})" if more else "More", key="traces_more"):
            st.selectbox(
                "Feedback", list(_SIGNALS), format_func=_SIGNALS.__getitem__, key="traces_feedback", on_change=_changed
            )
            for name in CHOICES:
                if name not in FIRST_ROW:
                    _choice(name, view, facets)
            st.text_input("Session", key="traces_session", on_change=_changed)
            st.text_input("User", key="traces_user", on_change=_changed)
    if view.period == "dates":
        st.date_input("Days (UTC)", key="traces_dates", on_change=_changed, width=280)


def go(view: View, *, trace: str | None = None) -> None:
    """Put a view into the address. It is never left empty: that would mean the view that this person begins with."""
    query = {**write(view), **({"trace": trace} if trace else {})}
    st.query_params.from_dict(query or {"period": DEFAULT_PERIOD})


def saved_id(query: Mapping[str, Any]) -> str | None:
    """The saved view that an address names; other values of `view` are pages of their own."""
    name = _one(query, "view") or ""
    return name if _SAVED.fullmatch(name) else None


def _choice(name: str, view: View, facets: Mapping[str, list[tuple[str, int]]], *, width: Any = "stretch") -> None:
    counts = dict(facets.get(name, []))
    options = [*counts, *(value for value in getattr(view.filters, name) if value not in counts)]
    st.multiselect(
        CHOICES[name],
        options,
        key=f"traces_{name}",
        on_change=_changed,
        format_func=lambda value: f"{value} ({counts[value]:,})" if value in counts else f"{value} (0)",
        placeholder="any",
        width=width,
    )


def _fill_widgets(view: View) -> None:
    """The address is the truth; widgets show it."""
    state, filters = st.session_state, view.filters
    state["traces_q"] = filters.text
    state["traces_period"] = view.period
    state["traces_rating"] = _rated(filters)
    state["traces_feedback"] = _signal(filters)
    state["traces_session"], state["traces_user"] = filters.session or "", filters.user or ""
    for name in CHOICES:
        state[f"traces_{name}"] = list(getattr(filters, name))
    if view.period == "dates":
        today = now().date()
        first = filters.since.date() if filters.since else today - timedelta(days=30)
        last = (filters.until - timedelta(days=1)).date() if filters.until else today
        state["traces_dates"] = (first, max(first, last))


def _changed() -> None:
    """Read the widgets into the address."""
    state = st.session_state
    low, _, high = state["traces_rating"].partition("-")
    signal = state["traces_feedback"]
    query: dict[str, Any] = {
        "q": state["traces_q"].strip(),
        "period": state["traces_period"],
        "session": state["traces_session"].strip(),
        "user": state["traces_user"].strip(),
        "rating_min": low,
        "rating_max": high,
        "feedback": signal,
        "sort": st.query_params.get("sort", ""),
        "view": saved_id(st.query_params) or "",
        **{name: state[f"traces_{name}"] for name in CHOICES},
    }
    if state["traces_period"] == "dates":
        today = now().date()
        chosen = state.get("traces_dates") or (today - timedelta(days=30), today)
        query["since"] = chosen[0].isoformat()
        query["until"] = (chosen[1] if len(chosen) > 1 else chosen[0]).isoformat()
    go(read(query))


def _other_filters(filters: TraceFilter) -> int:
    return bool(_signal(filters)) + bool(filters.session) + bool(filters.user)


def _rated(filters: TraceFilter) -> str:
    """The rating range as `low-high`, either side empty where it is open; empty for any."""
    low, high = (f"{end:g}" if end is not None else "" for end in (filters.rating_min, filters.rating_max))
    return f"{low}-{high}" if low or high else ""


def _rating_words(choice: str) -> str:
    low, _, high = choice.partition("-")
    if low and high:
        return f"{low} to {high}" if low != high else low
    return f"{high} or lower" if high else f"{low} or higher" if low else "any"


def _signal(filters: TraceFilter) -> str:
    if filters.has_correction:
        return "correction"
    return {True: "yes", False: "no", None: ""}[filters.has_feedback]


def _one(query: Mapping[str, Any], name: str) -> str | None:
    value = query.get(name)
    if isinstance(value, list | tuple):
        value = value[-1] if value else None
    return str(value) if value else None


def _several(query: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = query.get_all(name) if hasattr(query, "get_all") else query.get(name, [])
    values = [values] if isinstance(values, str) else values
    return tuple(dict.fromkeys(str(value)[:200] for value in values if value))[:50]


def _day(text: str | None) -> datetime | None:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _rating(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 1 <= value <= 5 else None
