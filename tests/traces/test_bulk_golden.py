"""Golden cases out of many traces: what becomes a case, what is skipped and why, and what an undo takes back."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmodel import Session

from tests.golden.factories import answer_row, jsonl, triage_row
from tests.traces.factories import request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput
from workbench.evaluation.models import Comparison
from workbench.golden import queries
from workbench.golden.models import GoldenSet
from workbench.identity.models import Project
from workbench.traces.act_models import ActState
from workbench.traces.hits import Hits, all_hits
from workbench.traces.indexer import index_all
from workbench.traces.queries import TraceFilter
from workbench.workflows import bulk_golden
from workbench.workflows.bulk_golden import FULL, IN_SET, LEARNED, NO_LABEL, NO_QUESTION, NO_REFERENCE


def send(services: Services, project: Project, key: Actor, *turns: tuple[str, str]) -> list[str]:
    """Traces of (question, triage label), the oldest first."""
    moment = int((now() - timedelta(hours=2)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in turns]
    spans = [
        span({"workbench.input": question, "workbench.triage.label": label}, trace_id=one, start=moment + place * 1000)
        for place, (one, (question, label)) in enumerate(zip(ids, turns, strict=True))
    ]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    return ids


def every(services: Services, project: Project) -> Hits:
    with services.context.database.session() as session:
        return all_hits(session, project.id, TraceFilter())


def make_set(services: Services, project: Project, actor: Actor, task: str = "triage") -> GoldenSet:
    row = triage_row() if task == "triage" else answer_row()
    return services.golden.import_jsonl(actor, project.id, name="Gate", task=task, data=jsonl(row))


def texts(services: Services, project: Project) -> list[str]:
    with services.context.database.session() as session:
        newest = queries.newest(session, project.id, "Gate")
        assert newest is not None
        return [str(case.content.get("text") or case.content.get("question")) for case in queries.cases(session, newest.id)]


def test_traces_become_cases_of_one_new_version_and_the_undo_removes_them(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    engineer = someone(Role.ENGINEER)
    golden = make_set(services, project, engineer)
    learned = "Please tell me how long the new card of my wife takes to arrive"
    send(
        services, project, key, ("Where is my card?", "cards"), ("What does the loan cost?", "loans"),
        ("where  is my CARD?", "cards"), ("my card was stolen abroad", "cards"), ("Hello?", "chitchat"), ("", "cards"),
        (learned, "cards"),
    )  # fmt: skip
    row = SimpleNamespace(content={"prompt": f"Question: {learned}"})
    monkeypatch.setattr(bulk_golden, "list_datasets", lambda *_, **__: [SimpleNamespace(id="d")])
    monkeypatch.setattr(bulk_golden, "examples", lambda *_: [row, row])
    spec: dict[str, Any] = {"golden_set_id": golden.id}
    reasons = {IN_SET: 2, NO_LABEL: 1, NO_QUESTION: 1, LEARNED: 1}
    assert services.bulk.preview(engineer, project.id, "golden", spec, every(services, project)).skipped == reasons
    act = services.bulk.begin(engineer, project.id, "golden", spec, every(services, project))
    assert (act.state, act.changed, act.skipped) == (ActState.DONE, 2, reasons)
    assert texts(services, project) == ["My card was stolen abroad", "where  is my CARD?", "What does the loan cost?"]
    again = services.bulk.begin(engineer, project.id, "golden", spec, every(services, project))
    assert (again.changed, again.skipped[IN_SET]) == (0, 4)
    with pytest.raises(Conflict, match="added no case"):
        services.bulk.undo(engineer, again.id)
    undone = services.bulk.undo(engineer, act.id)
    assert (undone.undo["taken"], texts(services, project)) == (2, ["My card was stolen abroad"])
    with services.context.database.session() as session:
        assert [one.number for one in queries.list_sets(session, project.id)] == [3, 2, 1]


def test_cases_that_a_comparison_has_used_stay(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    engineer = someone(Role.ENGINEER)
    golden = make_set(services, project, engineer)
    send(services, project, key, ("Where is my card?", "cards"))
    spec = {"golden_set_id": golden.id, "label": "loans"}
    act = services.bulk.begin(engineer, project.id, "golden", spec, every(services, project))
    with services.context.database.session() as session:
        assert queries.cases(session, act.result["golden_set_id"])[-1].content["label"] == "loans"
    with Session(services.context.database.writing) as session, session.begin():
        version = session.get(GoldenSet, act.result["golden_set_id"])
        assert version is not None
        session.add(
            Comparison(
                project_id=project.id,
                golden_set_id=version.id,
                golden_hash=version.content_hash,
                task="triage",
                launched_by="x",
            )
        )
    with pytest.raises(Conflict, match="A comparison has used Gate v2"):
        services.bulk.undo(engineer, act.id)
    with pytest.raises(InvalidInput, match="no team"):
        services.bulk.preview(engineer, project.id, "golden", {**spec, "label": "sales"}, every(services, project))


def test_answers_take_their_reference_from_a_correction(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    engineer = someone(Role.ENGINEER)
    golden = make_set(services, project, engineer, "answers")
    ids = send(services, project, key, ("What is it?", ""), ("Who is it?", ""), ("How is it?", ""))
    for trace_id, text in ((ids[0], "First."), (ids[0], "It is this."), (ids[2], "Well.")):
        services.traces.add_feedback(key, project.id, trace_id=trace_id, kind="correction", value=text, name="wanted")
    spec = {"golden_set_id": golden.id, "format": {"citation": True}}
    with pytest.raises(InvalidInput, match="checks nothing"):
        services.bulk.preview(engineer, project.id, "golden", {**spec, "format": {}}, every(services, project))
    monkeypatch.setattr(bulk_golden, "MAX_CASES", 2)
    act = services.bulk.begin(engineer, project.id, "golden", spec, every(services, project))
    assert (act.changed, act.skipped) == (1, {NO_REFERENCE: 1, FULL: 1})
    monkeypatch.setattr(bulk_golden, "MAX_CASES", 9)
    assert services.bulk.begin(engineer, project.id, "golden", spec, every(services, project)).changed == 1
    with services.context.database.session() as session:
        newest = queries.newest(session, project.id, "Gate")
        assert newest is not None
        last = queries.cases(session, newest.id)[-1]
    assert (last.content["reference"], last.trace_id, last.content["format"]["citation"]) == ("It is this.", ids[0], True)
