"""Sessions as conversations: the list, and one as people read it, turn after turn."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from workbench.core.canonical import content_hash
from workbench.core.errors import NotFound
from workbench.traces import groups, sessions
from workbench.traces.filters import TraceFilter
from workbench.traces.sessions import TURNS, Conversation, SessionSummary
from workbench.ui import page, session_view, trace_filters, trace_group_bar, trace_list, trace_origin, trace_pager, trace_view
from workbench.ui.guard import Visit
from workbench.ui.trace_filters import View
from workbench.ui.trace_list import short_id

VIEW = "sessions"
_TITLES = ["Last turn (UTC)", "First question, last answer", "Length", "User, languages", "Release"]
_SENT_AS = "`session.id`, `gen_ai.conversation.id` or `langfuse.session.id`"


def show(visit: Visit) -> None:
    """The list of sessions, or the one that the address names."""
    view, opened = trace_group_bar.read("session_id")
    if opened:
        _conversation(visit, view, opened)
    else:
        _list(visit, view)


def _rows(found: list[SessionSummary], releases: Mapping[str, str], link: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.session_id,
            "link": link(one.session_id),
            "time": f"{one.tally.last_at:%-d %b %H:%M}",
            "exact": f"{one.tally.first_at:%Y-%m-%d %H:%M:%S} to {one.tally.last_at:%Y-%m-%d %H:%M:%S} UTC",
            "rating": one.tally.lowest,
            "question": one.question,
            "answer": one.answer,
            "error": "",
            "failed": one.tally.failed > 0,
            "marks": [["bad", f"{one.tally.failed:,} failed"]] if one.tally.failed else [],
            "cells": [
                length_words(one.tally.traces, one.tally.first_at, one.tally.last_at),
                [_user(one), ", ".join(one.names.languages[:4])],
                _releases([releases[name] for name in one.names.releases]),
            ],
        }
        for one in found
    ]


def length_words(turns: int, first: datetime, last: datetime) -> list[str]:
    """How many turns, and how long from the first to the last."""
    return [page.count(turns, "turn"), page.duration((last - first).total_seconds()) if turns > 1 else ""]


def _user(one: SessionSummary) -> Any:
    if not one.names.users:
        return ""
    user = one.names.users[0]
    more = f" and {len(one.names.users) - 1:,} more" if len(one.names.users) > 1 else ""
    return {"words": short_id(user) + more, "way": user, "title": "The journey of this user"}


def _releases(names: list[str]) -> list[str]:
    return [names[0] if names else "", f"and {len(names) - 1} more" if len(names) > 1 else ""]


def _list(visit: Visit, view: View) -> None:
    page.header("Sessions", "Conversations: the turns that carry one session id. Open one to read it from its beginning.")
    trace_group_bar.ways(view, VIEW, {"users": "Users"})
    with visit.read() as session:
        any_sent = groups.exist(session, visit.project.id, "session_id")
    if not any_sent:
        trace_group_bar.none_sent("session", _SENT_AS)
        return
    trace_group_bar.bar(visit, VIEW, "session_id", view)
    with visit.read() as session:
        found = trace_group_bar.page_of(partial(sessions.list_sessions, session, visit.project.id, view.filters), view.after)
        names = {name for row in found.rows for name in row.names.releases}
        releases = trace_origin.release_names(session, visit.project.id, names)
    if not found.rows:
        trace_group_bar.no_hit(VIEW, "session")
        return
    st.caption("A session is listed by its newest turn that the filters let through; its numbers are of all its turns.")

    def link(session_id: str) -> str:
        return "/traces?" + urlencode(trace_group_bar.address(VIEW, view, session=session_id), doseq=True)

    opened, user = trace_list.show_groups("Sessions", _TITLES, _rows(found.rows, releases, link), key="session_list")
    if opened:
        trace_group_bar.go(VIEW, view, session=opened)
        st.rerun()
    if user:
        st.query_params.from_dict({"view": "users", "user": user})
        st.rerun()
    trace_pager.show(VIEW, view.after, found.next, lambda after: trace_group_bar.go(VIEW, _at(view, after)))


def _at(view: View, after: str | None) -> View:
    return View(view.filters, view.period, view.sort, after)


def _conversation(visit: Visit, view: View, session_id: str) -> None:
    with visit.read() as session:
        try:
            tally = groups.tallies(session, visit.project.id, "session_id", [session_id]).get(session_id)
            pages = max(1, -(-tally.traces // TURNS)) if tally else 1
            number = trace_pager.number_in(st.query_params.get("page"), pages)
            found = sessions.conversation(session, visit.project.id, session_id, offset=(number - 1) * TURNS)
        except NotFound as error:
            page.header("Sessions")
            page.failure(error)
            _back(view)
            return
        feedback = sessions.said_of(session, visit.project.id, session_id, [turn.trace_id for turn in found.turns])
        met = {turn.release for turn in found.turns if turn.release} | {*found.names.releases}
        releases = trace_origin.release_names(
            session, visit.project.id, met | ({found.release_before} if found.release_before else set())
        )
    page.header("Session", f"A conversation from {page.moment(found.tally.first_at)} to {page.moment(found.tally.last_at)}.")
    _back(view)

    def turn_to(target: int) -> None:
        trace_group_bar.go(VIEW, view, session=session_id, page=str(target))

    first, last = found.offset + 1, found.offset + len(found.turns)
    words = f"turns {first:,} to {last:,} of {found.tally.traces:,}"
    trace_pager.numbered("session_top", number, pages, words, turn_to)
    # A turn opens in the list of its session, so that the next and the previous trace are the turns beside it.
    in_session = View(TraceFilter(session=session_id), "all", "oldest", None)
    facts = _facts(found, releases)
    data = session_view.data_of(found, feedback, releases, in_session, facts)
    # A component's key may not hold what an application may well put into its ids, such as two underscores.
    opened = trace_view.show(data, key=f"session_view_{number}_{content_hash(session_id)}")
    if opened:
        trace_filters.go(in_session, trace=opened)
        st.rerun()
    trace_pager.numbered("session_end", number, pages, words, turn_to)


def _back(view: View) -> None:
    st.button(
        "All sessions", key="session_back", icon=":material/arrow_back:", type="tertiary", shortcut="Escape",
        on_click=trace_group_bar.go, args=(VIEW, view),
    )  # fmt: skip


def _facts(found: Conversation, releases: Mapping[str, str]) -> list[list[dict[str, Any]]]:
    users = [
        {
            "name": "User" if len(found.names.users) == 1 else "Users" if not number else "",
            "value": short_id(user),
            "full": user,
            "link": "/traces?" + urlencode({"view": "users", "user": user}),
        }
        for number, user in enumerate(found.names.users[:10])
    ]
    if len(found.names.users) > 10:
        users.append({"name": "", "value": f"and {len(found.names.users) - 10:,} more"})
    about = [
        {"name": "Languages", "value": ", ".join(found.names.languages)},
        {"name": "Releases", "value": ", ".join(releases[name] for name in found.names.releases)},
        {"name": "Session", "value": short_id(found.session_id), "full": found.session_id},
        {
            "name": "As a list",
            "value": page.count(found.tally.traces, "trace"),
            "link": "/traces?" + urlencode({"session": found.session_id, "period": "all"}),
        },
    ]
    return [part for part in (users, [fact for fact in about if fact["value"]]) if part]
