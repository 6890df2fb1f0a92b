"""Users' journeys: the list of pseudonyms, and the way of one through sessions and releases."""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import plotly.graph_objects as go
import streamlit as st
from sqlmodel import Session

from workbench.core.errors import NotFound
from workbench.traces import groups, journeys, sessions
from workbench.traces.journeys import WEEKS, Journey, Met, UserSummary, Visit, Week
from workbench.traces.queries import traces_by_id
from workbench.ui import (
    charts,
    guard,
    page,
    trace_clusters,
    trace_group_bar,
    trace_list,
    trace_origin,
    trace_pager,
    trace_sessions,
)
from workbench.ui.trace_filters import View
from workbench.ui.trace_list import short_id

VIEW = "users"
VISITS = 30
"""Sessions of a journey on one page."""
_TITLES = ["Last seen (UTC)", "User", "Rated low", f"Traces a week, {WEEKS} weeks", "First seen"]
_JOURNEY_TITLES = ["First turn (UTC)", "First question, last answer", "Length", "Languages", "Release"]
_SENT_AS = "`user.id`, `enduser.id` or `langfuse.user.id`, a pseudonym,"
_FEW = 10
"""Fewer ratings than this on either side of a release are called few."""


def show(visit: guard.Visit) -> None:
    """The list of users, or the journey of the one that the address names."""
    view, opened = trace_group_bar.read("user_id")
    if opened:
        _journey(visit, view, opened)
    else:
        _list(visit, view)


def _list(visit: guard.Visit, view: View) -> None:
    page.header("Users", "End users by the pseudonym that the application sends. Open one to see their way through time.")
    trace_group_bar.ways(view, VIEW, {trace_sessions.VIEW: "Sessions"})
    with visit.read() as session:
        any_sent = groups.exist(session, visit.project.id, "user_id")
    if not any_sent:
        trace_group_bar.none_sent("user", _SENT_AS)
        return
    trace_group_bar.bar(visit, VIEW, "user_id", view)
    with visit.read() as session:
        found = trace_group_bar.page_of(partial(journeys.list_users, session, visit.project.id, view.filters), view.after)
    if not found.rows:
        trace_group_bar.no_hit(VIEW, "user")
        return
    st.caption(
        "A user is listed by the newest trace that the filters let through; the numbers are of all their traces. "
        f"Low is a rating of {groups.LOW} or lower, red in the bars."
    )
    opened, _ = trace_list.show_groups("Users", _TITLES, [_row(one, view) for one in found.rows], key="user_list")
    if opened:
        trace_group_bar.go(VIEW, view, user=opened)
        st.rerun()
    trace_pager.show(
        VIEW, view.after, found.next,
        lambda after: trace_group_bar.go(VIEW, View(view.filters, view.period, view.sort, after)),
    )  # fmt: skip


def _row(one: UserSummary, view: View) -> dict[str, Any]:
    tally = one.tally
    counted = [page.count(tally.groups, "session")] if tally.groups else []
    return {
        "id": one.user_id,
        "link": "/traces?" + urlencode(trace_group_bar.address(VIEW, view, user=one.user_id), doseq=True),
        "time": f"{tally.last_at:%-d %b %H:%M}",
        "exact": f"{tally.last_at:%Y-%m-%d %H:%M:%S} UTC",
        "rating": None,
        "question": short_id(one.user_id),
        "answer": ", ".join([*counted, page.count(tally.traces, "trace")]),
        "error": "",
        "failed": False,
        "marks": [["bad", f"{tally.failed:,} failed"]] if tally.failed else [],
        "cells": [
            [_share(tally.low, tally.rated), f"{tally.low:,} of {tally.rated:,} rated" if tally.rated else ""],
            [{"bars": [[traces, low] for _, traces, low in one.weeks], "title": _in_words(one.weeks)}, ""],
            [f"{tally.first_at:%-d %b %Y}", ""],
        ],
    }


def _share(low: int, rated: int) -> str:
    return f"{low / rated:.0%}" if rated else "not rated"


def _in_words(weeks: list[Week]) -> str:
    return (
        "; ".join(
            f"week of {monday:%-d %b}: {page.count(traces, 'trace')}, {low:,} low" for monday, traces, low in weeks if traces
        )
        or "no traces in this time"
    )


def _journey(visit: guard.Visit, view: View, user_id: str) -> None:
    with visit.read() as session:
        try:
            found = journeys.journey(session, visit.project.id, user_id)
        except NotFound as error:
            page.header("Users")
            page.failure(error)
            _back(view)
            return
        pages = max(1, -(-len(found.visits) // VISITS))
        number = trace_pager.number_in(st.query_params.get("page"), pages)
        shown = found.visits[(number - 1) * VISITS : number * VISITS]
        names = {met.release for met in found.releases}
        releases = trace_origin.release_names(session, visit.project.id, names)
        before = found.visits[(number - 1) * VISITS - 1] if number > 1 else None
        rows = _visits(session, visit.project.id, shown, before, releases, user_id)
    page.header("User", f"The journey of {short_id(user_id)}, oldest first.")
    _back(view)
    _glance(found)
    _releases(found, releases)
    st.subheader("Sessions", anchor=False)

    def turn_to(target: int) -> None:
        trace_group_bar.go(VIEW, view, user=user_id, page=str(target))

    first = (number - 1) * VISITS + 1
    words = f"{first:,} to {first + len(shown) - 1:,} of {len(found.visits):,}"
    trace_pager.numbered("journey_top", number, pages, words, turn_to)
    opened, _ = trace_list.show_groups("Sessions of this user", _JOURNEY_TITLES, rows, key=f"journey_list_{number}")
    if opened:
        kind, _, key = opened.partition(":")
        st.query_params.from_dict({"view": "sessions", "session": key} if kind == "s" else {"trace": key})
        st.rerun()


def _back(view: View) -> None:
    st.button(
        "All users", key="user_back", icon=":material/arrow_back:", type="tertiary", shortcut="Escape",
        on_click=trace_group_bar.go, args=(VIEW, view),
    )  # fmt: skip


def _glance(found: Journey) -> None:
    tally = found.tally
    left, right = st.columns([2, 3], gap="large")
    with left:
        page.facts(
            {
                "User id": found.user_id,
                "Seen": f"{page.moment(tally.first_at)} to {page.moment(tally.last_at)}",
                "Traces": f"{tally.traces:,} in {page.count(tally.groups, 'session')}",
                "Rated low": f"{tally.low:,} of {tally.rated:,} rated ({_share(tally.low, tally.rated)})"
                if tally.rated
                else "nothing was rated",
                "Failed": page.count(tally.failed, "trace"),
            }
        )
        if found.left_out:
            st.caption(f"Sessions and releases below are of the newest {journeys.MOST:,} traces; {found.left_out:,} are older.")
    with right:
        figure = charts.figure(height=180)
        days = [monday for monday, _, _ in found.weeks]
        low = [count for _, _, count in found.weeks]
        others = [traces - count for _, traces, count in found.weeks]
        for name, counts, colour in (("rated low", low, charts.BAD), ("other traces", others, charts.MUTED)):
            figure.add_trace(go.Bar(x=days, y=counts, name=name, marker_color=colour, hovertemplate="%{x|%-d %b}: %{y}"))
        figure.update_layout(
            barmode="stack", showlegend=True, legend={"orientation": "h", "x": 0, "y": 1.04, "yanchor": "bottom"}
        )
        figure.update_layout(margin={"t": 32, "b": 0}, xaxis={"tickformat": "%-d %b"})
        charts.show(figure, key="journey_weeks")
        st.caption(f"Traces a week, the last {WEEKS} weeks (weeks begin on Monday, UTC).")


def _releases(found: Journey, releases: Mapping[str, str]) -> None:
    if not found.releases:
        return
    st.subheader("Releases met", anchor=False)
    for met in found.releases:
        rated = f"; {met.low:,} of {met.rated:,} rated low" if met.rated else "; none rated"
        page.plain(
            f"{releases[met.release]}, from {page.moment(met.first_at)}: {page.count(met.traces, 'trace')}{rated}", muted=True
        )
    for old, new in journeys.changes(found.releases):
        page.plain(change_words(old, new, releases))


def change_words(old: Met, new: Met, releases: Mapping[str, str]) -> str:
    """What was rated low before and after a release, with the counts."""
    few = " Few ratings: chance alone may do that." if min(old.rated, new.rated) < _FEW else ""
    return (
        f"{releases[old.release]} → {releases[new.release]}: rated low {_share(old.low, old.rated)} "
        f"({old.low:,} of {old.rated:,}) before, {_share(new.low, new.rated)} ({new.low:,} of {new.rated:,}) after.{few}"
    )


def _visits(
    session: Session, project_id: str, shown: list[Visit], before: Visit | None, releases: Mapping[str, str], user_id: str
) -> list[dict[str, Any]]:
    """The rows of sessions, and of traces without one, in order of time."""
    whole = {
        one.session_id: one
        for one in sessions.summaries(session, project_id, [one.session_id for one in shown if one.session_id])
    }
    alone = traces_by_id(session, project_id, [one.trace_ids[0] for one in shown if not one.session_id])
    topics = journeys.topics_of(session, project_id, [trace_id for one in shown for trace_id in one.trace_ids])
    release = before.releases[-1:] if before else []
    rows = []
    for one in shown:
        trace = alone.get(one.trace_ids[0])
        said = whole.get(one.session_id) if one.session_id else None
        found = {topics[trace_id].id: topics[trace_id] for trace_id in one.trace_ids if trace_id in topics}
        key = f"s:{one.session_id}" if one.session_id else f"t:{one.trace_ids[0]}"
        met = [*release, *one.releases]
        changed = [["good", f"{releases[old]} → {releases[new]}"] for old, new in pairwise(met) if old != new]
        release = met[-1:]
        address = {"view": "sessions", "session": one.session_id} if one.session_id else {"trace": one.trace_ids[0]}
        rows.append(
            {
                "id": key,
                "link": "/traces?" + urlencode(address),
                "time": f"{one.first_at:%-d %b %H:%M}",
                "exact": f"{one.first_at:%Y-%m-%d %H:%M:%S} to {one.last_at:%Y-%m-%d %H:%M:%S} UTC",
                "rating": one.lowest,
                "question": said.question if said else trace.input_preview if trace else "",
                "answer": said.answer if said else (trace.output_preview or trace.error or "") if trace else "",
                "error": "",
                "failed": one.failed > 0,
                "marks": [
                    *([["bad", f"{one.failed:,} failed"]] if one.failed else []),
                    *changed,
                    *([["", f"about {trace_clusters.title(topic)}"] for topic in found.values()][:3]),
                ],
                "cells": [
                    trace_sessions.length_words(len(one.trace_ids), one.first_at, one.last_at)
                    if one.session_id
                    else ["1 turn", "no session"],
                    [", ".join(said.names.languages[:4]) if said else (trace.language or "") if trace else "", ""],
                    [releases[one.releases[-1]] if one.releases else "", ""],
                ],
            }
        )
    return rows
