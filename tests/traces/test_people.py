"""Sessions as conversations and users' journeys: which are listed, what is counted, and the pages."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from tests.pages import shower
from tests.traces.factories import request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound
from workbench.core.ids import new_id
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import groups, journeys, sessions
from workbench.traces.clusters import Found
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import By
from workbench.traces.indexer import index_all
from workbench.traces.journeys import Met
from workbench.traces.models import Trace
from workbench.ui import guard, links, session_view, trace_list, trace_pager, trace_users, trace_view
from workbench.ui.trace_filters import View

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"
START = datetime(2026, 9, 1, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>![x](http://evil.example/x.png)"
_numbers = count(1)

Show = Callable[..., AppTest]
Store = Callable[..., list[str]]


@pytest.fixture
def store(services: Services, project: Project) -> Store:
    """Store turns, a minute apart from `at`: `store([{"session_id": "s", "input": "…"}])` gives their trace ids."""

    def make(turns: Sequence[dict[str, Any]], at: datetime = START, project_id: str = project.id) -> list[str]:
        rows = [
            Trace(
                **{
                    "project_id": project_id,
                    "trace_id": f"{next(_numbers):032x}",
                    "started_at": at + timedelta(minutes=number),
                    "input": f"question {number}",
                    "input_preview": f"question {number}",
                    "output": f"answer {number}",
                    "output_preview": f"answer {number}",
                    **turn,
                }
            )
            for number, turn in enumerate(turns)
        ]
        with services.context.trace_unit_of_work(local_administrator()) as work:
            work.session.add_all(rows)
        return [row.trace_id for row in rows]

    return make


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Show:
    monkeypatch.setattr(guard, "services", lambda: services)
    monkeypatch.setattr(links, "to", lambda name, label, **options: None)
    return shower(services, project, monkeypatch, PAGE)


def _pages(services: Services, project_id: str, by: By, filters: TraceFilter, limit: int) -> list[str]:
    keys: list[str] = []
    after = None
    with services.context.database.session() as session:
        while True:
            found = groups.newest(session, project_id, by, filters, after=after, limit=limit)
            keys += found.keys
            after = found.next
            if after is None:
                return keys


turns = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", "", None]), st.sampled_from(["u", "v", None]), st.integers(0, 6),
              st.sampled_from(["m", "n"])), max_size=25,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns, st.integers(1, 3), st.sampled_from(["session_id", "user_id"]), st.booleans())
def test_pages_hold_every_group_once_by_its_newest_hit(
    services: Services, store: Store, monkeypatch: pytest.MonkeyPatch, made: list[Any], limit: int, by: By, narrow: bool
) -> None:
    monkeypatch.setattr(groups, "_AT_ONCE", 3)
    project_id = new_id()
    rows = [
        {"session_id": one, "user_id": two, "started_at": START + timedelta(minutes=at), "model": model}
        for one, two, at, model in made
    ]
    store(rows, project_id=project_id)
    newest: dict[str, tuple[datetime, int]] = {}
    for number, row in enumerate(rows):
        if row[by] and (not narrow or row["model"] == "m"):
            newest[row[by]] = max(newest.get(row[by], (START - timedelta(1), 0)), (row["started_at"], number))
    expected = sorted(newest, key=lambda key: newest[key], reverse=True)
    filters = TraceFilter(model=("m",)) if narrow else TraceFilter()
    assert _pages(services, project_id, by, filters, limit) == expected


def test_a_session_is_counted_whole_whatever_turn_the_filter_hits(services: Services, project: Project, store: Store) -> None:
    store(
        [
            {"session_id": "s", "user_id": "u", "language": "es", "release": "r1", "rating": 5.0, "model": "old"},
            {"session_id": "s", "user_id": "u", "language": "en", "release": "r2", "rating": 1.0, "status": "error"},
            {"session_id": "s", "user_id": "v", "language": "en", "release": "r2", "output_preview": "", "error": "timeout"},
            {"session_id": "t", "model": "new"},
            {"session_id": ""},
            {},
        ]
    )
    with services.context.database.session() as session:
        page = sessions.list_sessions(session, project.id, TraceFilter(model=("old",)))
        assert [row.session_id for row in page.rows] == ["s"]
        row = page.rows[0]
        assert (row.tally.traces, row.tally.rated, row.tally.low, row.tally.failed, row.tally.lowest) == (3, 2, 1, 1, 1.0)
        assert (row.tally.first_at, row.tally.last_at) == (START, START + timedelta(minutes=2))
        assert (row.names.languages, row.names.releases, row.names.users) == (["en", "es"], ["r2", "r1"], ["u", "v"])
        assert (row.question, row.answer) == ("question 0", "timeout")
        assert [one.session_id for one in sessions.list_sessions(session, project.id).rows] == ["t", "s"]
        assert sessions.list_sessions(session, "elsewhere").rows == []
        with pytest.raises(InvalidInput):
            sessions.list_sessions(session, project.id, after="nonsense")


def test_a_long_conversation_is_read_in_pages_that_know_what_changed_before_them(
    services: Services, project: Project, store: Store
) -> None:
    ids = store([{"session_id": "s", "release": f"r{number // 60}"} for number in range(130)])
    with services.context.database.session() as session:
        first = sessions.conversation(session, project.id, "s")
        third = sessions.conversation(session, project.id, "s", offset=100)
        beyond = sessions.conversation(session, project.id, "s", offset=10_000)
        with pytest.raises(NotFound):
            sessions.conversation(session, project.id, "nobody's")
    assert [turn.trace_id for turn in first.turns + third.turns] == ids[:50] + ids[100:]
    assert (first.release_before, third.release_before, third.tally.traces) == (None, "r1", 130)
    assert [turn.trace_id for turn in beyond.turns] == ids[-1:]
    view = View(TraceFilter(session="s"), "all", "oldest", None)
    words = {"r0": "release 1", "r1": "release 2", "r2": "release 3"}
    data = session_view.data_of(third, [], words, view, [])
    assert [turn["changed"] for turn in data["turns"]][19:22] == [[], ["release 2 → release 3"], []]
    assert data["turns"][0]["link"].startswith("/traces?")
    json.dumps(data)


def test_a_session_shows_what_was_said_about_its_turns_and_about_all_of_it(
    services: Services, project: Project, key: Actor
) -> None:
    moment = int((now() - timedelta(hours=1)).timestamp() * 1e9)
    values = {f"workbench.{name}": HOSTILE for name in ("input", "output", "session_id", "user_id")}
    spans = [span(values, trace_id=f"{number:032x}", start=moment + number * 1_000_000) for number in (1, 2)]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    services.traces.add_feedback(key, project.id, trace_id=f"{2:032x}", kind="comment", value=HOSTILE)
    services.traces.add_feedback(key, project.id, session_id=HOSTILE, kind="comment", value="all of it")
    services.traces.add_feedback(key, project.id, session_id="another", kind="comment", value="not this")
    index_all(services.context)
    with services.context.database.session() as session:
        found = sessions.conversation(session, project.id, HOSTILE)
        feedback = sessions.said_of(session, project.id, HOSTILE, [turn.trace_id for turn in found.turns])
    data = session_view.data_of(found, feedback, {}, View(TraceFilter(), "all", "oldest", None), [])
    assert [turn["question"] for turn in data["turns"]] == [HOSTILE, HOSTILE]
    assert [[one["text"] for one in turn["feedback"]] for turn in data["turns"]] == [[], [HOSTILE]]
    assert [one["text"] for one in data["said"]] == ["all of it"]


def test_a_journey_has_sessions_in_order_of_time_releases_and_what_changed(
    services: Services, project: Project, store: Store
) -> None:
    ids = store(
        [
            {"session_id": "first", "user_id": "u", "release": "r1", "rating": 1.0},
            {"session_id": "first", "user_id": "u", "release": "r1", "rating": 5.0},
            {"user_id": "u", "release": "r2"},
            {"session_id": "last", "user_id": "u", "release": "r3", "rating": 4.0, "status": "error"},
            {"session_id": "last", "user_id": "somebody else", "rating": 1.0},
        ],
        at=now() - timedelta(days=1),
    )
    services.clusters.keep(None, project.id, [Found(["FlexPay"], [ids[0]], [])], traces=1, left_out=0)
    with services.context.database.session() as session:
        found = journeys.journey(session, project.id, "u")
        topics = journeys.topics_of(session, project.id, ids)
        with pytest.raises(NotFound):
            journeys.journey(session, project.id, "nobody")
    assert [(one.session_id, len(one.trace_ids), one.low, one.failed) for one in found.visits] == [
        ("first", 2, 1, 0), (None, 1, 0, 0), ("last", 1, 0, 1),
    ]  # fmt: skip
    assert [(one.release, one.traces, one.rated, one.low) for one in found.releases] == [
        ("r1", 2, 2, 1), ("r2", 1, 0, 0), ("r3", 1, 1, 0),
    ]  # fmt: skip
    assert journeys.changes(found.releases) == []  # r2, between the two, was never rated
    assert (found.tally.traces, found.tally.groups, found.left_out) == (4, 2, 0)
    assert (sum(traces for _, traces, _ in found.weeks), sum(low for _, _, low in found.weeks)) == (4, 1)
    assert {trace_id: one.terms for trace_id, one in topics.items()} == {ids[0]: ["FlexPay"]}


def test_what_changed_after_a_release_is_said_with_its_counts() -> None:
    old, new = Met("a", START, 30, 20, 8), Met("b", START, 40, 25, 5)
    (change,) = journeys.changes([old, new])
    words = trace_users.change_words(*change, {"a": "release 12", "b": "release 13"})
    assert words == "release 12 → release 13: rated low 40% (8 of 20) before, 20% (5 of 25) after."
    few = trace_users.change_words(old, Met("b", START, 1, 1, 0), {"a": "x", "b": "y"})
    assert few.endswith("Few ratings: chance alone may do that.")


def test_a_very_long_journey_says_what_it_leaves_out(
    services: Services, project: Project, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journeys, "MOST", 2)
    ids = store([{"user_id": "u", "session_id": f"s{number}"} for number in range(5)])
    with services.context.database.session() as session:
        found = journeys.journey(session, project.id, "u")
    assert ([one.trace_ids for one in found.visits], found.left_out, found.tally.traces) == ([[ids[3]], [ids[4]]], 3, 5)


def test_masked_user_ids_are_shown_as_they_are_stored_and_raw_long_ones_are_cut() -> None:
    assert trace_list.short_id("person-3f9a2c71d04e8b12") == "person-3f9a2c71d04e8b12"
    assert trace_list.short_id("auth0|5f7c8ec7c33c6c004bbafe82") == "auth0|5f7c8ec7…bafe82"


@given(st.none() | st.text(max_size=12), st.integers(1, 100))
def test_any_page_number_in_an_address_is_a_page(text: str | None, pages: int) -> None:
    assert 1 <= trace_pager.number_in(text, pages) <= pages


def _words(page: AppTest) -> str:
    return " ".join(one.value for kind in (page.markdown, page.caption, page.title, page.subheader) for one in kind)


def _address(page: AppTest) -> dict[str, str]:
    given: dict[str, Any] = dict(page.query_params)
    return {name: value if isinstance(value, str) else value[-1] for name, value in given.items()}


def test_pages_without_ids_say_what_to_send(show: Show, store: Store, someone: Callable[..., Actor]) -> None:
    store([{}])
    for view, what in (("sessions", "session"), ("users", "user")):
        page = show(someone(Role.EXPERT), view=view)
        assert f"No {what} ids were sent" in _words(page)
        assert f"workbench.{what}\\_id" in _words(page).replace("\\`", "`")
        assert "There is no" in " ".join(one.value for one in show(someone(Role.EXPERT), view=view, **{what: "x"}).error)


def test_filters_of_the_address_narrow_both_lists_and_come_along(
    show: Show, store: Store, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[str]] = []

    def draw(label: str, titles: list[str], rows: list[dict[str, Any]], *, key: str) -> tuple[None, None]:
        json.dumps(rows)
        drawn.append([row["id"] for row in rows])
        return None, None

    monkeypatch.setattr(trace_list, "show_groups", draw)
    store(
        [
            {"session_id": "s", "user_id": "u", "model": "m1", "rating": 1.0, "error_count": 1},
            {"session_id": "t", "user_id": "v", "model": "m2"},
        ],
        at=now() - timedelta(hours=2),
    )
    actor = someone(Role.AUDITOR)
    for address, expected in (
        ({}, [["t", "s"], ["v", "u"]]),
        ({"model": "m1"}, [["s"], ["u"]]),
        ({"rating_max": "2"}, [["s"], ["u"]]),
        ({"errors": "no"}, [["t"], ["v"]]),
        ({"after": "nonsense"}, [["t", "s"], ["v", "u"]]),
    ):
        drawn.clear()
        for view in ("sessions", "users"):
            show(actor, view=view, **address)
        assert drawn == expected
    page = show(actor, view="sessions", model="nobody's")
    assert "No session is like that" in _words(page)
    page.button(key="groups_clear").click().run()
    assert _address(page)["view"] == "sessions"
    page = show(actor, view="sessions")
    page.text_input(key="groups_user").set_value("v").run()
    assert (drawn[-1], _address(page)["user"], _address(page)["view"]) == (["t"], "v", "sessions")
    page.button(key="sessions_traces").click().run()
    assert not page.exception
    assert ("view" in _address(page), _address(page)["user"]) == (False, "v")
    page.button(key="traces_users").click().run()
    assert not page.exception
    assert _address(page)["view"] == "users"


def test_a_session_and_a_journey_open_by_their_address(
    services: Services,
    project: Project,
    show: Show,
    store: Store,
    someone: Callable[..., Actor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(trace_view, "show", lambda data, **more: shown.append(data))
    store([{"session_id": HOSTILE, "user_id": HOSTILE, "release": HOSTILE} for _ in range(sessions.TURNS + 5)])
    page = show(someone(Role.EXPERT), view="sessions", session=HOSTILE, page="2")
    assert len(shown[-1]["turns"]) == 5
    assert "turns 51 to 55 of 55" in _words(page)
    links_made = [fact["link"] for group in shown[-1]["facts"] for fact in group if "link" in fact]
    assert all(one.startswith("/traces?") for one in links_made)
    page.button(key="session_top_previous").click().run()
    assert (len(shown[-1]["turns"]), _address(page)["page"]) == (50, "1")
    page = show(someone(Role.EXPERT), view="users", user=HOSTILE)
    assert "Releases met" in _words(page)
    assert "<script>" not in " ".join(element.proto.body for element in page.get("html"))
    assert "![x](" not in _words(page)
