"""Paired statistics of two arms on the same cases.

What is compared is a pass or a fail per case and arm. Cases of one conversation are not independent, so every figure
counts conversations (clusters) and not only cases; naive errors can be several times too small.

Sources:
- interval of a paired difference: T. Tango, Statistics in Medicine 17 (1998) 891–908, the score interval;
- clusters in it: J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577–585, counts divided by the design effect;
- test: Q. McNemar, Psychometrika 12 (1947) 153–157, exact; with clusters the same test with the sign of a whole
  cluster as the unit, after V. L. Durkalski et al., Statistics in Medicine 22 (2003) 2417–2428;
- several slices: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65–70;
- pairs needed: R. J. Connor, Biometrics 43 (1987) 207–211, the normal approximation.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

CONFIDENCE = 0.95
POWER = 0.8
SMALLEST_SLICE = 6
"""Cases a slice needs to be tested: with fewer even a loss of every case has p > 0.05, and more tests weaken all of them."""


@dataclass(frozen=True)
class Pair:
    """One case as both arms answered it."""

    candidate: bool
    """Whether the candidate passed."""
    incumbent: bool
    cluster: str = ""
    """The conversation of the case; empty: a conversation of its own."""
    tags: Mapping[str, Any] = field(default_factory=dict)
    candidate_score: float = 0.0
    """Share of the checks that hold, from 0 to 1."""
    incumbent_score: float = 0.0


@dataclass(frozen=True)
class Difference:
    """Candidate minus incumbent, as shares from -1 to 1."""

    pairs: int
    clusters: int
    candidate_passed: int
    incumbent_passed: int
    gained: int
    """Cases that only the candidate passed."""
    lost: int
    """Cases that only the incumbent passed."""
    value: float
    low: float
    """Lower end of the 95% interval."""
    high: float
    p_value: float
    """Two-sided: how likely a difference this large is when the arms are equally good."""
    design_effect: float
    """How many times larger the variance is than that of independent cases; at least 1."""


@dataclass(frozen=True)
class Slice:
    """The difference within the cases of one tag value."""

    tag: str
    value: str
    difference: Difference
    adjusted_p: float
    """p value after Holm's correction over all slices of the comparison."""

    @property
    def significantly_worse(self) -> bool:
        """Whether the candidate is worse here, beyond what looking at many slices explains."""
        return self.difference.value < 0 and self.adjusted_p <= 1 - CONFIDENCE


@dataclass(frozen=True)
class ScoreDifference:
    """Mean of the graded scores, candidate minus incumbent, with its 95% interval."""

    candidate: float
    incumbent: float
    value: float
    low: float
    high: float


def difference(pairs: Sequence[Pair]) -> Difference:
    """The paired difference of the pass rates, its 95% interval and its p value.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("a difference needs at least one pair")
    count = len(pairs)
    gained = sum(pair.candidate and not pair.incumbent for pair in pairs)
    lost = sum(pair.incumbent and not pair.candidate for pair in pairs)
    sums, sizes = _by_cluster(pairs, [int(pair.candidate) - int(pair.incumbent) for pair in pairs])
    clusters = len(sums)
    effect = _design_effect(sums, sizes, gained, lost, count)
    low, high = tango_interval(gained / effect, lost / effect, count / effect, _quantile(clusters, count))
    return Difference(
        pairs=count,
        clusters=clusters,
        candidate_passed=sum(pair.candidate for pair in pairs),
        incumbent_passed=sum(pair.incumbent for pair in pairs),
        gained=gained,
        lost=lost,
        value=(gained - lost) / count,
        low=low,
        high=high,
        p_value=sign_flip_p([int(value) for value in sums]),
        design_effect=effect,
    )


def slices(pairs: Sequence[Pair], tags: Iterable[str]) -> list[Slice]:
    """Differences by the values of each tag, with p values corrected over all of them (Holm).

    Values with fewer than SMALLEST_SLICE cases are left out; that depends on the golden set alone, never on the results.
    """
    found: list[tuple[str, str, Difference]] = []
    for tag in tags:
        groups: dict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            if pair.tags.get(tag) not in (None, ""):
                groups[str(pair.tags[tag])].append(pair)
        found.extend((tag, value, difference(group)) for value, group in sorted(groups.items()) if len(group) >= SMALLEST_SLICE)
    adjusted = holm([item.p_value for _tag, _value, item in found])
    return [Slice(tag, value, item, p) for (tag, value, item), p in zip(found, adjusted, strict=True)]


def score_difference(pairs: Sequence[Pair]) -> ScoreDifference:
    """The paired difference of the graded scores with a cluster-robust t interval.

    Raises:
        ValueError: there is no pair.
    """
    if not pairs:
        raise ValueError("a difference needs at least one pair")
    values = [pair.candidate_score - pair.incumbent_score for pair in pairs]
    mean = float(np.mean(values))
    sums, sizes = _by_cluster(pairs, values)
    half = 1.0
    if len(sums) > 1:
        half = _t_quantile(len(sums) - 1) * math.sqrt(_variance(sums, sizes))
    return ScoreDifference(
        candidate=float(np.mean([pair.candidate_score for pair in pairs])),
        incumbent=float(np.mean([pair.incumbent_score for pair in pairs])),
        value=mean,
        low=max(-1.0, mean - half),
        high=min(1.0, mean + half),
    )


def tango_interval(gained: float, lost: float, count: float, quantile: float) -> tuple[float, float]:
    """Tango's score interval of a paired difference of proportions.

    Args:
        gained, lost: discordant pairs; need not be whole, since clusters divide them by the design effect.
        count: all pairs.
        quantile: standard deviations to each side, 1.96 for 95%.

    Returns:
        The differences whose score statistic lies within the quantile, from -1 to 1. Never of width zero.
    """

    def score(delta: float) -> float:
        # The share of lost pairs that is most likely when the true difference is delta.
        linear = -gained - lost + (2 * count - gained + lost) * delta
        root = math.sqrt(max(linear**2 + 8 * count * lost * delta * (1 - delta), 0.0))
        share = (root - linear) / (4 * count)
        variance = count * (2 * share + delta * (1 - delta))
        distance = gained - lost - count * delta
        if variance <= 1e-15:
            return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
        return distance / math.sqrt(variance)

    estimate = (gained - lost) / count
    return (
        _boundary(score, quantile, inside=estimate, outside=-1.0),
        _boundary(score, -quantile, inside=estimate, outside=1.0),
    )


def sign_flip_p(sums: Sequence[int]) -> float:
    """Exact two-sided p value when each cluster's difference could as well have had the other sign.

    Args:
        sums: gained minus lost, one a cluster. With clusters of one case this is the exact McNemar test.
    """
    moving = [abs(value) for value in sums if value]
    if not moving:
        return 1.0
    observed, reach = abs(sum(sums)), sum(moving)
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in moving:
        chances = 0.5 * np.roll(chances, size) + 0.5 * np.roll(chances, -size)
    distance = np.abs(np.arange(-reach, reach + 1))
    return float(min(1.0, chances[distance >= observed].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for looking at all of them, in the given order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def pairs_needed(found: Difference, margin: float) -> int | None:
    """Pairs with which an interval would clear -margin four times in five, if the rates seen so far are the true ones.

    Args:
        margin: as a share, 0.05 for 5 points.

    Returns:
        None when the difference lies on the margin itself: then no number of pairs decides.
    """
    gap = found.value + margin
    if abs(gap) < 1e-9:
        return None
    # One more discordant pair than seen: none seen does not mean that there are none.
    discordant = (found.gained + found.lost + 1) / (found.pairs + 2)
    spread = max(discordant - found.value**2, 1e-4)
    quantiles = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) + NormalDist().inv_cdf(POWER)
    return max(found.pairs + 1, math.ceil(found.design_effect * spread * (quantiles / gap) ** 2))


def _by_cluster(pairs: Sequence[Pair], values: Sequence[float]) -> tuple[list[float], list[int]]:
    sums: dict[str, float] = defaultdict(float)
    sizes: Counter[str] = Counter()
    for index, (pair, value) in enumerate(zip(pairs, values, strict=True)):
        key = f"c:{pair.cluster}" if pair.cluster else f"i:{index}"
        sums[key] += value
        sizes[key] += 1
    return list(sums.values()), [sizes[key] for key in sums]


def _variance(sums: Sequence[float], sizes: Sequence[int]) -> float:
    """Variance of the mean over all cases, with clusters as the independent units (linearised ratio)."""
    clusters, count = len(sums), sum(sizes)
    mean = sum(sums) / count
    residuals = [total - mean * size for total, size in zip(sums, sizes, strict=True)]
    return clusters / (clusters - 1) * sum(value**2 for value in residuals) / count**2


def _design_effect(sums: Sequence[float], sizes: Sequence[int], gained: int, lost: int, count: int) -> float:
    clusters = len(sums)
    if clusters == count:
        return 1.0
    mean_size = count / clusters
    naive = ((gained + lost) / count - ((gained - lost) / count) ** 2) / count
    if naive <= 0 or clusters < 2:
        return mean_size  # Nothing tells how alike the cases of a conversation are: count conversations.
    return max(1.0, _variance(sums, sizes) / naive)


def _quantile(clusters: int, count: int) -> float:
    if clusters == count:
        return NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return _t_quantile(max(clusters - 1, 1))


def _boundary(score: Any, target: float, *, inside: float, outside: float) -> float:
    """Where the falling score crosses the target, by bisection."""
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(score(middle)) <= abs(target):
            inside = middle
        else:
            outside = middle
    return inside


def _t_quantile(freedom: int) -> float:
    from scipy.special import stdtrit  # Here, so that pages which only show a verdict do not wait for scipy.

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
