"""Proposing from comparisons and jobs."""

from dataclasses import replace

import pytest

from tests.releases.factories import Bank
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.core.jobs import Job
from workbench.tuning.queries import by_hash
from workbench.workflows.release_proposal import propose_from_comparisons, propose_from_job


def _propose(bank: Bank, *ids: str, **options: str) -> object:
    return propose_from_comparisons(
        bank.services.context, bank.engineer, bank.project.id, ids, **{"reason": "Better triage.", **options}
    )


def test_a_comparisons_slots_go_over_what_is_live_now(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    triage = replace(bank.live(), triage_adapter=bank.add_adapter("triage"))
    comparison = bank.add_comparison(triage, bank.live())
    prompt = bank.add_prompt("Answer kindly.")
    bank.release_next(prompt_version=prompt)
    release = propose_from_comparisons(
        bank.services.context, bank.engineer, bank.project.id, [comparison.id], reason="Better triage."
    )
    assert release.configuration.prompt_version == prompt
    assert release.configuration.triage_adapter == triage.triage_adapter
    assert release.manifest["changed"] == ["triage_adapter"]
    assert release.manifest["unproven"] == {}


def test_two_comparisons_make_one_release(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    triage = bank.add_comparison(replace(bank.live(), triage_adapter=bank.add_adapter("triage")), bank.live())
    generator = bank.add_adapter("generator")
    answers = bank.add_comparison(replace(bank.live(), generator_adapter=generator), bank.live(), task="answers")
    release = propose_from_comparisons(
        bank.services.context, bank.engineer, bank.project.id, [triage.id, answers.id], reason="Both are better."
    )
    assert release.manifest["changed"] == ["generator_adapter", "triage_adapter"]
    assert len(release.manifest["evidence"]) == 2


def test_comparisons_of_different_candidates_are_not_mixed(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    one, two = (
        bank.add_comparison(replace(bank.live(), triage_adapter=bank.add_adapter("triage")), bank.live()) for _ in range(2)
    )
    with pytest.raises(InvalidInput, match="different candidates"):
        _propose(bank, one.id, two.id)
    with pytest.raises(InvalidInput, match="Name the comparison"):
        _propose(bank)


def test_the_first_release_takes_all_slots_from_its_candidates(bank: Bank) -> None:
    candidate = bank.configuration(triage_adapter=bank.add_adapter("triage"))
    comparison = bank.add_comparison(candidate, bank.configuration())
    release = propose_from_comparisons(
        bank.services.context, bank.engineer, bank.project.id, [comparison.id], reason="The first one."
    )
    assert release.configuration == replace(candidate, release_id=release.id, manifest_hash=release.manifest_hash)


def test_a_fine_tune_is_proposed_with_the_comparisons_that_fit(bank: Bank) -> None:
    bank.release_first(triage_adapter=bank.add_adapter("triage"))
    name = bank.add_adapter("triage")
    bank.add_comparison(replace(bank.live(), triage_adapter=name), bank.live())
    with bank.services.context.database.session() as session:
        adapter = by_hash(session, bank.project.id, name)
    assert adapter is not None
    release = propose_from_job(bank.services.context, bank.engineer, adapter.job_id, reason="Knows the new terms.")
    assert release.configuration.triage_adapter == name
    assert [item["verdict"] for item in release.manifest["evidence"]] == ["PASS"]


def test_a_fine_tune_alone_is_no_first_release(bank: Bank) -> None:
    name = bank.add_adapter("triage")
    with bank.services.context.database.session() as session:
        adapter = by_hash(session, bank.project.id, name)
    assert adapter is not None
    with pytest.raises(Conflict, match="Nothing is live"):
        propose_from_job(bank.services.context, bank.engineer, adapter.job_id, reason="x")


def test_a_job_that_made_nothing_is_not_proposed(bank: Bank) -> None:
    job = Job(project_id=bank.project.id, kind="tune", title="x", created_by="x")
    bank.insert(job)
    with pytest.raises(NotFound, match="nothing to propose"):
        propose_from_job(bank.services.context, bank.engineer, job.id, reason="x")


def test_proposing_takes_the_role(bank: Bank) -> None:
    comparison = bank.add_comparison(bank.configuration(triage_adapter=bank.add_adapter("triage")), bank.configuration())
    with pytest.raises(NotAllowed):
        propose_from_comparisons(bank.services.context, bank.reviewer, bank.project.id, [comparison.id], reason="x")
