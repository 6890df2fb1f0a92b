"""Commands that launch comparisons and store their verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlmodel import Session

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, IntegrityError, InvalidInput
from workbench.core.jobs import enqueue
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.datasets.queries import examples
from workbench.evaluation import queries
from workbench.evaluation.gate import Decision, decide
from workbench.evaluation.models import Arm, Comparison
from workbench.evaluation.queries import CasePair
from workbench.evaluation.rule import Rule
from workbench.evaluation.statistics import Pair
from workbench.golden import queries as golden
from workbench.golden.formats import set_hash, text_of
from workbench.golden.leaks import find_leaks
from workbench.golden.models import GoldenCase, GoldenSet
from workbench.knowledge.queries import head
from workbench.serving.configuration import ServingConfiguration
from workbench.tuning import queries as tuning

CLUSTER_TAG = "conversation"
"""Cases with the same value of this tag come from one conversation and are not independent."""


class EvaluationService(Service):
    """Comparisons: launched by people, run by a job, decided by the rule alone."""

    def launch(
        self,
        actor: Actor,
        project_id: str,
        *,
        golden_set_id: str,
        candidate: ServingConfiguration,
        incumbent: ServingConfiguration,
        candidate_name: str,
        incumbent_name: str,
        rule: Rule | None = None,
        reason: str = "",
        command_id: str | None = None,
    ) -> Comparison:
        """Queue a comparison; the same command id queues it once.

        Both arms are pinned to the same corpus commit where they name none, so that a resumed run compares like with like.

        Args:
            rule: what the candidate must show; fixed from here on.

        Raises:
            InvalidInput: an arm cannot do the task, belongs to another project, or was trained on golden text.
            NotFound: no such golden set.
        """
        with self.unit_of_work(actor) as work:
            if done := work.once(command_id):
                return work.get(Comparison, done["comparison_id"])
            work.require(Permission.COMPARE, project_id)
            chosen = golden.get_set(work.session, golden_set_id, project_id)
            cases = golden.cases(work.session, chosen.id)
            check_cases(chosen, cases)
            arms = {Arm.CANDIDATE: candidate, Arm.INCUMBENT: incumbent}
            for arm, configuration in arms.items():
                self._check_arm(work.session, project_id, chosen.task, arm, configuration, cases)
            pinned = {arm: _pinned(work.session, chosen.task, configuration) for arm, configuration in arms.items()}
            comparison = Comparison(
                project_id=project_id,
                golden_set_id=chosen.id,
                golden_hash=chosen.content_hash,
                task=chosen.task,
                candidate=pinned[Arm.CANDIDATE].as_json(),
                incumbent=pinned[Arm.INCUMBENT].as_json(),
                candidate_name=candidate_name.strip() or "Candidate",
                incumbent_name=incumbent_name.strip() or "Incumbent",
                rule=(rule or Rule()).as_json(),
                launched_by=actor.id,
                launched_by_name=actor.name,
            )
            job = enqueue(
                work,
                kind=queries.COMPARE,
                title=f"Compare {comparison.candidate_name} with {comparison.incumbent_name} on {chosen.title}",
                spec={"comparison_id": comparison.id},
                project_id=project_id,
                reason=reason,
            )
            comparison.job_id = job.id
            work.add(comparison)
            work.record(
                "evaluation.launched",
                subject=comparison,
                reason=reason,
                golden_set=chosen.content_hash,
                candidate=comparison.candidate,
                incumbent=comparison.incumbent,
                rule=comparison.rule,
                job_id=job.id,
            )
            work.remember(comparison_id=comparison.id)
            return comparison

    def store_verdict(self, work: UnitOfWork, comparison_id: str) -> Comparison:
        """Decide from the stored results and write the verdict, once, inside the worker's fenced transaction.

        No caller can hand in a verdict: it follows from the rows, the golden set and the rule.

        Raises:
            Conflict: results are missing. IntegrityError: the golden set is not what was compared on.
        """
        comparison = work.get(Comparison, comparison_id, lock=True)
        if comparison.verdict is not None:
            return comparison
        chosen = work.get(GoldenSet, comparison.golden_set_id)
        pairs = queries.case_pairs(work.session, comparison)
        check_cases(chosen, [pair.case for pair in pairs])
        if chosen.content_hash != comparison.golden_hash:
            raise IntegrityError("The golden set is not the one that the comparison was launched with.")
        decision = decided(comparison, pairs)
        comparison.verdict = decision.verdict.value
        comparison.statistics = {**decision.as_json(), **_what_it_took(pairs)}
        comparison.results_hash = results_hash(pairs)
        comparison.state = "finished"
        comparison.finished_at = now()
        work.add(comparison)
        work.record(
            "evaluation.decided",
            subject=comparison,
            verdict=comparison.verdict,
            finding=decision.finding,
            difference=round(decision.difference.value, 6),
            low=round(decision.difference.low, 6),
            high=round(decision.difference.high, 6),
            pairs=decision.difference.pairs,
            golden_set=comparison.golden_hash,
            results_hash=comparison.results_hash,
            rule=comparison.rule,
        )
        return comparison

    def _check_arm(
        self,
        session: Session,
        project_id: str,
        task: str,
        arm: Arm,
        configuration: ServingConfiguration,
        cases: Sequence[GoldenCase],
    ) -> None:
        if configuration.project_id != project_id:
            raise InvalidInput(f"The {arm.value} belongs to another project.")
        wanted = configuration.triage_adapter if task == "triage" else configuration.generator_adapter
        if wanted is None:
            if task == "triage":
                raise InvalidInput(
                    f"The {arm.value} has no triage adapter, so it classifies nothing.", todo="Choose a triage adapter for it."
                )
            return
        kind = "triage" if task == "triage" else "generator"
        adapter = tuning.by_hash(session, project_id, wanted)
        if adapter is None or adapter.kind != kind:
            raise InvalidInput(f"The project has no {kind} adapter {wanted[:19]}…, which the {arm.value} names.")
        if task == "answers" and adapter.base_hash != configuration.base_model:
            raise InvalidInput(
                f"The {arm.value}'s adapter belongs to another base model.", todo="Choose one made for the current base model."
            )
        self._check_never_trained_on(session, project_id, arm, wanted, cases)

    @staticmethod
    def _check_never_trained_on(
        session: Session, project_id: str, arm: Arm, adapter_hash: str | None, cases: Sequence[GoldenCase]
    ) -> None:
        """The adapter and those it went on from must not have seen a case of this set."""
        seen: set[str] = set()
        texts = [text_of(case.content) for case in cases]
        while adapter_hash and adapter_hash not in seen:
            seen.add(adapter_hash)
            adapter = tuning.by_hash(session, project_id, adapter_hash)
            if adapter is None:
                return
            rows = examples(session, adapter.dataset_id)
            learned = ["\n".join(str(value) for value in (row.content or {}).values()) for row in rows]
            if leaks := find_leaks(learned, texts):
                raise InvalidInput(
                    f"The {arm.value} was trained on text of this golden set, so the set cannot test it.",
                    why=f"Case {leaks[0].golden + 1} and a training example share “{leaks[0].shared}”.",
                    todo="Train on a dataset version without it, or remove the case from the golden set.",
                )
            adapter_hash = adapter.parent_hash


def check_cases(chosen: GoldenSet, cases: Sequence[GoldenCase]) -> None:
    """Return when the cases are exactly those that were frozen.

    Raises:
        IntegrityError: a case was changed, added or removed.
    """
    altered = [
        case.position + 1
        for case in cases
        if case.content and content_hash({"content": case.content, "tags": case.tags}) != case.case_hash
    ]
    if altered or set_hash(chosen.task, [case.case_hash for case in cases]) != chosen.content_hash:
        named = f"case {altered[0]} was changed" if altered else "cases were added or removed"
        raise IntegrityError(
            f"The golden set {chosen.title} is not what was frozen: {named}.", todo="Restore it, or import a new version."
        )


def decided(comparison: Comparison, pairs: Sequence[CasePair]) -> Decision:
    """The decision that follows from the results.

    Raises:
        Conflict: a case lacks the result of an arm.
    """
    waiting = sum(pair.outcome == "waiting" for pair in pairs)
    if waiting or not pairs:
        raise Conflict(f"{waiting} of {len(pairs)} cases have no result of both arms yet.")
    both = [(pair.case, pair.candidate, pair.incumbent) for pair in pairs if pair.candidate and pair.incumbent]
    return decide(
        [
            Pair(
                candidate=candidate.passed,
                incumbent=incumbent.passed,
                cluster=str(case.tags.get(CLUSTER_TAG) or ""),
                tags=case.tags,
                candidate_score=candidate.score,
                incumbent_score=incumbent.score,
            )
            for case, candidate, incumbent in both
        ],
        Rule.from_json(comparison.rule),
        rules=comparison.task == "answers",
        must_not_candidate=sum(breaks_a_rule(candidate.checks) for _case, candidate, _incumbent in both),
        must_not_incumbent=sum(breaks_a_rule(incumbent.checks) for _case, _candidate, incumbent in both),
        same_arms=queries.fingerprint(comparison.candidate, comparison.task)
        == queries.fingerprint(comparison.incumbent, comparison.task),
    )


def breaks_a_rule(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the answer states what must not be stated."""
    return any(check["kind"] == "must_not_state" and not check["ok"] for check in checks)


def results_hash(pairs: Sequence[CasePair]) -> str:
    """Names the results of all cases and both arms."""
    return content_hash(
        [
            [pair.case.case_hash, row.arm, content_hash(row.output), row.passed, round(row.score, 9)]
            for pair in pairs
            for row in (pair.candidate, pair.incumbent)
            if row is not None
        ]
    )


def _what_it_took(pairs: Sequence[CasePair]) -> dict[str, Any]:
    """Checks that held and tokens written, per arm."""
    tokens: dict[str, int] = {}
    checks: dict[str, dict[str, list[int]]] = {}
    for pair in pairs:
        for row in (pair.candidate, pair.incumbent):
            if row is None:
                continue
            tokens[row.arm] = tokens.get(row.arm, 0) + int(row.details.get("output_tokens") or 0)
            for check in row.checks:
                counts = checks.setdefault(check["kind"], {}).setdefault(row.arm, [0, 0])
                counts[0] += bool(check["ok"])
                counts[1] += 1
    return {"checks": checks, "output_tokens": tokens}


def _pinned(session: Session, task: str, configuration: ServingConfiguration) -> ServingConfiguration:
    if task == "triage" or configuration.corpus_commit is not None:
        return configuration
    commit = head(session, configuration.project_id, configuration.tenant)
    return configuration if commit is None else replace(configuration, corpus_commit=commit.id)
