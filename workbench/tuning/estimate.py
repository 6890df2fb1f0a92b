"""How long a fine-tune will take on this machine, from what earlier ones took. Free of torch, so that a page can ask."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from workbench.core.settings import Settings

TYPICAL_RATES = {"generative": 190.0, "triage": 620.0}
"""Tokens trained a second on two cores, measured with Gemma 3 270M (last six layers) and all-MiniLM-L6-v2."""
START_SECONDS = {"generative": 25.0, "triage": 12.0}
"""Starting the process and loading libraries, model and tokenizer."""
_ALL_LAYERS = 2.3
"""A step over all layers costs this many times one over the last six (11.5 s against 5 s)."""
_LAYERS_OF_GEMMA = 18
_NEWEST_WEIGHS = 0.5
"""Weight of the newest run in the moving average."""


@dataclass(frozen=True)
class Rate:
    """How fast this machine trains with a recipe."""

    tokens_per_second: float
    """Normalised to the recipe's default layers."""
    runs: int
    """Finished runs behind it."""


@dataclass(frozen=True)
class Estimate:
    """How long a run will probably take."""

    seconds: float
    low: float
    high: float
    """Four of five runs lie between low and high."""
    tokens: int
    """Tokens that will be read, over all epochs."""
    measured_runs: int
    """Runs on this machine behind it; 0: typical of two cores."""


def count_tokens(texts: Iterable[str]) -> int:
    """Roughly how many tokens the texts have: a tokenizer makes about one of four bytes, for any of the languages."""
    return sum(len(text.encode()) // 4 + 1 for text in texts)


def estimate(
    recipe: str, tokens: int, *, epochs: int, last_layers: int = 6, calibration: dict[str, Rate] | None = None
) -> Estimate:
    """How long training will take, loading included.

    Args:
        recipe: `generative` or `triage`.
        tokens: tokens of all examples, once (see `count_tokens`).
        last_layers: generative: layers that learn, counted from the last; 0: all.
        calibration: what `read_calibration` returned.
    """
    rate = (calibration or {}).get(recipe) or Rate(TYPICAL_RATES[recipe], 0)
    total = tokens * epochs
    seconds = START_SECONDS[recipe] + total * _cost(recipe, last_layers) / rate.tokens_per_second
    spread = 1.3 if rate.runs >= 2 else 1.6 if rate.runs else 2.0
    return Estimate(seconds, seconds / spread, seconds * spread, total, rate.runs)


def read_calibration(settings: Settings) -> dict[str, Rate]:
    """What earlier runs on this machine measured; empty when there are none or the file cannot be read."""
    try:
        values = json.loads(_file(settings).read_text(encoding="utf-8"))
        return {recipe: Rate(float(rate["tokens_per_second"]), int(rate["runs"])) for recipe, rate in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def calibrate(settings: Settings, recipe: str, *, tokens: int, seconds: float, last_layers: int = 6) -> Rate | None:
    """Take a finished run into the calibration; returns the new rate, None for a run too short to say anything."""
    if tokens < 200 or seconds < 1:
        return None
    known = read_calibration(settings)
    newest = tokens * _cost(recipe, last_layers) / seconds
    former = known.get(recipe)
    mean = newest if former is None else former.tokens_per_second * (1 - _NEWEST_WEIGHS) + newest * _NEWEST_WEIGHS
    known[recipe] = Rate(mean, 1 if former is None else former.runs + 1)
    file = _file(settings)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps({name: asdict(rate) for name, rate in known.items()}), encoding="utf-8")
    os.replace(temporary, file)
    return known[recipe]


def _cost(recipe: str, last_layers: int) -> float:
    """Cost of a token, relative to the recipe's default layers."""
    if recipe != "generative":
        return 1.0
    layers = last_layers if 0 < last_layers < _LAYERS_OF_GEMMA else _LAYERS_OF_GEMMA
    return 1.0 + (layers - 6) / (_LAYERS_OF_GEMMA - 6) * (_ALL_LAYERS - 1.0)


def _file(settings: Settings) -> Path:
    return settings.folder("analytics") / "calibration.json"
