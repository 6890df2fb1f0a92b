import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlmodel import Session, select

from tests.tuning.factories import (
    BASE,
    EMBEDDER,
    RESULT,
    WORKER,
    FakeRuntime,
    answer_contents,
    make_dataset,
    register,
    store_adapter,
    triage_contents,
)
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import InvalidInput, NotAllowed, NotFound
from workbench.core.jobs import Job, list_jobs
from workbench.core.recording import AuditOutbox
from workbench.datasets.models import DatasetExample
from workbench.identity.models import Project
from workbench.tuning import queries

Someone = Callable[..., Actor]


@pytest.fixture(autouse=True)
def runtime(services: Services, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """A machine with memory and a runtime that is ready."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("memory", "available")(16_000_000_000))
    fake = FakeRuntime()
    services.context.extras["runtime_client"] = fake
    return fake


def _launch(services: Services, project: Project, actor: Actor, dataset_id: str, **options: object) -> Job:
    options.setdefault("recipe", "triage")
    return services.tuning.launch(actor, project.id, dataset_id=dataset_id, **options)  # type: ignore[arg-type]


def test_a_launch_queues_a_job_whose_spec_names_everything_by_hash(
    services: Services, project: Project, someone: Someone
) -> None:
    actor = someone(Role.ENGINEER, name="Ada")
    dataset = make_dataset(services, project.id, triage_contents())
    job = _launch(services, project, actor, dataset.id, settings={"epochs": 3, "seed": 5})
    assert (job.kind, job.created_by_name) == ("tune", "Ada")
    assert job.spec["dataset_hash"] == dataset.content_hash
    assert job.spec["base_hash"] == EMBEDDER
    assert job.spec["labels"] == ["cards", "loans"]
    assert (job.spec["settings"]["epochs"], job.spec["settings"]["seed"], job.spec["settings"]["rank"]) == (3, 5, 8)
    with services.context.database.session() as session:
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "tuning.launched")).one()
    assert event.details["settings"] == job.spec["settings"]


def test_a_double_click_queues_one_fine_tune(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, triage_contents())
    jobs = {_launch(services, project, actor, dataset.id, command_id="click").id for _ in range(2)}
    assert len(jobs) == 1


def test_a_reviewer_may_look_but_not_launch(services: Services, project: Project, someone: Someone) -> None:
    reviewer = someone(Role.REVIEWER)
    dataset = make_dataset(services, project.id, triage_contents())
    found = services.tuning.examine(reviewer, project.id, recipe="triage", dataset_id=dataset.id, settings={})
    assert (found.stops, found.train_rows, found.labels, found.steps) == ([], 12, {"cards": 6, "loans": 6}, 8)
    with pytest.raises(NotAllowed):
        _launch(services, project, reviewer, dataset.id)


@pytest.mark.parametrize(
    ("contents", "options", "message"),
    [
        (triage_contents(9), {}, "9 training examples; the recipe needs at least 10"),
        (triage_contents(12, ("cards",)), {}, "the same label"),
        ([*triage_contents(12), {"text": "odd one", "label": "fraud"}], {}, "Fewer than 2 training examples carry fraud"),
        (triage_contents(12), {"frozen": False}, "not frozen"),
        (answer_contents(12), {"task": "generation"}, "is for generation"),
    ],
)
def test_a_dataset_that_cannot_be_learned_from_is_refused_before_it_is_queued(
    services: Services,
    project: Project,
    someone: Someone,
    contents: list[dict[str, str]],
    options: dict[str, object],
    message: str,
) -> None:
    dataset = make_dataset(services, project.id, contents, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=message):
        _launch(services, project, someone(Role.ENGINEER), dataset.id)
    with services.context.database.session() as session:
        assert list_jobs(session, project.id) == []


def test_a_dataset_with_golden_text_is_refused(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    golden = '{"text": "Please help with matter 3", "label": "cards"}'
    services.golden.import_jsonl(actor, project.id, name="Gate", task="triage", data=golden)
    dataset = make_dataset(services, project.id, triage_contents())
    with pytest.raises(InvalidInput, match="1 of 12 examples hold text of a golden set"):
        _launch(services, project, actor, dataset.id)


def test_another_projects_dataset_is_refused(services: Services, project: Project, someone: Someone) -> None:
    dataset = make_dataset(services, "another", triage_contents())
    with pytest.raises(InvalidInput, match="another project"):
        _launch(services, project, someone(Role.ENGINEER), dataset.id)
    with pytest.raises(NotFound):
        _launch(services, project, someone(Role.ENGINEER), "nothing")


def test_a_full_disk_or_memory_stops_the_launch(
    services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 50_000_000))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("memory", "available")(100_000_000))
    with pytest.raises(InvalidInput, match="50 MB are free, and 600 MB are needed.*100 MB of memory are free"):
        _launch(services, project, someone(Role.ENGINEER), dataset.id)


def test_a_run_of_many_hours_is_refused(services: Services, project: Project, someone: Someone) -> None:
    rows = [{"prompt": "word " * 900 + str(n), "completion": "done " * 200} for n in range(300)]
    dataset = make_dataset(services, project.id, rows, task="generation")
    with pytest.raises(InvalidInput, match="hours; the most is 6"):
        _launch(services, project, someone(Role.ENGINEER), dataset.id, recipe="generative", settings={"epochs": 20})


def test_a_base_model_in_the_making_is_waited_for_and_a_failed_one_stops(
    services: Services, project: Project, someone: Someone, runtime: FakeRuntime
) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, answer_contents(), task="generation")
    runtime.state = {"base": {"state": "failed", "reason": "The disk is full."}}
    with pytest.raises(InvalidInput, match=r"not ready \(failed\).*The disk is full"):
        _launch(services, project, actor, dataset.id, recipe="generative")
    runtime.state = {"base": {"state": "converting", "progress": 0.4}}
    found = services.tuning.examine(actor, project.id, recipe="generative", dataset_id=dataset.id, settings={})
    assert "converting, 40% done" in next(item.text for item in found.findings if item.name == "Base model")
    assert _launch(services, project, actor, dataset.id, recipe="generative").spec["base_hash"] is None


def test_a_runtime_that_is_down_does_not_stop_a_launch(
    services: Services, project: Project, someone: Someone, runtime: FakeRuntime
) -> None:
    runtime.state = {}
    dataset = make_dataset(services, project.id, triage_contents())
    assert _launch(services, project, someone(Role.ENGINEER), dataset.id).spec["base_hash"] is None


def test_a_second_fine_tune_is_told_that_it_waits(services: Services, project: Project, someone: Someone) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, triage_contents())
    _launch(services, project, actor, dataset.id)
    found = services.tuning.examine(actor, project.id, recipe="triage", dataset_id=dataset.id, settings={})
    assert "1 before this one" in next(item.text for item in found.findings if item.name == "Queue")


def test_a_registered_adapter_carries_its_receipt(
    services: Services, project: Project, someone: Someone, tmp_path: Path
) -> None:
    actor = someone(Role.ENGINEER, name="Ada")
    dataset = make_dataset(services, project.id, triage_contents())
    job = _launch(services, project, actor, dataset.id)
    content_hash = store_adapter(services, tmp_path / "one")
    adapter = register(services, job, content_hash)
    assert register(services, job, content_hash).id == adapter.id
    assert (adapter.kind, adapter.number, adapter.title) == ("triage", 1, "Triage adapter 1")
    assert (adapter.dataset_hash, adapter.base_hash) == (dataset.content_hash, EMBEDDER)
    assert (adapter.launched_by, adapter.launched_by_name) == (actor.id, "Ada")
    assert (adapter.seconds, adapter.peak_memory_bytes, adapter.tokens) == (12.5, 900_000_000, 4000)
    assert adapter.settings["seed"] == 17
    second = register(services, _launch(services, project, actor, dataset.id), content_hash)
    assert second.number == 2
    with services.context.database.session() as session:
        found = queries.by_hash(session, project.id, content_hash)
        assert found is not None
        assert found.id == adapter.id
        assert [item.number for item in queries.adapters(session, project.id, "triage")] == [2, 1]


def test_an_adapter_whose_bytes_are_not_stored_is_not_registered(
    services: Services, project: Project, someone: Someone
) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    job = _launch(services, project, someone(Role.ENGINEER), dataset.id)
    with pytest.raises(NotFound, match="not in the store"):
        register(services, job, BASE)


def test_only_a_fine_tune_leaves_an_adapter(services: Services, project: Project, tmp_path: Path) -> None:
    job = Job(kind="compare", title="", created_by="x", project_id=project.id)
    with pytest.raises(InvalidInput, match="no fine-tune"), services.context.unit_of_work(WORKER) as work:
        work.add(job)
        services.tuning.register_adapter(
            work, job, content_hash=store_adapter(services, tmp_path / "one"), base_hash=BASE, result=RESULT
        )


def test_going_on_from_an_adapter_keeps_its_labels_and_refuses_new_ones(
    services: Services, project: Project, someone: Someone, tmp_path: Path
) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, triage_contents())
    parent = register(services, _launch(services, project, actor, dataset.id), store_adapter(services, tmp_path / "one"))
    job = _launch(services, project, actor, dataset.id, continue_from=parent.content_hash)
    assert (job.spec["continue_from"], job.spec["labels"]) == (parent.content_hash, ["cards", "loans"])
    child = register(services, job, store_adapter(services, tmp_path / "two", "others"))
    assert child.parent_hash == parent.content_hash
    more = make_dataset(services, project.id, triage_contents(12, ("cards", "fraud")))
    with pytest.raises(InvalidInput, match="does not know fraud"):
        _launch(services, project, actor, more.id, continue_from=parent.content_hash)
    with pytest.raises(InvalidInput, match="no triage adapter"):
        _launch(services, project, actor, dataset.id, continue_from=BASE)


def test_an_adapter_altered_on_disk_is_not_gone_on_from(
    services: Services, project: Project, someone: Someone, tmp_path: Path
) -> None:
    actor = someone(Role.ENGINEER)
    dataset = make_dataset(services, project.id, triage_contents())
    parent = register(services, _launch(services, project, actor, dataset.id), store_adapter(services, tmp_path / "one"))
    (services.context.artifacts.path(parent.content_hash) / "adapter.json").write_text("altered")
    with pytest.raises(InvalidInput, match="altered on disk"):
        _launch(services, project, actor, dataset.id, continue_from=parent.content_hash)


def test_a_dataset_row_altered_in_the_database_is_refused(services: Services, project: Project, someone: Someone) -> None:
    dataset = make_dataset(services, project.id, triage_contents())
    with Session(services.context.database.writing) as session, session.begin():
        row = session.exec(select(DatasetExample)).first()
        assert row is not None
        row.content = {**row.content, "label": "loans"}
        session.add(row)
    with pytest.raises(InvalidInput, match="Row 1 of .* was altered"):
        _launch(services, project, someone(Role.ENGINEER), dataset.id)
