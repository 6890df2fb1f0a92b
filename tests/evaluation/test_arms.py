"""Comparisons through the real serving path, with a runtime that needs no model."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from tests.evaluation.factories import Attempt
from tests.golden.factories import answer_row, jsonl
from tests.serving.fakes import BASE, FakeRuntime
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.evaluation import queries, runner
from workbench.evaluation.models import CaseResult, Comparison
from workbench.evaluation.queries import CasePair
from workbench.identity.models import Project
from workbench.knowledge.content import EntryContent
from workbench.prompts.content import STARTER
from workbench.serving.configuration import GuardPolicy, Routing, ServingConfiguration

FEE = EntryContent(title="Transfer fees", text="A transfer costs 2 EUR. It arrives on the next working day.")


@dataclass
class Bank:
    services: Services
    project: Project
    expert: Actor
    engineer: Actor
    runtime: FakeRuntime
    written: ServingConfiguration
    """The model writes, and what it writes is delivered."""

    @property
    def evidence(self) -> ServingConfiguration:
        """The cited sentence itself is the answer."""
        return replace(self.written, routing=replace(self.written.routing, mode="evidence"))

    def launch(self, candidate: ServingConfiguration, incumbent: ServingConfiguration) -> Comparison:
        rows = [
            answer_row(),
            answer_row(
                "Who won the chess game yesterday?",
                evidence=[],
                must_state=[],
                must_not_state=[],
                format={"decline": True},
                tags={"language": "en"},
            ),
        ]
        golden = self.services.golden.import_jsonl(
            self.engineer, self.project.id, name="Answers", task="answers", data=jsonl(*rows)
        )
        return self.services.evaluation.launch(
            self.engineer,
            self.project.id,
            golden_set_id=golden.id,
            candidate=candidate,
            incumbent=incumbent,
            candidate_name="Evidence",
            incumbent_name="Model",
        )

    def run(self, comparison: Comparison) -> list[CasePair]:
        runner.run(
            self.services.context,
            self.runtime,
            comparison.id,
            progress=lambda value: None,
            should_stop=lambda: False,
            write=Attempt(self.services).write,
        )
        with self.services.context.database.session() as session:
            return queries.case_pairs(session, queries.get_comparison(session, comparison.id))


@pytest.fixture
def bank(services: Services, project: Project, someone: Callable[..., Actor]) -> Bank:
    engineer, expert = someone(Role.ENGINEER), someone(Role.EXPERT)
    prompt = services.prompts.create_version(engineer, project.id, name="answers", content=STARTER)
    services.knowledge.create(expert, project.id, key="transfer-fees", content=FEE)
    written = ServingConfiguration(
        project_id=project.id,
        base_model=BASE,
        prompt_version=prompt.content_hash,
        routing=Routing(minimum_score=0.3),
        guard=GuardPolicy(on_failure="deliver"),
    )
    runtime = FakeRuntime(services.context.database, lambda prompt: "It is free of charge.")
    return Bank(services, project, expert, engineer, runtime, written)


def _broken(row: CaseResult | None) -> set[str]:
    assert row is not None
    return {check["kind"] for check in row.checks if not check["ok"]}


def test_each_arm_answers_as_it_would_be_served(bank: Bank) -> None:
    asked, declined = bank.run(bank.launch(bank.evidence, bank.written))
    assert asked.candidate is not None
    assert asked.incumbent is not None
    assert (asked.outcome, declined.outcome) == ("gained", "both")
    assert asked.candidate.details["mode"] == "evidence"
    assert asked.candidate.details["cited"] == ["transfer-fees"]
    assert asked.incumbent.output == "It is free of charge."
    assert _broken(asked.incumbent) == {"must_state", "must_not_state", "citation"}
    assert _broken(declined.incumbent) == set()


def test_both_arms_answer_from_the_corpus_of_the_launch(bank: Bank) -> None:
    comparison = bank.launch(bank.evidence, bank.written)
    bank.services.knowledge.create(
        bank.expert,
        bank.project.id,
        key="transfer-fees-new",
        content=replace(FEE, text="A transfer costs 9 EUR, whatever it costs elsewhere."),
    )
    asked, _declined = bank.run(comparison)
    assert comparison.candidate["corpus_commit"] == comparison.incumbent["corpus_commit"] is not None
    assert asked.candidate is not None
    assert asked.candidate.details["corpus_commit"] == comparison.candidate["corpus_commit"]
    assert "9 EUR" not in asked.candidate.output
