"""From paired statistics to a verdict, by the rule and nothing else."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.evaluation.models import Verdict
from workbench.evaluation.rule import Rule, points
from workbench.evaluation.statistics import (
    Difference,
    Pair,
    ScoreDifference,
    Slice,
    difference,
    pairs_needed,
    score_difference,
    slices,
)


@dataclass(frozen=True)
class Decision:
    """A verdict and all it rests on."""

    verdict: Verdict
    headline: str
    """One sentence for people."""
    reasons: tuple[str, ...]
    """Each part of the rule, and whether it holds."""
    finding: str
    """better, worse, no worse, no difference, undecided."""
    difference: Difference
    scores: ScoreDifference
    slices: tuple[Slice, ...]
    must_not_candidate: int
    """Cases in which the candidate stated what must not be stated."""
    must_not_incumbent: int
    pairs_needed: int | None
    """INCONCLUSIVE only: how many cases would probably decide. None: none would, or the pairs are not what is missing."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for the comparison's row; shares are from -1 to 1."""
        value = asdict(self)
        value["verdict"] = self.verdict.value
        value["reasons"] = list(self.reasons)
        value["slices"] = [{**asdict(item), "significantly_worse": item.significantly_worse} for item in self.slices]
        return value


def decide(
    pairs: Sequence[Pair],
    rule: Rule,
    *,
    rules: bool = True,
    must_not_candidate: int = 0,
    must_not_incumbent: int = 0,
    same_arms: bool = False,
) -> Decision:
    """Apply the rule.

    Args:
        rules: whether any case has a “must not state” rule; none has in triage.
        must_not_candidate, must_not_incumbent: cases in which the arm stated what must not be stated.
        same_arms: both arms are the same configuration, so that whatever is seen is chance.

    Raises:
        ValueError: there is no pair; without evidence there is no verdict.
    """
    found = difference(pairs)
    scores = score_difference(pairs)
    by_tag = tuple(slices(pairs, rule.guarded_tags))
    margin = rule.margin_points / 100
    worse_slices = [item for item in by_tag if item.significantly_worse]
    not_inferior, inferior = found.low > -margin, found.high < -margin
    reasons = [
        _interval_reason(found, rule.margin_points, not_inferior, inferior),
        *([_must_not_reason(must_not_candidate, must_not_incumbent)] if rules else []),
        *_slice_reasons(worse_slices, rule),
    ]
    finding = _finding(found, not_inferior)
    needed: int | None = None
    if same_arms:
        verdict, finding = Verdict.INCONCLUSIVE, "no difference"
        headline = "No difference: both arms are the same configuration, so there is nothing to pass."
    elif inferior:
        verdict = Verdict.FAIL
        headline = f"The candidate is worse than the incumbent by more than {points(rule.margin_points)} points."
    elif worse_slices:
        verdict = Verdict.FAIL
        named = ", ".join(f"{item.tag} {item.value}" for item in worse_slices)
        headline = f"The candidate is significantly worse in {named}."
    elif not_inferior and must_not_candidate <= must_not_incumbent:
        verdict = Verdict.PASS
        headline = _PASSED[finding]
    elif not_inferior:
        verdict = Verdict.INCONCLUSIVE
        headline = "The candidate states what must not be stated more often than the incumbent; a person has to look."
    else:
        verdict, needed = Verdict.INCONCLUSIVE, pairs_needed(found, margin)
        headline = _undecided(found, needed)
    return Decision(
        verdict=verdict,
        headline=headline,
        reasons=tuple(reasons),
        finding=finding,
        difference=found,
        scores=scores,
        slices=by_tag,
        must_not_candidate=must_not_candidate,
        must_not_incumbent=must_not_incumbent,
        pairs_needed=needed,
    )


_PASSED = {
    "better": "The candidate is better than the incumbent.",
    "no worse": "The candidate is no worse than the incumbent; no improvement is shown.",
    "worse": "The candidate is slightly worse than the incumbent, but within the margin.",
}


def _finding(found: Difference, not_inferior: bool) -> str:
    if found.low > 0:
        return "better"
    if found.high < 0:
        return "worse"
    return "no worse" if not_inferior else "undecided"


def _interval_reason(found: Difference, margin: float, not_inferior: bool, inferior: bool) -> str:
    interval = f"{signed(found.value)} points, 95% interval {signed(found.low)} to {signed(found.high)}"
    if not_inferior:
        return f"Holds: {interval}, all of it above −{points(margin)}."
    if inferior:
        return f"Broken: {interval}, all of it below −{points(margin)}."
    return f"Open: {interval}, which contains −{points(margin)}."


def _must_not_reason(candidate: int, incumbent: int) -> str:
    state = "Broken" if candidate > incumbent else "Holds"
    return f"{state}: “must not state” rules broken in {candidate} cases by the candidate, in {incumbent} by the incumbent."


def _slice_reasons(worse: Sequence[Slice], rule: Rule) -> list[str]:
    if not rule.guarded_tags:
        return []
    if not worse:
        return [f"Holds: in no {' or '.join(rule.guarded_tags)} is the candidate significantly worse."]
    return [
        f"Broken: {item.tag} {item.value}: {signed(item.difference.value)} points over {item.difference.pairs} cases "
        f"(corrected p = {item.adjusted_p:.3f})."
        for item in worse
    ]


def _undecided(found: Difference, needed: int | None) -> str:
    start = f"{found.pairs} cases are too few to tell whether the candidate is no worse."
    if needed is None:
        return f"{start} The difference lies on the margin, so more cases would not decide either."
    rounded = needed if needed < 100 else round(needed, -1)
    return f"{start} About {rounded:,} cases like these would probably decide."


def signed(share: float) -> str:
    """A share as percentage points with its sign, such as “+2.5” or “−10.0”."""
    value = round(share * 100, 1)
    return f"{'−' if value < 0 else '+'}{abs(value):.1f}" if value else "0.0"
