"""The triage classifier: an encoder of its own with LoRA adapters, each with its classification head."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from workbench.core.errors import IntegrityError
from workbench.runtime.adapters import HEAD, AdapterPool
from workbench.runtime.devices import choose_device, load_encoder, mean_pooled

MAX_TOKENS = 256
_BATCH = 32


@dataclass(frozen=True)
class Classification:
    """What one text was classified as."""

    label: str
    score: float
    """Probability of the label."""
    scores: dict[str, float]
    """Probability of every label; they add up to 1."""


class Classifier:
    """Classifies texts with a triage adapter. Safe across threads.

    It loads the encoder a second time instead of sharing the embedder's: a LoRA layer put into a shared model would change
    the vectors that retrieval compares.
    """

    def __init__(
        self,
        base_folder: Path,
        *,
        base_hash: str,
        locate: Callable[[str], Path],
        device: str = "auto",
        capacity: int = 4,
    ) -> None:
        """Arguments as those of `Generator`, the base being the encoder."""
        self._device = choose_device(device)
        encoder, self._tokenizer = load_encoder(str(base_folder), self._device)
        self._locate = locate
        self._heads: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._lock = threading.Lock()
        probe = self._tokenizer("Which team handles this?", return_tensors="pt").to(self._device)
        self._pool = AdapterPool(
            encoder,
            kind="triage",
            base_hash=base_hash,
            locate=locate,
            probe=lambda model: model(**probe).last_hidden_state,
            capacity=capacity,
        )

    @property
    def resident(self) -> list[str]:
        """Content hashes of the adapters in memory."""
        return self._pool.resident

    def labels(self, adapter: str) -> list[str]:
        """The labels an adapter knows."""
        with self._lock:
            self._pool.activate(adapter)
            return list(self._pool.card(adapter).labels)

    def classify(self, texts: Sequence[str], adapter: str) -> list[Classification]:
        """One classification a text, in their order.

        Raises:
            NotFound, IntegrityError, Conflict: as `AdapterPool.activate`.
        """
        results: list[Classification | None] = [None] * len(texts)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        with self._lock:
            self._pool.activate(adapter)
            weight, bias = self._head(adapter)
            labels = self._pool.card(adapter).labels
            for start in range(0, len(order), _BATCH):
                chosen = order[start : start + _BATCH]
                probabilities = self._forward([texts[index] for index in chosen], weight, bias)
                for index, row in zip(chosen, probabilities.tolist(), strict=True):
                    best = max(range(len(labels)), key=row.__getitem__)
                    results[index] = Classification(labels[best], row[best], dict(zip(labels, row, strict=True)))
        return [result for result in results if result is not None]

    def _forward(self, texts: list[str], weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        inputs = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(
            self._device
        )
        with torch.inference_mode():
            pooled = mean_pooled(self._pool.model(**inputs).last_hidden_state, inputs["attention_mask"])
            return torch.softmax(torch.nn.functional.linear(pooled, weight, bias), dim=-1).cpu()

    def _head(self, adapter: str) -> tuple[torch.Tensor, torch.Tensor]:
        if adapter not in self._heads:
            from safetensors.torch import load_file

            file = self._locate(adapter) / HEAD
            if not file.is_file():
                raise IntegrityError("The triage adapter has no classification head.", todo="Train it again.")
            tensors = load_file(file, device=str(self._device))
            labels = self._pool.card(adapter).labels
            if tensors["weight"].shape[0] != len(labels) or tensors["bias"].shape[0] != len(labels):
                raise IntegrityError("The triage adapter's head does not have one output a label.", todo="Train it again.")
            self._heads = {name: head for name, head in self._heads.items() if name in self._pool.resident}
            self._heads[adapter] = (tensors["weight"], tensors["bias"])
        return self._heads[adapter]
