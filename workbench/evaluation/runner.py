"""Runs a comparison: both arms over the cases in batches, each batch stored as it comes, then the verdict.

A killed run goes on where it was: what is stored is not asked again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from workbench.core.errors import InvalidInput, Unavailable
from workbench.core.jobs import Job
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.evaluation import queries
from workbench.evaluation.arms import Respond, Response, answering, classifying
from workbench.evaluation.models import Arm, CaseResult, Comparison
from workbench.evaluation.scorers import CaseScore, score_answer, score_triage
from workbench.evaluation.service import EvaluationService, check_cases
from workbench.golden.formats import text_of
from workbench.golden.models import GoldenCase
from workbench.golden.queries import get_set
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.ports import Runtime

BATCH = {"answers": 16, "triage": 64}
"""Cases a batch: large enough that the model decodes many at once, small enough that progress moves and little is lost."""
PATIENCE_SECONDS = 300.0
"""How long a runtime may be away, for example while it restarts, before the comparison fails."""

Write = Callable[[], AbstractContextManager[tuple[UnitOfWork, Job]]]
"""Opens a transaction that only commits while this attempt holds the job (`JobStore.fenced`)."""


def run(
    context: Context,
    runtime: Runtime,
    comparison_id: str,
    *,
    progress: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
    write: Write,
    respond: Respond | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Run what is left of a comparison and decide it.

    Args:
        progress: takes {"done", "total", "unit", "message", "remaining_seconds"}.
        should_stop: asked between batches.
        write: see `Write`.
        respond: how an arm responds; by default through serving.

    Returns:
        {"stopped": False, "comparison_id", "verdict", "headline"}, or {"stopped": True, "done", "total"} when asked to stop.

    Raises:
        IntegrityError: the golden set is not what was frozen. Unavailable: the runtime stayed away for too long.
    """
    with context.database.session() as session:
        comparison = queries.get_comparison(session, comparison_id)
        pairs = queries.case_pairs(session, comparison)
        check_cases(get_set(session, comparison.golden_set_id), [pair.case for pair in pairs])
    if comparison.verdict is not None:
        return _summary(comparison)
    if any(not pair.case.content for pair in pairs):
        raise InvalidInput("A case of the golden set was erased.", todo="Compare on a newer version of the set.")
    waiting = {
        Arm.INCUMBENT: [pair.case for pair in pairs if pair.incumbent is None],
        Arm.CANDIDATE: [pair.case for pair in pairs if pair.candidate is None],
    }
    total = 2 * len(pairs)
    meter = _Meter(progress, done=total - sum(map(len, waiting.values())), total=total)
    respond = respond or (answering(context, runtime) if comparison.task == "answers" else classifying(runtime))
    with write() as (work, _job):
        _mark_running(work, comparison_id)
    for arm, cases in waiting.items():
        configuration = ServingConfiguration.from_json(comparison.candidate if arm is Arm.CANDIDATE else comparison.incumbent)
        name = comparison.candidate_name if arm is Arm.CANDIDATE else comparison.incumbent_name
        for batch in _batches(cases, BATCH[comparison.task]):
            if should_stop():
                return {"stopped": True, "done": meter.done, "total": total}
            meter.say(f"{arm.value}: {name}")
            responses = _patiently(
                partial(respond, configuration, [text_of(case.content) for case in batch]),
                should_stop,
                sleep,
                lambda: meter.say("waiting for the runtime"),
            )
            if responses is None:
                return {"stopped": True, "done": meter.done, "total": total}
            with write() as (work, _job):
                for case, response in zip(batch, responses, strict=True):
                    work.session.add(result_of(comparison, case, arm, response))
            meter.add(len(batch), f"{arm.value}: {name}")
    with write() as (work, _job):
        decided = EvaluationService(context).store_verdict(work, comparison_id)
    return _summary(decided)


def result_of(comparison: Comparison, case: GoldenCase, arm: Arm, response: Response) -> CaseResult:
    """The scored row of one response."""
    score: CaseScore
    if comparison.task == "triage":
        score = score_triage(case.content, response.output)
    else:
        score = score_answer(case.content, response.output, cited=response.cited, declined=response.declined)
    return CaseResult(
        project_id=comparison.project_id,
        comparison_id=comparison.id,
        case_id=case.id,
        arm=arm.value,
        output=response.output,
        passed=score.passed,
        score=score.score,
        checks=score.as_json(),
        details={**response.details, "cited": list(response.cited)},
    )


def _mark_running(work: UnitOfWork, comparison_id: str) -> None:
    comparison = work.get(Comparison, comparison_id, lock=True)
    if comparison.state == "queued":
        comparison.state = "running"
        work.add(comparison)
        work.record("evaluation.started", subject=comparison, golden_set=comparison.golden_hash)


def _batches(cases: Sequence[GoldenCase], size: int) -> Iterator[Sequence[GoldenCase]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]


def _patiently(
    ask: Callable[[], list[Response]], should_stop: Callable[[], bool], sleep: Callable[[float], None], wait: Callable[[], None]
) -> list[Response] | None:
    """Ask again while the runtime is away; None when asked to stop meanwhile."""
    waited, pause = 0.0, 1.0
    while True:
        try:
            return ask()
        except Unavailable:
            if waited >= PATIENCE_SECONDS:
                raise
        wait()
        if should_stop():
            return None
        sleep(pause)
        waited += pause
        pause = min(pause * 2, 15.0)


class _Meter:
    """How far the comparison is, and how long the rest will take at the pace of this attempt."""

    def __init__(self, progress: Callable[[dict[str, Any]], None], *, done: int, total: int) -> None:
        self._progress = progress
        self.done, self._total, self._first = done, total, done
        self._started = time.monotonic()

    def add(self, count: int, message: str) -> None:
        self.done += count
        self.say(message)

    def say(self, message: str) -> None:
        """Report with a line about what happens now."""
        value: dict[str, Any] = {"done": self.done, "total": self._total, "unit": "answers", "message": message}
        new = self.done - self._first
        if new:
            value["remaining_seconds"] = round((time.monotonic() - self._started) / new * (self._total - self.done), 1)
        self._progress(value)


def _summary(comparison: Comparison) -> dict[str, Any]:
    return {
        "stopped": False,
        "comparison_id": comparison.id,
        "verdict": comparison.verdict,
        "headline": comparison.statistics.get("headline", ""),
    }
