"""Tables of comparisons and of what each arm did on each case."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field, SQLModel, UniqueConstraint

from workbench.core.clock import UtcDateTime, now
from workbench.core.database import JsonColumn
from workbench.core.ids import new_id


class Arm(StrEnum):
    """One side of a comparison."""

    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


class Verdict(StrEnum):
    """What a comparison found. Only `gate.decide` makes one."""

    PASS = "PASS"  # noqa: S105
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Comparison(SQLModel, table=True):
    """Candidate and incumbent on the same golden cases."""

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(foreign_key="project.id", index=True)
    golden_set_id: str = Field(foreign_key="golden_set.id", index=True)
    golden_hash: str
    """Content hash of the golden set version."""
    task: str
    """`triage` or `answers`."""
    candidate: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """A ServingConfiguration as JSON."""
    incumbent: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    candidate_name: str = ""
    """What people read, such as “Generator adapter 3”."""
    incumbent_name: str = ""
    rule: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """The gate's rule as it was set before the first case ran: see `gate.Rule`."""
    state: str = "queued"
    """queued, running, finished. Its job tells more."""
    verdict: str | None = Field(default=None, index=True)
    """PASS, FAIL, INCONCLUSIVE; None while there is none. Nothing but the runner writes it, once."""
    statistics: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """See `gate.Decision.as_json`."""
    results_hash: str | None = None
    """Hash over all case results, recorded with the verdict."""
    job_id: str | None = Field(default=None, foreign_key="job.id", index=True)
    launched_by: str
    launched_by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class CaseResult(SQLModel, table=True):
    """What one arm did on one case, stored as it comes."""

    __tablename__ = "case_result"
    __table_args__ = (UniqueConstraint("comparison_id", "case_id", "arm"),)

    id: str = Field(default_factory=new_id, primary_key=True)
    project_id: str = Field(index=True)
    comparison_id: str = Field(foreign_key="comparison.id", index=True)
    case_id: str = Field(foreign_key="golden_case.id")
    arm: str
    """candidate or incumbent."""
    output: str
    """The answer, or the label."""
    passed: bool
    """Whether every check of the case holds."""
    score: float
    """Share of the checks that hold, from 0 to 1."""
    checks: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonColumn)
    """One a check: {"kind", "expected", "ok", "detail"}."""
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JsonColumn)
    """Citations, guard rules, token counts, corpus commit; for triage the probability of each label."""
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
