"""Above lists of sessions and users: filters that make sense there, in the address, and how the address is written."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import streamlit as st

from workbench.core.errors import InvalidInput
from workbench.traces.facets import Facets, facets_within
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import By
from workbench.ui import guard, links, page, trace_filters, trace_pager
from workbench.ui.guard import Visit
from workbench.ui.trace_filter_bar import FIRST_ROW, RATINGS, chips, rated, rating_words
from workbench.ui.trace_filters import CHOICES, PERIODS, View

_Page = TypeVar("_Page")

_ERRORS = {"": "any", "yes": "some failed", "no": "none failed"}
_ITSELF: dict[By, str] = {"session_id": "session", "user_id": "user"}


def read(by: By) -> tuple[View, str | None]:
    """The filters of the address, and the session or user that is open."""
    view = trace_filters.read(st.query_params)
    name = _ITSELF[by]
    opened = getattr(view.filters, name)
    changes: dict[str, Any] = {name: None}
    filters = replace(view.filters, **changes)
    return replace(view, filters=filters, sort="newest", saved=None, by_meaning=False, similar=None), opened


def address(name: str, view: View, **more: str | None) -> dict[str, Any]:
    """The query parameters of a list, or with `session` or `user` of one of its rows."""
    return {**trace_filters.write(view), "view": name, **{key: value for key, value in more.items() if value}}


def go(name: str, view: View, **more: str | None) -> None:
    """Put it into the address."""
    st.query_params.from_dict(address(name, view, **more))


def bar(visit: Visit, name: str, by: By, view: View) -> None:
    """The filters. A change goes into the address and back to the first page."""
    facets = _facets(visit.project.id, view.filters.since, view.filters.until)
    state, filters = st.session_state, view.filters
    state["groups_q"], state["groups_period"], state["groups_rating"] = filters.text, view.period, rated(filters)
    state["groups_errors"] = {True: "yes", False: "no", None: ""}[filters.has_error]
    state["groups_user"] = filters.user or ""
    change: dict[str, Any] = {"on_change": _changed, "args": (name, by)}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Search", key="groups_q", placeholder="question or answer", icon=":material/search:", width=160, **change)
        periods = [one for one in PERIODS if one != "dates" or view.period == "dates"]
        st.selectbox("Period", periods, format_func=PERIODS.__getitem__, key="groups_period", width=116, **change)
        ratings = [*RATINGS, *({rated(filters)} - set(RATINGS))]
        st.selectbox("Rating", ratings, format_func=rating_words, key="groups_rating", width=102, **change)
        st.selectbox("Errors", list(_ERRORS), format_func=_ERRORS.__getitem__, key="groups_errors", width=102, **change)
        for field in FIRST_ROW:
            counts = dict(facets.values.get(field, []))
            chosen = list(getattr(filters, field))
            state[f"groups_{field}"] = chosen
            options = [*counts, *(one for one in chosen if one not in counts)]
            st.multiselect(CHOICES[field], options, key=f"groups_{field}", placeholder="any", width=98, **change)
        if by == "session_id":
            st.text_input("User", key="groups_user", placeholder="any", width=112, **change)
    shown = [(words, without) for words, without in chips(filters) if not {"user", "has_error"} & set(without)]
    if shown:
        with st.container(horizontal=True, gap="small", key="groups_chips"):
            for number, (words, without) in enumerate(shown):
                st.button(
                    page.escape_markdown(words), key=f"groups_chip_{number}", icon=":material/close:", icon_position="right",
                    on_click=_without, args=(name, by, without), help="Remove this filter",
                )  # fmt: skip


def page_of(listing: Callable[..., _Page], after: str | None) -> _Page:
    """The page of a list that the address names, or the first one."""
    try:
        return listing(after=after)
    except InvalidInput:  # an address made by hand; its first page is what was meant
        return listing()


def ways(view: View, here: str, others: dict[str, str]) -> None:
    """Back to the traces, and to the other lists, with the same filters."""
    kept = trace_filters.write(replace(view, after=None))
    with st.container(horizontal=True, vertical_alignment="center"):
        links.within(
            "All traces",
            key=f"{here}_traces",
            icon=":material/arrow_back:",
            **(kept or {"period": trace_filters.DEFAULT_PERIOD}),
        )
        for name, words in others.items():
            links.within(words, key=f"{here}_{name}", **{**kept, "view": name})


def none_sent(what: str, attributes: str) -> None:
    """The empty state of a project whose traces name no session, or no user."""
    page.empty(
        f"No {what} ids were sent.",
        f"Set {attributes} on the spans that your application sends: `workbench.{what}_id` works beside every convention. "
        "Traces that are here already stay without one.",
    )


def no_hit(name: str, what: str) -> None:
    """The empty state of a filter that hits nothing."""
    page.empty(f"No {what} is like that.", "Remove a filter or choose a longer period.")
    st.button("Clear all filters", key="groups_clear", on_click=_clear, args=(name,))


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _facets(project_id: str, since: Any, until: Any) -> Facets:
    with guard.services().context.database.session() as session:
        return facets_within(session, project_id, TraceFilter(since=since, until=until))


def _changed(name: str, by: By) -> None:
    """Read the widgets into the address."""
    state = st.session_state
    view, _ = read(by)
    low, _, high = state["groups_rating"].partition("-")
    query = {
        **trace_filters.write(view),
        "q": state["groups_q"].strip(),
        "period": state["groups_period"],
        "rating_min": low,
        "rating_max": high,
        "errors": state["groups_errors"],
        **{field: state[f"groups_{field}"] for field in FIRST_ROW},
        **({"user": state["groups_user"].strip()} if by == "session_id" else {}),
        "after": None,
    }
    if state["groups_period"] != "dates":
        query["since"] = query["until"] = None
    trace_pager.begin(name)
    go(name, trace_filters.read(query))


def _without(name: str, by: By, changes: dict[str, Any]) -> None:
    view, _ = read(by)
    trace_pager.begin(name)
    go(name, replace(view, filters=replace(view.filters, **changes), after=None))


def _clear(name: str) -> None:
    trace_pager.begin(name)
    st.query_params.from_dict({"view": name, "period": trace_filters.DEFAULT_PERIOD})
