"""The traces page without a browser: addresses, what the components are given, and what a person may do."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from tests.traces.factories import request, span, turn
from workbench.annotation.schema import Question
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.identity.models import Project
from workbench.traces import queries
from workbench.traces.act_models import TraceAct
from workbench.traces.filters import HAS
from workbench.traces.hits import chosen
from workbench.traces.indexer import index_all
from workbench.traces.queries import SORTS, SpanBar, TraceFilter
from workbench.ui import guard, links, span_tree, trace_bulk, trace_filters, trace_list, trace_recent, trace_view
from workbench.ui.trace_filters import CHOICES, PERIODS, View

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"
MOMENT = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)

fields = st.sampled_from(list(HAS))


@given(
    st.builds(
        TraceFilter,
        text=st.just("") | words,
        session=st.none() | words,
        rating_min=st.none() | st.sampled_from([1.0, 2.5, 4.0]),
        rating_max=st.none() | st.sampled_from([2.0, 5.0]),
        has_feedback=st.sampled_from([None, True, False]),
        has_error=st.sampled_from([None, True, False]),
        machine_written=st.sampled_from([None, True, False]),
        cost_min=st.none() | st.floats(0, 1e6),
        latency_max=st.none() | st.floats(0, 1e9),
        uncertainty_min=st.none() | st.floats(0, 1),
        **{
            name: st.lists(st.sampled_from(list(HAS)) if name in ("has", "lacks") else words, max_size=3, unique=True).map(
                tuple
            )
            for name in CHOICES
        },
    ),
    st.sampled_from([period for period in PERIODS if period != "dates"]),
    st.sampled_from(list(SORTS)),
    st.none() | words,
)
def test_an_address_reopens_the_view(filters: TraceFilter, period: str, sort: str, after: str | None) -> None:
    view = View(filters, period, sort, after)
    found = trace_filters.read(trace_filters.write(view), moment=MOMENT)
    again = trace_filters.read(trace_filters.write(found), moment=MOMENT)
    assert again == found
    assert (found.period, found.sort, found.after) == (period, sort, after)
    assert replace(found.filters, since=None) == filters


def test_days_in_the_address_are_whole_utc_days() -> None:
    view = trace_filters.read({"since": "2026-05-01", "until": "2026-05-02"}, moment=MOMENT)
    assert (view.filters.since, view.filters.until) == (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 3, tzinfo=UTC))
    assert trace_filters.write(view) == {"since": "2026-05-01", "until": "2026-05-02"}


@given(
    st.dictionaries(
        st.sampled_from(["period", "since", "until", "rating_min", "sort", "feedback", "q", "model", "after"]),
        st.text(max_size=12),
    )
)
def test_no_address_is_an_error(query: dict[str, str]) -> None:
    trace_filters.read(query, moment=MOMENT)


@given(st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 9)), max_size=12, unique_by=lambda pair: pair[0]))
def test_the_timeline_shows_every_span_once_and_children_below_their_parents(pairs: list[tuple[int, int | None]]) -> None:
    bars = [
        SpanBar(str(one), None if parent is None else str(parent), "s", "other", one, one + 1, "ok") for one, parent in pairs
    ]
    if not bars:
        return
    rows = span_tree.ordered(bars)
    assert sorted(bar.span_id for bar, _ in rows) == sorted(bar.span_id for bar in bars)
    place = {bar.span_id: number for number, (bar, _) in enumerate(rows)}
    depth = {bar.span_id: deep for bar, deep in rows}
    columns = span_tree.columns(bars)
    assert columns["ids"] == [bar.span_id for bar, _ in rows]
    assert columns["depth"] == [deep for _, deep in rows]
    assert [columns["names"][number] for number in columns["name"]] == ["s"] * len(bars)
    for bar in bars:
        if bar.parent_span_id in place and depth[bar.span_id]:
            assert place[bar.parent_span_id] < place[bar.span_id]
            assert depth[bar.span_id] == depth[bar.parent_span_id] + 1


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    def shown(actor: Actor, **address: str) -> AppTest:
        monkeypatch.setattr(guard, "visit", lambda: guard.Visit(services, actor, project, (project,)))
        monkeypatch.setattr(guard, "services", lambda: services)
        monkeypatch.setattr(links, "to", lambda name, label, **options: None)  # AppTest knows one page only
        page = AppTest.from_file(str(PAGE), default_timeout=60)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return shown


@pytest.fixture
def filled(services: Services, project: Project, key: Actor) -> list[str]:
    moment = int((now() - timedelta(hours=2)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in range(3)]
    for number, trace_id in enumerate(ids):
        services.traces.ingest_otlp(
            key,
            project.id,
            request(*turn(trace_id, f"Question {number}?", "<img src=x onerror=alert(1)>", start=moment + number)),
        )
    index_all(services.context)
    return ids


def _texts(page: AppTest) -> str:
    return " ".join(str(element.value) for kind in (page.markdown, page.caption, page.title, page.error) for element in kind)


def test_an_empty_project_says_how_to_send_traces(show: Callable[..., AppTest], someone: Callable[..., Actor]) -> None:
    page = show(someone(Role.ENGINEER))
    assert "No traces yet" in _texts(page)
    assert any("/v1/traces" in code.value for code in page.code)


def test_filters_in_the_address_narrow_the_list(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    assert "3 traces" in _texts(show(someone(Role.ANNOTATOR)))
    assert "1 trace" in _texts(show(someone(Role.ANNOTATOR), q="question 1"))
    page = show(someone(Role.ANNOTATOR), model="nothing")
    assert "No trace is like that" in _texts(page)
    page.button(key="traces_clear").click().run()
    assert "3 traces" in _texts(page)


def test_what_is_on_behind_the_button_has_a_chip_that_takes_it_off(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    page = show(someone(Role.ANNOTATOR), tool="no*such", latency_min="0.5", errors="no", model="m", machine="yes")
    chips = [button.label for button in page.button if (button.key or "").startswith("traces_chip_")]
    wanted = ["Tool: no\\*such", "Latency: at least 0.5", "Failed spans: none", "Answer written by: a machine"]
    assert [chip.replace("\\:", ":") for chip in chips] == wanted
    page.button(key="traces_chip_0").click().run()
    assert "tool" not in page.query_params
    assert (page.query_params["latency_min"], page.query_params["model"]) == ("0.5", "m")
    assert not page.number_input  # dozens of widgets are not made before somebody looks
    page.session_state["traces_more"] = True
    page.run().number_input(key="traces_latency_max").set_value(20.0).run()
    assert page.query_params["latency_max"] == "20"


def test_an_address_that_names_no_trace_is_the_list(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    assert "traces_q" in {field.key for field in show(someone(Role.ANNOTATOR), trace="").text_input}


def test_typing_a_search_goes_into_the_address(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    page = show(someone(Role.ANNOTATOR))
    page.text_input(key="traces_q").set_value("question 2").run()
    assert page.query_params["q"] == "question 2"
    assert "1 trace" in _texts(page)


def test_only_those_who_may_are_offered_acts(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    keys = {button.key for button in show(someone(Role.ENGINEER), trace=filled[0]).button}
    assert {"trace_send", "trace_tag", "trace_replay_open_button"} <= keys
    keys = {button.key for button in show(someone(Role.AUDITOR), trace=filled[0]).button}
    assert not {"trace_send", "trace_tag", "trace_replay_open_button"} & keys


def test_a_replay_without_anything_that_can_answer_says_what_to_do(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    page = show(someone(Role.EXPERT), trace=filled[0])
    page.button(key="trace_replay_open_button").click().run()
    assert not page.exception
    assert "Nothing can answer yet" in _texts(page)


def test_next_and_previous_walk_through_the_filtered_list(
    show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    page = show(someone(Role.ANNOTATOR), trace=filled[2])
    assert page.button(key="trace_previous").disabled
    page.button(key="trace_next").click().run()
    assert page.query_params["trace"] == filled[1]
    page.button(key="trace_back").click().run()
    assert "trace" not in page.query_params


def test_an_unknown_trace_leads_back(show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]) -> None:
    page = show(someone(Role.ANNOTATOR), trace="ab" * 16)
    assert "no trace" in _texts(page)
    page.button(key="trace_back").click().run()
    assert "3 traces" in _texts(page)


def test_sending_to_a_queue_happens_once(
    services: Services, project: Project, someone: Callable[..., Actor], filled: list[str]
) -> None:
    engineer = someone(Role.ENGINEER)
    question = Question.from_json({"name": "rating", "kind": "rating", "title": "Rating"})
    queue = services.annotation.create_queue(engineer, project.id, name="Q", questions=[question])
    for _ in range(2):
        services.annotation.add_items(engineer, queue.id, filled, command_id="one-dialog")
    with services.context.database.session() as session:
        from workbench.annotation.queries import progress

        assert progress(session, [queue.id])[queue.id].total == 3


def test_hostile_text_stays_data(services: Services, project: Project, key: Actor) -> None:
    hostile = "<script>alert(1)</script>![x](http://evil.example/x.png)"
    trace_id = secrets.token_hex(16)
    values = {
        "workbench.input": hostile,
        "workbench.output": hostile,
        "workbench.documents": [{"id": hostile, "title": hostile, "content": hostile, "score": 0.5, "cited": "alert"}],
        "workbench.guard": [{"rule": hostile}],
        "workbench.tags": [hostile],
        "workbench.session_id": "javascript:alert(1)",
    }
    services.traces.ingest_otlp(key, project.id, request(span(values, trace_id=trace_id, name=hostile)))
    services.traces.add_feedback(key, project.id, trace_id=trace_id, name=hostile, kind="comment", value=hostile)
    index_all(services.context)
    with services.context.database.session() as session:
        trace = queries.get_trace(session, project.id, trace_id)
        data = trace_view.data_of(session, trace, View(TraceFilter(), "90d", "newest", None))
    turn_shown = data["turn"]
    assert turn_shown["question"] == hostile
    assert turn_shown["documents"][0]["pieces"] == ["<script>", "alert", hostile[len("<script>alert") :]]
    links = [fact["link"] for group in data["facts"] for fact in group if "link" in fact] + [turn_shown["documents"][0]["link"]]
    assert all(link == "" or link.startswith(("/traces?", "/knowledge?")) for link in links)
    json.dumps(data)


def test_component_scripts_never_set_markup() -> None:
    folder = Path(trace_list.__file__).parent
    for name in ("trace_list.js", "trace_view.js", "span_timeline.js"):
        script = (folder / name).read_text(encoding="utf-8")
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc"):
            assert forbidden not in script


def test_acts_on_all_hits_are_offered_by_role_and_the_last_one_can_be_undone(
    services: Services, project: Project, show: Callable[..., AppTest], someone: Callable[..., Actor], filled: list[str]
) -> None:
    def offered(actor: Actor) -> list[str]:
        return [kind for kind, _ in trace_bulk.offered(guard.Visit(services, actor, project, (project,)))]

    assert offered(someone(Role.ENGINEER)) == ["send", "tag", "untag", "golden", "export"]
    assert offered(someone(Role.EXPERT)) == ["tag", "untag"]
    assert offered(someone(Role.REVIEWER)) == ["export"]
    assert offered(someone(Role.AUDITOR)) == []
    expert = someone(Role.EXPERT)
    act = services.bulk.begin(expert, project.id, "tag", {"tag": "<b>look</b>"}, chosen(filled))
    page = show(expert)
    page.session_state["trace_act_last"] = act.id
    page.run()
    assert "&lt;b&gt;look&lt;/b&gt;”: 3 of 3 traces" in " ".join(element.proto.body for element in page.get("html"))
    page.button(key=f"trace_act_undo_last_{act.id}").click().run()
    assert not page.exception
    with services.context.database.session() as session:
        assert queries.trace_ids(session, project.id, TraceFilter(tag=("<b>look</b>",))) == []
    auditor = show(someone(Role.AUDITOR))
    auditor.session_state["trace_act_last"] = act.id
    auditor.run()
    assert not [button.key for button in auditor.button if "undo" in str(button.key)]


def test_what_became_of_an_act_is_said_in_a_sentence() -> None:
    act = TraceAct(project_id="p", kind="send", total=1200, done=1200, changed=1100, created_by="x", state="done")
    act.skipped = {"in the queue already": 100}
    assert trace_recent.sentence(act) == "Sent: 1,100 of 1,200 traces. Left as they were: 100 in the queue already."
    act.state, act.undo = "undone", {"taken": 1098, "stayed": 2, "why": "People have begun 2 of the items.", "by_name": "Eve"}
    assert trace_recent.sentence(act).endswith("Undone by Eve: 1,098 taken back. 2 stayed. People have begun 2 of the items.")
    act.state, act.done = "running", 500
    assert "ended before its end, after 500 of 1,200" in trace_recent.sentence(act)
