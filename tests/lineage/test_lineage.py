"""From an answer to the people behind it, and from a person or trace to what is live."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlmodel import Session

from tests.releases.factories import Bank
from workbench.core.clock import now
from workbench.core.errors import NotFound
from workbench.core.ids import new_id
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.knowledge.models import KnowledgeEntry, KnowledgeEntryVersion
from workbench.lineage.answers import AnswerLineage, lineage_of, parents_of
from workbench.lineage.reach import Reach, reach_of_person, reach_of_trace
from workbench.traces.models import Trace
from workbench.tuning.queries import by_hash


def _learned(bank: Bank, adapter: str, *traces: str, by: str, people: list[str] | None = None) -> DatasetVersion:
    """The dataset of an adapter, one example a trace."""
    with bank.services.context.database.session() as session:
        row = by_hash(session, bank.project.id, adapter)
    assert row is not None
    dataset = DatasetVersion(
        id=row.dataset_id, project_id=bank.project.id, name=f"set {row.number}", number=1, task="triage",
        content_hash=row.dataset_hash, rows=len(traces), created_by="x",
    )  # fmt: skip
    examples = [
        DatasetExample(
            project_id=bank.project.id, dataset_id=dataset.id, position=position, leaf_hash="x", trace_id=trace,
            response_id=new_id(), person_id=by, people=people or [by],
        )
        for position, trace in enumerate(traces)
    ]  # fmt: skip
    bank.insert(dataset, *examples)
    return dataset


def _answer(bank: Bank, **fields: Any) -> str:
    trace_id = new_id().replace("-", "")
    trace = Trace(project_id=bank.project.id, trace_id=trace_id, started_at=now(), input="q", output="a", **fields)
    with Session(bank.services.context.database.ingesting) as session, session.begin():
        session.add(trace)
    return trace_id


def _lineage(bank: Bank, trace_id: str) -> AnswerLineage:
    with bank.services.context.database.session() as session:
        return lineage_of(session, bank.services.context.settings, bank.project.id, trace_id)


@pytest.fixture
def reach_of(bank: Bank) -> Callable[..., Reach]:
    def find(*, person: str | None = None, trace: str | None = None) -> Reach:
        settings, project = bank.services.context.settings, bank.project.id
        with bank.services.context.database.session() as session:
            if person is not None:
                return reach_of_person(session, settings, project, person)
            return reach_of_trace(session, settings, project, str(trace))

    return find


def test_an_answer_leads_to_release_adapter_dataset_examples_and_people(bank: Bank) -> None:
    triage = bank.add_adapter("triage")
    dataset = _learned(bank, triage, "t1", "t2", by=bank.engineer.id)
    release = bank.release_first(triage_adapter=triage)
    found = _lineage(bank, _answer(bank, release=release.title))
    assert found.release is not None
    assert found.release.id == release.id
    (origin,) = found.adapters
    assert origin.dataset is not None
    assert origin.dataset.id == dataset.id
    assert {example.trace_id for example in origin.examples} == {"t1", "t2"}
    did = {(person.name, person.did) for person in found.people}
    assert ("Erin Engineer", "answered 2 examples of triage adapter 1") in did
    assert ("Rae Reviewer", "approved release 1") in did
    assert ("Lou Launcher", "launched the fine-tune of triage adapter 1") in did
    assert found.gaps == []


def test_an_answer_leads_to_who_wrote_and_certified_its_evidence(bank: Bank) -> None:
    entry = KnowledgeEntry(project_id=bank.project.id, key="fees", created_by="x")
    version = KnowledgeEntryVersion(
        entry_id=entry.id, project_id=bank.project.id, number=1, key="fees", title="Fees", text="Two euros.", kind="fact",
        language="en", risk_tier="low", source="tariff", content_hash="x", author_id="w", author_name="Wren Writer",
        certified_by="c", certified_by_name="Cleo Certifier",
    )  # fmt: skip
    bank.insert(entry, version)
    release = bank.release_first()
    documents = [{"id": "fees", "content": "Two euros.", "version": version.id}, {"id": "elsewhere", "content": "?"}]
    found = _lineage(bank, _answer(bank, release=release.id, documents=documents))
    assert [passage.version.id if passage.version else None for passage in found.passages] == [version.id, None]
    did = {(person.name, person.did) for person in found.people}
    assert {("Wren Writer", "wrote fees"), ("Cleo Certifier", "certified fees")} <= did


@pytest.mark.parametrize("release", [None, "v2026.4"])
def test_a_lineage_says_where_it_ends(bank: Bank, release: str | None) -> None:
    found = _lineage(bank, _answer(bank, release=release))
    assert found.release is None
    assert len(found.gaps) == 1


def test_a_lineage_says_that_a_dataset_is_gone(bank: Bank) -> None:
    release = bank.release_first(triage_adapter=bank.add_adapter("triage"))
    found = _lineage(bank, _answer(bank, release=release.id))
    assert any("dataset of triage adapter 1 is gone" in gap for gap in found.gaps)


def test_an_unknown_trace_has_no_lineage(bank: Bank) -> None:
    with pytest.raises(NotFound):
        _lineage(bank, "0" * 32)


def test_a_person_reaches_what_is_live(bank: Bank, reach_of: Callable[..., Reach]) -> None:
    triage = bank.add_adapter("triage")
    _learned(bank, triage, "t1", by=bank.engineer.id)
    release = bank.release_first(triage_adapter=triage)
    found = reach_of(person=bank.engineer.id)
    assert [reached.release.id for reached in found.releases] == [release.id]
    assert found.releases[0].slots == ["triage_adapter"]
    assert found.is_live


def test_a_person_who_was_outvoted_is_reached_too_and_nobody_else(bank: Bank, reach_of: Callable[..., Reach]) -> None:
    triage = bank.add_adapter("triage")
    _learned(bank, triage, "t1", by=bank.engineer.id, people=[bank.engineer.id, bank.reviewer.id])
    assert len(reach_of(person=bank.reviewer.id).examples) == 1
    assert reach_of(person=bank.operator.id) == Reach()
    assert reach_of(person="%").examples == []


def test_what_was_taken_back_is_reached_but_no_longer_live(bank: Bank, reach_of: Callable[..., Reach]) -> None:
    bank.release_first()
    triage = bank.add_adapter("triage")
    _learned(bank, triage, "t1", by=bank.engineer.id)
    bank.release_next(triage_adapter=triage)
    assert reach_of(trace="t1").is_live
    bank.rollback()
    found = reach_of(trace="t1")
    assert len(found.releases) == 1
    assert found.releases[0].live[0][1] is not None
    assert not found.is_live


def test_an_adapter_that_goes_on_from_a_reached_one_is_reached(bank: Bank, reach_of: Callable[..., Reach]) -> None:
    first, second = bank.add_adapter("triage"), bank.add_adapter("triage")
    _learned(bank, first, "t1", by=bank.engineer.id)
    bank.edit("UPDATE adapter SET parent_hash = :parent WHERE content_hash = :child", parent=first, child=second)
    release = bank.release_first(triage_adapter=second)
    found = reach_of(trace="t1")
    assert {(reached.adapter.content_hash, reached.inherited) for reached in found.adapters} == {(first, False), (second, True)}
    assert found.is_live
    behind = _lineage(bank, _answer(bank, release=release.id))
    assert [parent.content_hash for parent in behind.adapters[0].parents] == [first]
    assert [example.trace_id for example in behind.adapters[0].examples] == ["t1"]


def test_a_ring_of_parents_ends(bank: Bank) -> None:
    first, second = bank.add_adapter("triage"), bank.add_adapter("triage")
    for child, parent in ((first, second), (second, first)):
        bank.edit("UPDATE adapter SET parent_hash = :parent WHERE content_hash = :child", parent=parent, child=child)
    with bank.services.context.database.session() as session:
        adapter = by_hash(session, bank.project.id, first)
        assert adapter is not None
        assert [row.content_hash for row in parents_of(session, adapter)] == [second]


def test_another_projects_answers_are_not_reached(bank: Bank, reach_of: Callable[..., Reach]) -> None:
    triage = bank.add_adapter("triage")
    _learned(bank, triage, "t1", by=bank.engineer.id)
    settings = bank.services.context.settings
    with bank.services.context.database.session() as session:
        assert reach_of_trace(session, settings, "another-project", "t1") == Reach()
