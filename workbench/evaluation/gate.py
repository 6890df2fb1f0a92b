"""The rule that turns paired statistics into a verdict. It is set before the first case runs and cannot be edited after."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.evaluation.models import Verdict
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
class Rule:
    """What a candidate must show."""

    margin_points: float = 5.0
    """How much worse than the incumbent still counts as no worse, in percentage points of the pass rate (0.5 to 20).

    The default is two of forty cases: less than anyone would notice in use, and the least that a set of a few hundred cases
    can decide (two points need about 3,000 pairs at 20% discordance)."""
    guarded_tags: tuple[str, ...] = ("language", "intent")
    """Within each value of these tags the candidate must not be significantly worse (Holm-corrected over all of them)."""

    def __post_init__(self) -> None:
        if isinstance(self.margin_points, bool) or not 0.5 <= self.margin_points <= 20:
            raise InvalidInput(f"The margin is {self.margin_points} points; it must lie between 0.5 and 20.")

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for the comparison's row."""
        return {"margin_points": float(self.margin_points), "guarded_tags": list(self.guarded_tags)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Rule":
        """The inverse of `as_json`."""
        return cls(float(value["margin_points"]), tuple(value["guarded_tags"]))

    def in_words(self) -> str:
        """The rule as a person reads it beside the verdict."""
        margin = _points(self.margin_points)
        tags = " or ".join(self.guarded_tags)
        guarded = f", and in no {tags} is it significantly worse (Holm-corrected)" if tags else ""
        fails = f", or when in a {tags} the candidate is significantly worse" if tags else ""
        return (
            f"PASS when the whole 95% interval of candidate minus incumbent lies above −{margin} points, "
            f"the candidate breaks no more “must not state” rules than the incumbent{guarded}. "
            f"FAIL when the whole interval lies below −{margin} points{fails}. "
            "Otherwise, or when both arms are the same configuration, INCONCLUSIVE. "
            "“Better” is only said when the whole interval lies above zero."
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
    pairs: Sequence[Pair], rule: Rule, *, must_not_candidate: int = 0, must_not_incumbent: int = 0, same_arms: bool = False
) -> Decision:
    """Apply the rule.

    Args:
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
        *_must_not_reason(must_not_candidate, must_not_incumbent),
        *_slice_reasons(worse_slices, rule),
    ]
    finding = _finding(found, not_inferior)
    needed: int | None = None
    if same_arms:
        verdict, finding = Verdict.INCONCLUSIVE, "no difference"
        headline = "No difference: both arms are the same configuration, so there is nothing to pass."
    elif inferior:
        verdict = Verdict.FAIL
        headline = f"The candidate is worse than the incumbent by more than {_points(rule.margin_points)} points."
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
        return f"Holds: {interval}, all of it above −{_points(margin)}."
    if inferior:
        return f"Broken: {interval}, all of it below −{_points(margin)}."
    return f"Open: {interval}, which contains −{_points(margin)}."


def _must_not_reason(candidate: int, incumbent: int) -> list[str]:
    state = "Broken" if candidate > incumbent else "Holds"
    return [f"{state}: “must not state” rules broken in {candidate} cases by the candidate, in {incumbent} by the incumbent."]


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
    points = round(share * 100, 1) + 0.0
    return f"{'−' if points < 0 else '+'}{abs(points):.1f}" if points else "0.0"


def _points(margin: float) -> str:
    return f"{margin:g}"
