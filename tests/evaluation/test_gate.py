import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.canonical import canonical_bytes
from workbench.core.errors import InvalidInput
from workbench.evaluation.gate import decide, signed
from workbench.evaluation.models import Verdict
from workbench.evaluation.rule import Rule
from workbench.evaluation.statistics import Pair

PAIRS = st.lists(
    st.builds(
        Pair,
        st.booleans(),
        st.booleans(),
        st.sampled_from(["", "a"]),
        st.fixed_dictionaries({"language": st.sampled_from("ev")}),
    ),
    min_size=1,
    max_size=50,
)


def _pairs(gained: int, lost: int, both: int, **tags: str) -> list[Pair]:
    return (
        [Pair(True, False, tags=tags)] * gained + [Pair(False, True, tags=tags)] * lost + [Pair(True, True, tags=tags)] * both
    )


def test_a_clear_improvement_passes_as_better() -> None:
    decision = decide(_pairs(30, 2, 118), Rule())
    assert (decision.verdict, decision.finding) == (Verdict.PASS, "better")


def test_a_clear_loss_fails() -> None:
    assert decide(_pairs(2, 40, 108), Rule()).verdict is Verdict.FAIL


def test_few_cases_are_inconclusive_and_say_how_many_are_needed() -> None:
    decision = decide(_pairs(2, 2, 36), Rule())
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert decision.pairs_needed is not None
    assert decision.pairs_needed > 40
    assert "would probably decide" in decision.headline


def test_enough_equal_answers_pass_as_no_worse_and_never_as_better() -> None:
    decision = decide(_pairs(3, 3, 394), Rule())
    assert (decision.verdict, decision.finding) == (Verdict.PASS, "no worse")
    assert "no improvement is shown" in decision.headline


@pytest.mark.parametrize("count", [1, 40, 5000])
def test_the_same_configuration_twice_never_passes(count: int) -> None:
    decision = decide(_pairs(0, 0, count), Rule(), same_arms=True)
    assert (decision.verdict, decision.finding) == (Verdict.INCONCLUSIVE, "no difference")
    assert decision.headline.startswith("No difference")


def test_a_rule_broken_more_often_stops_a_pass() -> None:
    decision = decide(_pairs(30, 2, 118), Rule(), must_not_candidate=3, must_not_incumbent=2)
    assert decision.verdict is Verdict.INCONCLUSIVE
    assert any(reason.startswith("Broken: “must not state”") for reason in decision.reasons)


def test_a_harmed_language_fails_what_is_better_on_average() -> None:
    pairs = _pairs(60, 0, 300, language="en") + _pairs(0, 14, 10, language="vi")
    decision = decide(pairs, Rule())
    assert decision.difference.low > 0
    assert decision.verdict is Verdict.FAIL
    assert "language vi" in decision.headline
    assert decide(pairs, Rule(guarded_tags=())).verdict is Verdict.PASS


def test_a_significant_loss_within_the_margin_is_said() -> None:
    decision = decide(_pairs(0, 30, 1970), Rule())
    assert (decision.verdict, decision.finding) == (Verdict.PASS, "worse")
    assert "slightly worse" in decision.headline


def test_no_evidence_no_verdict() -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        decide([], Rule())


@given(PAIRS, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_a_verdict_follows_its_written_rule(pairs: list[Pair], candidate: int, incumbent: int, same: bool) -> None:
    rule = Rule()
    decision = decide(pairs, rule, must_not_candidate=candidate, must_not_incumbent=incumbent, same_arms=same)
    margin = rule.margin_points / 100
    harmed = any(item.significantly_worse for item in decision.slices)
    if same:
        assert decision.verdict is Verdict.INCONCLUSIVE
    elif decision.difference.high < -margin or harmed:
        assert decision.verdict is Verdict.FAIL
    elif decision.difference.low > -margin and candidate <= incumbent:
        assert decision.verdict is Verdict.PASS
    else:
        assert decision.verdict is Verdict.INCONCLUSIVE
    assert json.loads(canonical_bytes(decision.as_json()))["verdict"] == decision.verdict.value


@pytest.mark.parametrize("margin", [0, -5, 21, float("nan"), True])
def test_a_margin_that_decides_nothing_is_refused(margin: float) -> None:
    with pytest.raises(InvalidInput):
        Rule(margin)


def test_the_rule_survives_its_json_form_and_names_its_margin() -> None:
    rule = Rule(2.5, ("language",))
    assert Rule.from_json(rule.as_json()) == rule
    assert "−2.5 points" in rule.in_words()


def test_signed_points() -> None:
    assert [signed(value) for value in (0.0251, -0.1, 0.0, -0.0001)] == ["+2.5", "−10.0", "0.0", "0.0"]
