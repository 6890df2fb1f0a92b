"""The recipes a fine-tune can follow: what each is for, what it costs, what can go wrong, and its settings.

The names of the settings are those of the trainers in `workbench/worker/trainers`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from workbench.core.errors import InvalidInput


def _setting(default: float, label: str, low: float, high: float, unit: str = "", *, expert: bool = False) -> Any:
    """A field with the range and the words that the page and the checks use."""
    return field(default=default, metadata={"label": label, "low": low, "high": high, "unit": unit, "expert": expert})


@dataclass(frozen=True)
class GenerativeSettings:
    """Settings of the generative recipe."""

    epochs: int = _setting(2, "Passes over the examples", 1, 20, "passes")
    """More passes follow the examples more closely and, beyond a few, learn them by heart."""
    learning_rate: float = _setting(5e-4, "Learning rate", 1e-6, 1e-2)
    """Peak rate of AdamW. Too high forgets what the base model knew; too low changes nothing."""
    batch_size: int = _setting(4, "Examples a step", 1, 32, "examples")
    """Larger steps are steadier and need more memory."""
    rank: int = _setting(8, "LoRA rank", 1, 64, expert=True)
    """Columns of the two small matrices learned in each layer: the size of the adapter."""
    alpha: int = _setting(16, "LoRA alpha", 1, 256, expert=True)
    """The adapter acts with the strength alpha / rank."""
    dropout: float = _setting(0.05, "Dropout", 0.0, 0.5, expert=True)
    """Share of the adapter's input left out at random while training."""
    last_layers: int = _setting(6, "Layers that learn, from the last", 0, 200, "layers", expert=True)
    """The last six cost half of all layers. 0: all."""
    max_length: int = _setting(512, "Longest example", 32, 4096, "tokens", expert=True)
    """A longer example is left out and counted."""
    seed: int = _setting(17, "Seed", 0, 2**31 - 1, expert=True)
    """Everything random follows from it."""


@dataclass(frozen=True)
class TriageSettings:
    """Settings of the triage recipe."""

    epochs: int = _setting(8, "Passes over the examples", 1, 100, "passes")
    """An encoder with a fresh head needs more passes than a generator."""
    learning_rate: float = _setting(1e-3, "Learning rate", 1e-6, 1e-1)
    """Peak rate of AdamW for the LoRA matrices."""
    head_learning_rate: float = _setting(5e-3, "Learning rate of the head", 1e-6, 1e-1, expert=True)
    """The classification head begins at random, so it learns faster."""
    batch_size: int = _setting(16, "Examples a step", 1, 64, "examples")
    """Larger steps are steadier."""
    rank: int = _setting(8, "LoRA rank", 1, 64, expert=True)
    """Columns of the two small matrices learned in each layer."""
    alpha: int = _setting(16, "LoRA alpha", 1, 256, expert=True)
    """The adapter acts with the strength alpha / rank."""
    dropout: float = _setting(0.05, "Dropout", 0.0, 0.5, expert=True)
    """Share of the adapter's input left out at random while training."""
    max_length: int = _setting(256, "Longest text", 16, 512, "tokens", expert=True)
    """Longer texts are cut."""
    seed: int = _setting(17, "Seed", 0, 2**31 - 1, expert=True)
    """Everything random follows from it."""


Settings = GenerativeSettings | TriageSettings


@dataclass(frozen=True)
class Recipe:
    """One way to make an adapter."""

    key: str
    """`generative` or `triage`."""
    title: str
    task: str
    """Task of the dataset versions it takes: `generation` or `triage`."""
    adapter_kind: str
    """Kind of the adapter it makes: `generator` or `triage`."""
    base: str
    """Which model it adapts, as people read it."""
    base_part: str
    """The part of the runtime's health that tells about that model: `base` or `embedder`."""
    what: str
    """What it does, for a newcomer."""
    cost: str
    risks: str
    settings: type[GenerativeSettings] | type[TriageSettings]
    minimum_rows: int
    """Least number of training examples."""
    maximum_rows: int
    minimum_per_label: int
    """Least number of training examples of each label; 0: there are no labels."""
    memory_base_mb: int
    """Memory of model and libraries while training."""
    memory_step_mb: float
    """Memory a step adds for each thousand tokens in it."""
    disk_mb: int
    """Disk for checkpoints and the adapter."""

    def memory_mb(self, settings: Settings) -> int:
        """Memory that training probably needs, in MB."""
        return round(self.memory_base_mb + self.memory_step_mb * settings.batch_size * settings.max_length / 1000)

    def make_settings(self, given: Mapping[str, Any]) -> Settings:
        """The recipe's defaults with what a person chose on top.

        Raises:
            InvalidInput: an unknown setting, or a value out of its range.
        """
        known = {item.name: item for item in fields(self.settings)}
        if unknown := sorted(set(given) - set(known)):
            raise InvalidInput(f"The recipe “{self.title}” has no setting {', '.join(unknown)}.")
        for name, value in given.items():
            meta = known[name].metadata
            whole = isinstance(known[name].default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise InvalidInput(f"{meta['label']} is {value!r}; it must be a {'whole ' if whole else ''}number.")
            if not meta["low"] <= value <= meta["high"]:
                raise InvalidInput(f"{meta['label']} is {value}; it must lie between {meta['low']:g} and {meta['high']:g}.")
        return self.settings(**given)


RECIPES: dict[str, Recipe] = {
    "generative": Recipe(
        key="generative",
        title="Answers: generative LoRA",
        task="generation",
        adapter_kind="generator",
        base="the base model",
        base_part="base",
        what=(
            "Teaches the base model how to answer, from the rewrites people made: its tone, its format, when to cite and when "
            "to decline. Only small LoRA matrices in the last layers learn, and only from the answers, not from the questions."
        ),
        cost="Minutes for a few dozen rewrites on two CPU cores, about 3 GB of memory. The adapter is a few MB.",
        risks=(
            "It teaches form better than facts: put facts into the knowledge instead. Too many passes learn examples by heart, "
            "and a narrow dataset can make other answers worse. Compare it before you propose it."
        ),
        settings=GenerativeSettings,
        minimum_rows=8,
        maximum_rows=5_000,
        minimum_per_label=0,
        memory_base_mb=1_700,
        memory_step_mb=270,
        disk_mb=600,
    ),
    "triage": Recipe(
        key="triage",
        title="Triage: classifier",
        task="triage",
        adapter_kind="triage",
        base="the embedding model (all-MiniLM-L6-v2)",
        base_part="embedder",
        what=(
            "Teaches a small encoder which team a question belongs to, from the labels people gave. LoRA matrices and a "
            "classification head learn; it writes no text."
        ),
        cost="One or two minutes for a few hundred texts on two CPU cores, about 1 GB of memory. The adapter is under 1 MB.",
        risks=(
            "It only knows the labels it has seen, and answers with one of them even when none fits. A rare label is learned "
            "badly: give each at least ten examples."
        ),
        settings=TriageSettings,
        minimum_rows=10,
        maximum_rows=20_000,
        minimum_per_label=2,
        memory_base_mb=900,
        memory_step_mb=60,
        disk_mb=100,
    ),
}


def get_recipe(key: str) -> Recipe:
    """The recipe with this key.

    Raises:
        InvalidInput: there is none.
    """
    if key not in RECIPES:
        raise InvalidInput(f"There is no recipe {key!r}.", todo=f"Choose one of {', '.join(RECIPES)}.")
    return RECIPES[key]


def settings_json(settings: Settings) -> dict[str, Any]:
    """Plain JSON, for job specs and receipts."""
    return asdict(settings)
