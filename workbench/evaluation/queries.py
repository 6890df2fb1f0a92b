"""Reads of comparisons for pages and other stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from workbench.core.canonical import content_hash
from workbench.core.errors import NotFound
from workbench.evaluation.models import Arm, CaseResult, Comparison
from workbench.golden.models import GoldenCase
from workbench.golden.queries import cases as golden_cases

COMPARE = "compare"
"""Kind of the jobs that run comparisons."""

_NO_PART_OF_ANSWERS = frozenset({"release_id", "manifest_hash", "triage_adapter"})
_TRIAGE = ("project_id", "triage_adapter")


@dataclass(frozen=True)
class CasePair:
    """One case with what both arms did; None: that arm has not run it yet."""

    case: GoldenCase
    candidate: CaseResult | None
    incumbent: CaseResult | None

    @property
    def outcome(self) -> str:
        """gained, lost, both, neither, or waiting."""
        if self.candidate is None or self.incumbent is None:
            return "waiting"
        if self.candidate.passed:
            return "both" if self.incumbent.passed else "gained"
        return "lost" if self.incumbent.passed else "neither"


def get_comparison(session: Session, comparison_id: str, project_id: str | None = None) -> Comparison:
    """The comparison with this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    found = session.get(Comparison, comparison_id)
    if found is None or project_id not in (None, found.project_id):
        raise NotFound(f"There is no comparison with the id {comparison_id!r}.")
    return found


def comparisons(session: Session, project_id: str, *, task: str | None = None, limit: int = 100) -> list[Comparison]:
    """Comparisons of the project, newest first."""
    statement = select(Comparison).where(Comparison.project_id == project_id)
    if task is not None:
        statement = statement.where(Comparison.task == task)
    return list(session.exec(statement.order_by(col(Comparison.created_at).desc(), col(Comparison.id).desc()).limit(limit)))


def by_job(session: Session, job_id: str) -> Comparison | None:
    """The comparison a job runs."""
    return session.exec(select(Comparison).where(Comparison.job_id == job_id)).first()


def fingerprint(configuration: Mapping[str, Any], task: str) -> str:
    """A hash of the components that decide what an arm does in a task; where they came from is left out."""
    if task == "triage":
        return content_hash({name: configuration.get(name) for name in _TRIAGE})
    return content_hash({name: value for name, value in configuration.items() if name not in _NO_PART_OF_ANSWERS})


def results(session: Session, comparison_id: str) -> list[CaseResult]:
    """What the arms did so far, in order of case id and arm."""
    statement = select(CaseResult).where(CaseResult.comparison_id == comparison_id)
    return list(session.exec(statement.order_by(col(CaseResult.case_id), col(CaseResult.arm))))


def case_pairs(session: Session, comparison: Comparison) -> list[CasePair]:
    """Every case of the golden set with both arms' results, in the set's order."""
    found = {(row.case_id, row.arm): row for row in results(session, comparison.id)}
    return [
        CasePair(case, found.get((case.id, Arm.CANDIDATE.value)), found.get((case.id, Arm.INCUMBENT.value)))
        for case in golden_cases(session, comparison.golden_set_id)
    ]
