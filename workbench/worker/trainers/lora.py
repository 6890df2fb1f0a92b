"""LoRA layers on a base model: fresh, or those of an incumbent adapter to go on from."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.core.errors import Conflict
from workbench.runtime.adapters import AdapterCard
from workbench.worker.trainers.spec import TrainSpec


def with_lora(model: Any, spec: TrainSpec, *, last_layers: int) -> Any:
    """The model with trainable LoRA layers.

    Args:
        last_layers: how many transformer layers, counted from the last, get them. 0: all.

    Raises:
        Conflict: the incumbent adapter to go on from belongs to another base model or recipe.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    if spec.continue_from is not None:
        card = AdapterCard.read(spec.continue_from)
        if card.base_hash != spec.base_hash or card.kind != spec.kind:
            raise Conflict(
                "The adapter to continue from does not fit this run.",
                why=f"It is a {card.kind} adapter of the base model {card.base_hash[:19]}….",
                todo="Choose an adapter of the same recipe and base model, or start from the base model.",
            )
        # No second peft_config here: TRL would merge the incumbent away before it begins.
        continued = PeftModel.from_pretrained(model, str(spec.continue_from), is_trainable=True)
        # The card's short name would send PEFT looking for a hub model when it saves.
        continued.peft_config["default"].base_model_name_or_path = str(spec.base_folder)
        return continued
    settings = spec.settings
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=linear_layers(model, last_layers),
        bias="none",
    )
    return get_peft_model(model, config)


def linear_layers(model: Any, last_layers: int) -> list[str]:
    """Full names of the linear modules inside the (last) transformer layers; embeddings, poolers and heads excluded."""
    numbered = [(name, int(match[1])) for name, match in _numbered_linears(model)]
    count = max(number for _name, number in numbered) + 1
    first = count - last_layers if 0 < last_layers < count else 0
    return sorted(name for name, number in numbered if number >= first)


def _numbered_linears(model: Any) -> Sequence[tuple[str, "re.Match[str]"]]:
    found = []
    for name, module in model.named_modules():
        match = re.search(r"\.(\d+)\.", name)
        if match and type(module).__name__ in ("Linear", "Conv1D"):
            found.append((name, match))
    return found


def save_adapter(model: Any, folder: Path, spec: TrainSpec, labels: Sequence[str] = ()) -> None:
    """Write the adapter as safetensors with its card."""
    model.save_pretrained(str(folder), safe_serialization=True)
    AdapterCard(spec.kind, spec.base_hash, spec.dataset_hash, list(labels)).write(folder, spec.base_name)
