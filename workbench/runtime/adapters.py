"""LoRA adapters in one loaded model: checked when loaded, bounded in number, proven to act after a switch."""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from workbench.core.canonical import canonical_bytes
from workbench.core.errors import Conflict, IntegrityError

CARD = "adapter.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
HEAD = "head.safetensors"
_ALLOWED = {CARD, WEIGHTS, CONFIG, HEAD}


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter is bound to; lies in its folder as adapter.json, so that its content hash covers it."""

    kind: str
    """The slot of a release it can fill: `generator` or `triage`."""
    base_hash: str
    """Hash of the weights of the model it was trained on."""
    dataset_hash: str
    """Hash of the dataset version it learned from."""
    labels: list[str] = field(default_factory=list)
    """Triage: the labels in the order of the head's outputs."""

    @classmethod
    def read(cls, folder: Path) -> "AdapterCard":
        """The card in an adapter's folder.

        Raises:
            IntegrityError: the folder is no adapter, or holds files that an adapter does not have.
        """
        names = {path.name for path in folder.iterdir()}
        missing = {CARD, WEIGHTS, CONFIG} - names
        if missing or names - _ALLOWED:
            raise IntegrityError(
                "The folder is not a workbench adapter.",
                why=f"Missing: {sorted(missing)}. Not allowed: {sorted(names - _ALLOWED)}.",
                todo="Train it with the tune page; weights in other formats than safetensors are never opened.",
            )
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config.get("peft_type") != "LORA":
            raise IntegrityError(f"The adapter is of the type {config.get('peft_type')!r}, not LORA.")
        try:
            return cls(**json.loads((folder / CARD).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise IntegrityError("The adapter's card cannot be read.", why=str(error)) from error

    def write(self, folder: Path, base_name: str) -> None:
        """Write the card, and take this machine's paths out of PEFT's config so that equal training gives equal bytes."""
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base_name
        for name in ("target_modules", "layers_to_transform"):
            if isinstance(config.get(name), list):
                config[name] = sorted(config[name])
        (folder / CONFIG).write_bytes(canonical_bytes(config))
        (folder / CARD).write_bytes(canonical_bytes(asdict(self)))
        for path in folder.iterdir():
            if path.name not in _ALLOWED:
                path.unlink()


class AdapterPool:
    """The adapters that are resident in one model; at most one acts at a time.

    Not safe across threads: its owner holds a lock from `activate` to the end of the forward passes.
    """

    def __init__(
        self,
        model: Any,
        *,
        kind: str,
        base_hash: str,
        locate: Callable[[str], Path],
        probe: Callable[[Any], torch.Tensor],
        capacity: int = 4,
    ) -> None:
        """
        Args:
            model: the base model; LoRA layers are put into it when the first adapter is loaded.
            kind: the only kind of adapter taken.
            base_hash: hash of the base model's weights.
            locate: the folder of an adapter's content hash, its bytes checked (`ArtifactStore.verify`).
            probe: outputs of the model for a fixed input, to see whether an adapter acts.
            capacity: how many adapters stay in memory.
        """
        self.base = model
        self.model = model
        self.active: str | None = None
        self._kind = kind
        self._base_hash = base_hash
        self._locate = locate
        self._probe = probe
        self._capacity = capacity
        self._cards: OrderedDict[str, AdapterCard] = OrderedDict()
        self._fingerprints: dict[str, torch.Tensor] = {}
        with torch.inference_mode():
            self._base_fingerprint = probe(model).clone()

    @property
    def resident(self) -> list[str]:
        """Content hashes in memory, least recently used first."""
        return list(self._cards)

    def card(self, content_hash: str) -> AdapterCard:
        """The card of a resident adapter."""
        return self._cards[content_hash]

    def activate(self, content_hash: str | None) -> None:
        """Let this adapter act, or none; loads it when needed.

        Raises:
            NotFound: no such adapter is stored.
            IntegrityError: its bytes do not have its hash, or the switch did not change the model's outputs as it did before.
            Conflict: it belongs to another base model or is of another kind.
        """
        if content_hash is not None and content_hash in self._cards:
            self._cards.move_to_end(content_hash)
        if content_hash == self.active:
            return
        # A switch may happen in the middle of another batch's forward passes; adapter weights must stay normal tensors.
        with torch.inference_mode(mode=False):
            self._switch(content_hash)
        try:
            self._check_switch(content_hash)
        except IntegrityError:
            if content_hash is not None:
                self._evict(content_hash)
            raise

    def _switch(self, content_hash: str | None) -> None:
        if content_hash is None:
            self.model.base_model.disable_adapter_layers()
        else:
            if content_hash not in self._cards:
                self._load(content_hash)
                self._check_base()
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(_name(content_hash), inference_mode=True)
        self.active = content_hash

    def _check_base(self) -> None:
        """Without adapters the model must still say what it said at first."""
        self.model.base_model.disable_adapter_layers()
        with torch.inference_mode():
            same = torch.allclose(self._probe(self.model), self._base_fingerprint, rtol=1e-3, atol=1e-3)
        if not same:
            raise IntegrityError("The base model was changed in memory.", todo="Restart the runtime.")

    def _load(self, content_hash: str) -> None:
        folder = self._locate(content_hash)
        card = AdapterCard.read(folder)
        if card.kind != self._kind:
            raise Conflict(f"The adapter is of the kind {card.kind}, and {self._kind} is needed here.")
        if card.base_hash != self._base_hash:
            raise Conflict(
                "The adapter belongs to another base model.",
                why=f"It was trained on {card.base_hash[:19]}…, and {self._base_hash[:19]}… is loaded.",
                todo="Set WORKBENCH_BASE_MODEL to that base model, or train the adapter again.",
            )
        while len(self._cards) >= self._capacity:
            self._evict(next(iter(self._cards)))
        from peft import PeftModel

        name, device = _name(content_hash), str(next(self.base.parameters()).device)
        try:
            if self.model is self.base:
                self.model = PeftModel.from_pretrained(self.base, str(folder), adapter_name=name, torch_device=device)
            else:
                self.model.load_adapter(str(folder), adapter_name=name, is_trainable=False, torch_device=device)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            if self.model is not self.base and name in self.model.peft_config:
                self.model.delete_adapter(name)
            raise IntegrityError("The adapter does not fit the base model.", why=str(error)[:300]) from error
        self.model.eval()
        self._cards[content_hash] = card

    def _evict(self, content_hash: str) -> None:
        self.model.delete_adapter(_name(content_hash))
        self._cards.pop(content_hash, None)
        self._fingerprints.pop(content_hash, None)
        if self.active == content_hash:
            self.model.base_model.disable_adapter_layers()
            self.active = None

    def _check_switch(self, content_hash: str | None) -> None:
        """A hot swap can silently do nothing, as on a model that an adapter was merged into, so look at what the model says."""
        with torch.inference_mode():
            seen = self._probe(self.model)
        expected = self._base_fingerprint if content_hash is None else self._fingerprints.get(content_hash)
        if expected is None:
            if self._acts(str(content_hash)) and torch.equal(seen, self._base_fingerprint):
                raise IntegrityError("The adapter was loaded but does not act.", todo="Restart the runtime; see its log.")
            self._fingerprints[str(content_hash)] = seen.clone()
        elif not torch.allclose(seen, expected, rtol=1e-3, atol=1e-3):
            raise IntegrityError("The model does not answer as it did with this adapter before.", todo="Restart the runtime.")

    def _acts(self, content_hash: str) -> bool:
        """Whether any of the adapter's B matrices is not zero: one that has learned nothing changes nothing."""
        name = _name(content_hash)
        return any(bool(parameter.any()) for key, parameter in self.model.named_parameters() if f"lora_B.{name}." in key)


def _name(content_hash: str) -> str:
    """Name of the adapter inside PEFT, which allows no dots."""
    return content_hash.removeprefix("sha256:")
