"""What a trainer is told and what it gives back; shared by both recipes, free of torch."""

import os
import platform
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from workbench.core.errors import InvalidInput


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a recipe. A receipt holds all of them."""

    epochs: int = 2
    """Passes over the examples."""
    learning_rate: float = 2e-4
    """Peak rate of AdamW, reached after a tenth of the steps and falling to zero."""
    head_learning_rate: float = 5e-3
    """Triage: rate of the classification head."""
    batch_size: int = 8
    """Examples a step."""
    rank: int = 8
    """Rank of the LoRA matrices."""
    alpha: int = 16
    """LoRA's scale is alpha / rank."""
    dropout: float = 0.05
    """Dropout on LoRA's input."""
    last_layers: int = 6
    """Generative: how many layers, counted from the last, learn. 0: all."""
    max_length: int = 512
    """Longest example in tokens; a longer one is left out and counted."""
    seed: int = 17
    """Everything random follows from it."""
    checkpoint_every: int = 5
    """Steps between two checkpoints."""

    @classmethod
    def for_recipe(cls, recipe: str, given: Mapping[str, Any]) -> "TrainSettings":
        """A recipe's defaults with what a person chose on top.

        Raises:
            InvalidInput: an unknown recipe or setting, or a value out of its range.
        """
        if recipe not in DEFAULTS:
            raise InvalidInput(f"There is no recipe {recipe!r}.", todo=f"Choose one of {', '.join(DEFAULTS)}.")
        unknown = set(given) - {item.name for item in fields(cls)}
        if unknown:
            raise InvalidInput(f"The recipe has no setting {', '.join(sorted(unknown))}.")
        settings = cls(**{**DEFAULTS[recipe], **given})
        for name, (low, high) in RANGES.items():
            value = getattr(settings, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InvalidInput(f"{name} is {value!r}; it must lie between {low} and {high}.")
        return settings


DEFAULTS: dict[str, dict[str, Any]] = {
    "generative": {"epochs": 2, "batch_size": 4, "learning_rate": 5e-4},
    "triage": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-3, "max_length": 256, "checkpoint_every": 20},
}
"""What a recipe changes of TrainSettings' defaults."""
RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 100),
    "learning_rate": (1e-6, 1e-1),
    "head_learning_rate": (1e-6, 1e-1),
    "batch_size": (1, 64),
    "rank": (1, 128),
    "alpha": (1, 512),
    "dropout": (0.0, 0.9),
    "last_layers": (0, 200),
    "max_length": (16, 4096),
    "seed": (0, 2**31 - 1),
    "checkpoint_every": (1, 100_000),
}


@dataclass(frozen=True)
class TrainSpec:
    """One training run."""

    recipe: str
    """`generative` or `triage`."""
    base_folder: Path
    base_name: str
    base_hash: str
    dataset_hash: str
    settings: TrainSettings
    continue_from: Path | None = None
    """Folder of an incumbent adapter to go on from, instead of a fresh one; already checked against its hash."""
    labels: Sequence[str] = ()
    """Triage: all labels, also those without an example. Empty: those of the examples."""
    device: str = "auto"

    @property
    def kind(self) -> str:
        """The kind of adapter it makes."""
        return "generator" if self.recipe == "generative" else self.recipe


@dataclass(frozen=True)
class Progress:
    """One step is done."""

    step: int
    total: int
    loss: float
    tokens: int
    """Tokens read so far in this attempt."""
    seconds: float
    """Since this attempt began to train."""

    @property
    def remaining_seconds(self) -> float:
        """An estimate from this attempt's own pace; `first` steps of an earlier attempt cost it nothing."""
        return self.seconds / max(self.step - self.first, 1) * (self.total - self.step)

    first: int = 0
    """Steps that an earlier attempt had done."""


@dataclass
class TrainResult:
    """What a run left behind."""

    adapter_folder: Path | None
    """The finished adapter; None when the run was stopped."""
    metrics: dict[str, float]
    settings: dict[str, Any]
    versions: dict[str, str]
    seconds: float
    """Of this attempt."""
    tokens: int
    """Tokens read in this attempt."""
    peak_rss_bytes: int
    stopped: bool
    """Whether should_stop ended it early; its checkpoint allows to go on."""
    steps: int = 0
    """Steps of the whole run."""
    labels: list[str] = field(default_factory=list)
    """Triage: in the order of the head's outputs."""
    resumed_from_step: int = 0
    losses: list[float] = field(default_factory=list)


OnProgress = Callable[[Progress], None]
OnMetric = Callable[[str, int, float], None]
"""Name, step and value of a point of a curve, such as the loss on held-out rows after an epoch."""
ShouldStop = Callable[[], bool]


def peak_rss_bytes() -> int:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Versions of what training depends on."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for package in ("torch", "transformers", "peft", "trl", "accelerate", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def settings_record(spec: TrainSpec) -> dict[str, Any]:
    """The settings as the receipt holds them."""
    return {"recipe": spec.recipe, "continued": spec.continue_from is not None, **asdict(spec.settings)}
