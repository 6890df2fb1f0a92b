"""The Tune page without a browser: what it offers, launches and says."""

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from tests.pages import Show, shower
from tests.tuning.factories import WORKER, FakeRuntime, make_dataset, register, store_adapter, triage_contents
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.jobs import JobState, list_jobs
from workbench.identity.models import Project
from workbench.ui import links

PAGE = Path(__file__).parents[2] / "pages" / "tune.py"
Someone = Callable[..., Actor]


@pytest.fixture
def show(services: Services, project: Project, monkeypatch: pytest.MonkeyPatch) -> Show:
    services.context.extras["runtime_client"] = FakeRuntime()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("memory", "available")(16_000_000_000))
    monkeypatch.setattr(links, "to", lambda name, label, **options: None)
    return shower(services, project, monkeypatch, PAGE)


def _html(page: AppTest) -> str:
    return " ".join(str(element.proto.body) for element in page.get("html"))


def test_without_a_dataset_the_page_says_what_to_do_next(show: Show, someone: Someone) -> None:
    page = show(someone(Role.ENGINEER))
    assert any("no frozen dataset version for generation" in item.value for item in page.markdown)
    assert not any(item.key == "tune_launch" for item in page.button)


def test_a_launch_from_the_page_queues_the_chosen_settings(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    page = show(someone(Role.ENGINEER), dataset=dataset.id)
    assert page.radio(key="tune_recipe").value == "triage"
    page.number_input(key="tune_triage_epochs").set_value(3).run()
    page.button(key="tune_launch").click().run()
    with services.context.database.session() as session:
        (job,) = list_jobs(session, project.id)
    assert (job.spec["dataset_id"], job.spec["settings"]["epochs"]) == (dataset.id, 3)
    assert page.query_params["job"] == job.id
    assert any("Waits for the worker" in str(item.proto.text) for item in page.get("progress"))


def test_a_launch_that_cannot_work_is_not_offered(show: Show, services: Services, project: Project, someone: Someone) -> None:
    make_dataset(services, project.id, triage_contents(4))
    page = show(someone(Role.ENGINEER))
    page.radio(key="tune_recipe").set_value("triage").run()
    assert page.button(key="tune_launch").disabled
    assert any("4 training examples; the recipe needs at least 10" in item.value for item in page.error)


def test_a_reviewer_sees_adapters_but_no_form(
    show: Show, services: Services, project: Project, someone: Someone, tmp_path: Path
) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    job = services.tuning.launch(someone(Role.ENGINEER), project.id, recipe="triage", dataset_id=dataset.id)
    register(services, job, store_adapter(services, tmp_path / "one"))
    page = show(someone(Role.REVIEWER))
    assert list(page.dataframe[0].value["Result"]) == ["Triage adapter 1"]
    assert len(page.radio) == 0


def test_a_receipt_is_readable(show: Show, services: Services, project: Project, someone: Someone, tmp_path: Path) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    engineer = someone(Role.ENGINEER, name="Ada <b>Lovelace</b>")
    job = services.tuning.launch(engineer, project.id, recipe="triage", dataset_id=dataset.id, reason="New terms")
    adapter = register(services, job, store_adapter(services, tmp_path / "one"))
    text = _html(show(someone(Role.REVIEWER), adapter=adapter.content_hash))
    for part in (adapter.content_hash, dataset.content_hash, job.id, "Ada &lt;b&gt;Lovelace", "12 s", "0.9 GB", "New terms"):
        assert part in text


def test_a_failed_fine_tune_shows_its_reason_and_the_end_of_its_log(
    show: Show, services: Services, project: Project, someone: Someone
) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    actor = someone(Role.ENGINEER)
    services.tuning.launch(actor, project.id, recipe="triage", dataset_id=dataset.id)
    job = services.jobs.claim(WORKER, "test", ["tune"])
    assert job is not None
    services.jobs.finish(WORKER, job.id, job.fence, JobState.FAILED, error="The disk is full. Make room.")
    logs = services.context.settings.folder("logs") / "jobs"
    logs.mkdir()
    (logs / f"{job.id}.log").write_text(f"line 1\nno room in {services.context.settings.home}/artifacts <script>\n")
    page = show(actor, job=job.id)
    assert any("The disk is full" in item.value for item in page.error)
    assert "no room in …/artifacts &lt;script&gt;" in _html(page)
