import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workbench.evaluation.statistics import (
    Pair,
    difference,
    holm,
    pairs_needed,
    score_difference,
    sign_flip_p,
    slices,
    tango_interval,
)

PAIRS = st.lists(st.builds(Pair, st.booleans(), st.booleans(), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=60)


def _table(gained: int, lost: int, both: int, neither: int) -> list[Pair]:
    return (
        [Pair(True, False)] * gained + [Pair(False, True)] * lost + [Pair(True, True)] * both + [Pair(False, False)] * neither
    )


def _swapped(pairs: list[Pair]) -> list[Pair]:
    return [Pair(p.incumbent, p.candidate, p.cluster, p.tags, p.incumbent_score, p.candidate_score) for p in pairs]


@given(PAIRS)
def test_swapping_the_arms_mirrors_the_difference(pairs: list[Pair]) -> None:
    one, other = difference(pairs), difference(_swapped(pairs))
    assert one.value == -other.value
    assert one.p_value == pytest.approx(other.p_value)
    assert (one.low, one.high) == (pytest.approx(-other.high, abs=1e-9), pytest.approx(-other.low, abs=1e-9))


@given(PAIRS)
def test_the_interval_holds_the_estimate_and_stays_within_bounds(pairs: list[Pair]) -> None:
    found = difference(pairs)
    assert -1 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    assert found.high - found.low > 0
    assert 0 < found.p_value <= 1


@given(PAIRS)
def test_more_of_the_same_evidence_narrows_the_interval(pairs: list[Pair]) -> None:
    alone = [Pair(p.candidate, p.incumbent) for p in pairs]
    once, thrice = difference(alone), difference(alone * 3)
    assert thrice.high - thrice.low < once.high - once.low
    assert thrice.value == pytest.approx(once.value)


def test_tangos_interval_agrees_with_his_published_example() -> None:
    # Tango 1998, crossover trial of soft contact lens disinfection: 44 pairs, 1 gained, 0 lost.
    low, high = tango_interval(0, 1, 44, stats.norm.ppf(0.95))
    assert (round(low, 3), round(high, 3)) == (-0.096, 0.037)


def test_unclustered_p_values_are_those_of_the_exact_mcnemar_test() -> None:
    for gained, lost in [(0, 0), (1, 0), (5, 5), (9, 2), (20, 8)]:
        expected = 1.0 if gained + lost == 0 else stats.binomtest(gained, gained + lost).pvalue
        assert difference(_table(gained, lost, 10, 3)).p_value == pytest.approx(expected)


def test_a_conversation_counts_once_however_long_it_is() -> None:
    six = [1, 1, 1, 1, 1, 1]
    assert sign_flip_p(six) == pytest.approx(2 / 2**6)
    assert sign_flip_p([6]) == 1.0


def test_no_discordant_pair_is_no_proof_of_equality() -> None:
    found = difference(_table(0, 0, 40, 0))
    assert found.value == 0
    assert found.low == pytest.approx(-found.high)
    z = stats.norm.ppf(0.975)
    assert found.high == pytest.approx(z**2 / (40 + z**2), abs=1e-6)


@pytest.mark.parametrize("clustered", [False, True])
def test_the_interval_covers_the_true_difference_about_as_often_as_it_says(clustered: bool) -> None:
    random = np.random.default_rng(7)
    covered, runs, truth = 0, 400, 0.10
    for _ in range(runs):
        pairs = []
        for conversation in range(40):
            # All cases of a conversation share their fate in half of the conversations.
            draws = random.choice(3, p=[0.2, 0.1, 0.7], size=3 if clustered else 1)
            if clustered and random.random() < 0.5:
                draws[:] = draws[0]
            for draw in draws:
                pairs.append(Pair(draw == 0 or draw == 2, draw == 1 or draw == 2, f"c{conversation}" if clustered else ""))
        found = difference(pairs)
        covered += found.low <= truth <= found.high
    # Three standard errors of the simulation below and above 95%.
    assert 0.917 <= covered / runs <= 0.985


def test_ignoring_conversations_would_narrow_the_interval() -> None:
    pairs = [Pair(c % 3 == 0, c % 3 == 1, f"c{c}") for c in range(20) for _case in range(5)]
    clustered, naive = difference(pairs), difference([Pair(p.candidate, p.incumbent) for p in pairs])
    assert clustered.design_effect == pytest.approx(5.0, rel=0.1)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p - 1e-12 and a <= 1 for a, p in zip(adjusted, p_values, strict=True))
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


def test_slices_are_corrected_over_all_tags_together() -> None:
    pairs = [Pair(False, True, tags={"language": "vi", "intent": "fees"})] * 8
    pairs += [Pair(True, True, tags={"language": "en", "intent": "fees"})] * 20
    pairs += [Pair(False, True, tags={"language": "es"})] * 5
    found = {(item.tag, item.value): item for item in slices(pairs, ["language", "intent", "region"])}
    assert set(found) == {("language", "vi"), ("language", "en"), ("intent", "fees")}
    assert found["language", "vi"].adjusted_p == pytest.approx(3 * 2 / 2**8)
    assert found["language", "vi"].significantly_worse
    assert not found["language", "en"].significantly_worse


def test_the_pairs_needed_agree_with_the_textbook_formula() -> None:
    found = difference(_table(200, 200, 1200, 400))
    # 20% discordant, 5 points, 2.5% one-sided, 80% power.
    expected = 0.2 * ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / 0.05) ** 2
    assert pairs_needed(difference(_table(20, 20, 120, 40)), 0.05) == pytest.approx(expected, rel=0.05)
    assert pairs_needed(found, 0.05) == 2001
    assert pairs_needed(difference(_table(0, 5, 95, 0)), 0.05) is None


def test_the_score_difference_moves_with_the_scores() -> None:
    pairs = [Pair(True, True, candidate_score=0.8 + 0.01 * i, incumbent_score=0.6) for i in range(10)]
    found = score_difference(pairs)
    assert found.value == pytest.approx(0.245)
    assert 0.2 < found.low < found.value < found.high < 0.3
    alone = score_difference(pairs[:1])
    assert (alone.low, alone.high) == (pytest.approx(-0.8), 1.0)
    assert not math.isnan(alone.value)
