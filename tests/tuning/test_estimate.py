"""How long a fine-tune will take, from what earlier ones took."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.settings import Settings
from workbench.tuning.estimate import Rate, calibrate, count_tokens, estimate, read_calibration


@given(
    tokens=st.integers(0, 10**6),
    more=st.integers(1, 10**6),
    epochs=st.integers(1, 50),
    recipe=st.sampled_from(["generative", "triage"]),
)
def test_more_tokens_or_passes_never_take_less_time(tokens: int, more: int, epochs: int, recipe: str) -> None:
    first = estimate(recipe, tokens, epochs=epochs)
    assert estimate(recipe, tokens + more, epochs=epochs).seconds > first.seconds
    assert estimate(recipe, tokens, epochs=epochs + 1).seconds >= first.seconds
    assert first.low < first.seconds < first.high
    assert first.tokens == tokens * epochs


def test_without_earlier_runs_the_estimate_is_typical_of_two_cores() -> None:
    """60 rewrites of 300 tokens, twice: measured 150 s of training."""
    found = estimate("generative", 60 * 255, epochs=2)
    assert found.measured_runs == 0
    assert 120 < found.seconds < 300


def test_all_layers_cost_more_than_the_last_six() -> None:
    assert (
        estimate("generative", 10_000, epochs=1, last_layers=0).seconds > 1.8 * estimate("generative", 10_000, epochs=1).seconds
    )


def test_a_run_on_this_machine_moves_the_estimate_to_its_pace(settings: Settings) -> None:
    before = estimate("triage", 50_000, epochs=8)
    for _ in range(6):
        calibrate(settings, "triage", tokens=10_000, seconds=100)
    rates = read_calibration(settings)
    after = estimate("triage", 50_000, epochs=8, calibration=rates)
    assert rates["triage"].tokens_per_second == pytest.approx(100)
    assert after.measured_runs == 6
    assert after.seconds > 4 * before.seconds
    assert after.high / after.seconds < before.high / before.seconds


def test_a_run_over_all_layers_teaches_the_same_rate_as_one_over_the_last(settings: Settings) -> None:
    calibrate(settings, "generative", tokens=10_000, seconds=115, last_layers=0)
    assert read_calibration(settings)["generative"].tokens_per_second == pytest.approx(200)


def test_a_run_too_short_to_say_anything_is_not_counted(settings: Settings) -> None:
    assert calibrate(settings, "triage", tokens=50, seconds=100) is None
    assert calibrate(settings, "triage", tokens=5_000, seconds=0.2) is None
    assert read_calibration(settings) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"triage": 5}', '{"triage": {"runs": 1}}'])
def test_a_calibration_that_cannot_be_read_is_ignored(settings: Settings, content: str) -> None:
    (settings.folder("analytics") / "calibration.json").write_text(content)
    assert read_calibration(settings) == {}
    assert calibrate(settings, "triage", tokens=1_000, seconds=10) == Rate(100.0, 1)


def test_tokens_are_counted_by_bytes_so_that_no_script_is_underestimated() -> None:
    assert count_tokens(["a" * 400]) == 101
    assert count_tokens(["phí trả chậm"]) > count_tokens(["phi tra cham"])
    assert count_tokens([]) == 0
