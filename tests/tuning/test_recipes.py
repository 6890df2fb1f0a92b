from dataclasses import fields

import pytest

from workbench.core.errors import InvalidInput
from workbench.tuning.recipes import RECIPES, get_recipe, settings_json
from workbench.worker.trainers.spec import RANGES, TrainSettings


@pytest.mark.parametrize("key", RECIPES)
def test_the_trainer_takes_every_setting_of_a_recipe_with_the_same_default(key: str) -> None:
    ours = settings_json(RECIPES[key].settings())
    theirs = TrainSettings.for_recipe(key, {})
    assert ours == {name: getattr(theirs, name) for name in ours}


@pytest.mark.parametrize("key", RECIPES)
def test_every_value_in_a_recipes_range_is_in_the_trainers_range(key: str) -> None:
    for item in fields(RECIPES[key].settings):
        low, high = RANGES[item.name]
        assert low <= item.metadata["low"] <= item.default <= item.metadata["high"] <= high


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("generative", {"epochs": 0}, "Passes over the examples is 0; it must lie between 1 and 20"),
        ("generative", {"epochs": 2.5}, "whole number"),
        ("generative", {"epochs": True}, "whole number"),
        ("generative", {"learning_rate": "fast"}, "must be a number"),
        ("generative", {"learning_rate": float("nan")}, "must lie between"),
        ("generative", {"head_learning_rate": 0.1}, "has no setting head_learning_rate"),
        ("triage", {"last_layers": 6}, "has no setting last_layers"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_in_words(key: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        RECIPES[key].make_settings(given)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="generative, triage"):
        get_recipe("magic")


def test_larger_steps_need_more_memory() -> None:
    recipe = RECIPES["generative"]
    assert recipe.memory_mb(recipe.make_settings({"batch_size": 16})) > recipe.memory_mb(recipe.make_settings({})) > 1000
