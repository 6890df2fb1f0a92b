"""Sentence embeddings for retrieval."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from workbench.runtime.devices import choose_device, load_encoder, mean_pooled

Vectors = npt.NDArray[np.float32]
MAX_TOKENS = 256
"""What all-MiniLM-L6-v2 was made for; more of a text is not read."""
_BATCH = 64


class Embedder:
    """all-MiniLM-L6-v2: mean of the last hidden states, normalised. Safe across threads."""

    def __init__(self, folder: Path, *, content_hash: str, device: str = "auto", cached: int = 2_048) -> None:
        """
        Args:
            folder: the model's safetensors and tokenizer.
            content_hash: hash of its weights, which names the collections made with it.
            cached: texts whose vectors are remembered.
        """
        self.content_hash = content_hash
        self._device = choose_device(device)
        self._model, self._tokenizer = load_encoder(str(folder), self._device)
        self.width = int(self._model.config.hidden_size)
        self._cached = cached
        self._cache: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 of shape (len(texts), 384), in the order of the texts."""
        result = np.zeros((len(texts), self.width), dtype=np.float32)
        with self._lock:
            missing = []
            for index, text in enumerate(texts):
                vector = self._cache.get(text)
                if vector is None:
                    missing.append(index)
                else:
                    self._cache.move_to_end(text)
                    result[index] = vector
            missing.sort(key=lambda index: len(texts[index]))
            for start in range(0, len(missing), _BATCH):
                chosen = missing[start : start + _BATCH]
                vectors = self._forward([texts[index] for index in chosen])
                for index, vector in zip(chosen, vectors, strict=True):
                    result[index] = vector
                    self._cache[texts[index]] = vector.copy()
            while len(self._cache) > self._cached:
                self._cache.popitem(last=False)
        return result

    def _forward(self, texts: list[str]) -> Vectors:
        inputs = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(
            self._device
        )
        with torch.inference_mode():
            pooled = mean_pooled(self._model(**inputs).last_hidden_state, inputs["attention_mask"])
            unit = torch.nn.functional.normalize(pooled, dim=1)
        vectors: Vectors = unit.cpu().numpy().astype(np.float32)
        return vectors
