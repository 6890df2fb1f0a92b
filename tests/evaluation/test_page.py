"""The Compare page without a browser: what it offers, launches and says."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from tests.datasets.factories import annotated
from tests.datasets.test_versions import build
from tests.evaluation.factories import (
    BASE,
    Attempt,
    FakeArms,
    configuration,
    fake_hash,
    launch_triage,
    make_adapter,
    right,
    triage_set,
)
from tests.pages import Show, shower
from tests.tuning.factories import READY, FakeRuntime
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict
from workbench.datasets.queries import examples
from workbench.evaluation import queries, runner
from workbench.evaluation.models import Comparison
from workbench.golden import queries as golden_queries
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces.indexer import index_pending
from workbench.ui import arm_choice, links
from workbench.workflows.golden_case import add_golden_case

PAGE = Path(__file__).parents[2] / "pages" / "compare.py"
Someone = Callable[..., Actor]


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Show:
    services.context.extras["runtime_client"] = FakeRuntime({**READY, "base": {"state": "ready", "hash": BASE}})
    monkeypatch.setattr(links, "to", lambda name, label, **options: None)
    return shower(services, project, monkeypatch, PAGE)


def _html(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html"))


def _decided(services: Services, actor: Actor, project_id: str, wrong: str = "cards") -> Comparison:
    comparison = launch_triage(services, actor, project_id)
    runner.run(
        services.context,
        None,  # type: ignore[arg-type]
        comparison.id,
        progress=lambda value: None,
        should_stop=lambda: False,
        write=Attempt(services).write,
        respond=FakeArms(lambda arm, text: right(text) if arm == "c" else wrong),
    )
    return comparison


def test_without_a_golden_set_the_page_says_what_to_do_next(show: Show, someone: Someone) -> None:
    page = show(someone(Role.ENGINEER))
    assert any("no golden set yet" in item.value for item in page.markdown)


def test_a_launch_compares_the_chosen_arms_by_the_chosen_rule(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER)
    triage_set(services, actor, project.id)
    make_adapter(services, project.id, "a")
    make_adapter(services, project.id, "c")
    page = show(actor, adapter=fake_hash("c"))
    page.selectbox(key="compare_incumbent_triage").set_value(fake_hash("a")).run()
    page.select_slider(key="compare_margin").set_value(10.0).run()
    page.button(key="compare_launch").click().run()
    with services.context.database.session() as session:
        (comparison,) = queries.comparisons(session, project.id)
    assert comparison.candidate["triage_adapter"] == fake_hash("c")
    assert comparison.incumbent["triage_adapter"] == fake_hash("a")
    assert comparison.rule["margin_points"] == 10.0
    assert page.query_params["comparison"] == comparison.id


def test_the_live_release_is_the_incumbent_one_is_offered_first(
    show: Show, services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = someone(Role.ENGINEER)
    triage_set(services, actor, project.id)
    make_adapter(services, project.id, "a")
    make_adapter(services, project.id, "c")
    live = configuration(project.id, triage_adapter=fake_hash("a"), release_id="r1")
    release = SimpleNamespace(configuration=live, release=SimpleNamespace(name="Version 1", number=1))
    monkeypatch.setattr(arm_choice, "live", lambda context, project_id: release)
    page = show(actor, adapter=fake_hash("c"))
    page.button(key="compare_launch").click().run()
    with services.context.database.session() as session:
        (comparison,) = queries.comparisons(session, project.id)
    assert (comparison.incumbent["release_id"], comparison.incumbent_name) == ("r1", "Live: Version 1")
    assert comparison.candidate["release_id"] is None


def test_a_verdict_is_read_in_words_with_its_cases(show: Show, services: Services, project: Project, someone: Someone) -> None:
    comparison = _decided(services, someone(Role.ENGINEER), project.id)
    page = show(someone(Role.REVIEWER), comparison=comparison.id)
    text = _html(page)
    assert "The candidate is better than the incumbent." in text
    assert "all of it above −5" in text
    assert list(page.dataframe[0].value["Outcome"]).count("only the candidate passed") == 10
    page.segmented_control(key="compare_filter").set_value("Regressions").run()
    assert not page.exception
    assert any("No case is like that" in item.value for item in page.markdown)


def test_a_comparison_under_way_shows_its_progress_and_no_verdict(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    comparison = launch_triage(services, someone(Role.ENGINEER), project.id)
    page = show(someone(Role.ENGINEER), comparison=comparison.id)
    assert any("Waits for the worker" in str(item.proto.text) for item in page.get("progress"))
    assert len(page.metric) == 0


def test_what_an_arm_said_is_shown_as_text_and_never_as_markup(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    comparison = _decided(services, someone(Role.ENGINEER), project.id, wrong='<img src="http://x.example/a.png">')
    text = _html(show(someone(Role.REVIEWER), comparison=comparison.id, case="1"))
    assert "<img" not in text
    assert "&lt;img" in text


def test_a_trace_becomes_a_golden_case_on_the_page(show: Show, services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    golden = triage_set(services, actor, project.id)
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "name": "chat",
        "startTimeUnixNano": str(time.time_ns()),
        "endTimeUnixNano": str(time.time_ns()),
        "attributes": [
            {"key": "input.value", "value": {"stringValue": "The bank took money twice"}},
            {"key": "output.value", "value": {"stringValue": "Sorry to hear that."}},
        ],
    }
    services.traces.ingest_otlp(
        local_administrator(), project.id, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}, "application/json"
    )
    index_pending(services.context)
    page = show(actor, trace=str(span["traceId"]))
    assert [item.value for item in page.error] == []
    page.selectbox(key="golden_trace_label").set_value("loans").run()
    page.button(key="golden_trace_add").click().run()
    assert not page.exception
    with services.context.database.session() as session:
        newest = golden_queries.newest(session, project.id, golden.name)
        assert newest is not None
        case = golden_queries.cases(session, newest.id)[-1]
    assert (newest.number, case.content) == (2, {"text": "The bank took money twice", "label": "loans"})
    assert case.trace_id == span["traceId"]
    assert "trace" not in page.query_params


def test_a_trace_that_a_dataset_holds_becomes_a_golden_case_only_on_purpose(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER)
    golden = triage_set(services, actor, project.id)
    items = annotated(services, project, someone(Role.ANNOTATOR))
    dataset = build(services, project, actor)
    services.datasets.freeze(actor, dataset.id, content_hash=dataset.content_hash)
    with services.context.database.session() as session:
        held = {row.trace_id for row in examples(session, dataset.id)}
    trace_id = next(item.trace_id for item in items if item.trace_id in held)
    with pytest.raises(Conflict, match="A model may have learned from this text"):
        add_golden_case(services.context, actor, golden.id, trace_id, expected={"label": "cards"}, reason="")
    page = show(actor, trace=trace_id)
    assert "holds this text" in page.warning[0].value
    assert page.button(key="golden_trace_add").disabled
    page.checkbox(key="golden_trace_despite").check().run()
    page.button(key="golden_trace_add").click().run()
    with services.context.database.session() as session:
        newest = golden_queries.newest(session, project.id, golden.name)
        assert newest is not None
        assert golden_queries.cases(session, newest.id)[-1].trace_id == trace_id
