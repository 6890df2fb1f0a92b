"""The pages about what comes in and about importing, without a browser."""

import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages import shower
from tests.traces.factories import request, span, turn
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.identity.models import Project
from workbench.traces import own_mapping, queries
from workbench.traces.import_preview import preview
from workbench.traces.import_runs import last_of
from workbench.traces.indexer import index_all
from workbench.ui import guard, trace_browse

PAGE = Path(__file__).parents[2] / "pages" / "traces.py"
TABLE = "Question,Answer,Stars\nWhere?,Here.,2\nWhen?,Now.,9\n"


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    monkeypatch.setattr(guard, "services", lambda: services)
    trace_browse._facets.clear()
    return shower(services, project, monkeypatch, PAGE)


def words(page: AppTest) -> str:
    kinds = (page.markdown, page.caption, page.title, page.error, page.subheader)
    return " ".join(str(element.value) for kind in kinds for element in kind)


def test_the_page_of_a_new_project_says_that_nothing_came(show: Callable[..., AppTest], someone: Callable[..., Actor]) -> None:
    assert "Nothing has come in yet" in words(show(someone(Role.ENGINEER), view="coverage"))


def test_senders_unread_attributes_and_rejected_spans_are_shown(
    show: Callable[..., AppTest], someone: Callable[..., Actor], services: Services, project: Project, key: Actor
) -> None:
    document = request(*turn(secrets.token_hex(16), "q", "a"), span({"acme.sauce": 1}), span(trace_id="0" * 32))
    services.traces.ingest_otlp(key, project.id, document)
    index_all(services.context)
    page = show(someone(Role.ANNOTATOR), view="coverage")
    tables = [table.value.to_string() for table in page.dataframe]
    assert any("app" in table and "tests" in table for table in tables)
    assert any("acme.sauce" in table for table in tables)
    assert any("not all zero" in table for table in tables)
    assert "coverage_map" not in {button.key for button in page.button}


def test_an_engineer_maps_an_attribute_and_takes_it_back(
    show: Callable[..., AppTest], someone: Callable[..., Actor], services: Services, project: Project, key: Actor
) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, request(span({"acme.says": "Hello", "acme.other": 1}, trace_id=trace_id)))
    index_all(services.context)
    page = show(someone(Role.ENGINEER), view="coverage")
    page.selectbox(key="coverage_attribute").set_value("acme.says")
    page.selectbox(key="coverage_column").set_value("input")
    page.button(key="coverage_map").click().run()
    index_all(services.context)
    with services.context.database.session() as session:
        found = own_mapping.current(session, project.id)
        assert found is not None
        assert found.columns == {"input": ["acme.says"]}
        assert queries.get_trace(session, project.id, trace_id).input == "Hello"
    page.run()
    page.button(key="coverage_unmap_input_acme.says").click().run()
    with services.context.database.session() as session:
        assert own_mapping.current(session, project.id).columns == {}  # type: ignore[union-attr]


def test_the_import_page_is_for_those_who_may_ingest(show: Callable[..., AppTest], someone: Callable[..., Actor]) -> None:
    assert "takes the role admin" in words(show(someone(Role.ENGINEER), view="import"))
    assert "Larger files" in words(show(someone(Role.ADMIN), view="import"))


def test_an_import_runs_on_its_own_and_reports(
    show: Callable[..., AppTest], someone: Callable[..., Actor], services: Services, project: Project, tmp_path: Path
) -> None:
    path = tmp_path / "upload.csv"
    path.write_text(TABLE, encoding="utf-8")
    seen = preview(path, "csv")
    assert ([trace["input"] for trace in seen.traces], [line for line, _ in seen.bad_lines]) == (["Where?"], [3])
    admin = someone(Role.ADMIN)
    services.traces.begin_import(admin, project.id, path, "My *file*.csv", format="csv")
    until = time.monotonic() + 20
    while not (run := last_of(services.context, project.id, admin.id)) or not run.ended:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert run.error is None
    assert not path.exists()
    page = show(admin, view="import")
    assert {(metric.label, metric.value) for metric in page.metric} >= {("Traces", "1"), ("Bad lines", "1"), ("Feedback", "1")}
    assert "My \\*file\\*" in words(page)
    assert last_of(services.context, project.id, "someone else") is None


def test_a_stopped_import_says_so_and_keeps_what_it_stored(
    services: Services, project: Project, someone: Callable[..., Actor], tmp_path: Path
) -> None:
    path = tmp_path / "many.jsonl"
    line = json.dumps(request(*turn(secrets.token_hex(16), "q", "a")))
    path.write_text("\n".join([line] * 50), encoding="utf-8")
    run = services.traces.begin_import(someone(Role.ADMIN), project.id, path, "many", format="otlp")
    run.cancelling = True
    until = time.monotonic() + 20
    while not run.ended:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert run.error is None or "stopped" in run.error.what
