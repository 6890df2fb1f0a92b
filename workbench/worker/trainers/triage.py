"""The triage recipe: the encoder with LoRA layers and a classification head.

TRL has no trainer for classifiers and transformers' brings pickles into its checkpoints, so this is a plain loop with the same
surface as the generative recipe; its checkpoints are safetensors and JSON only.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from workbench.core.canonical import content_hash
from workbench.core.errors import InvalidInput
from workbench.runtime.adapters import HEAD, AdapterCard
from workbench.runtime.devices import choose_device, load_encoder, mean_pooled
from workbench.worker.trainers import checkpoints
from workbench.worker.trainers.batches import batches
from workbench.worker.trainers.lora import save_adapter, with_lora
from workbench.worker.trainers.spec import (
    OnMetric,
    OnProgress,
    Progress,
    ShouldStop,
    TrainResult,
    TrainSpec,
    peak_rss_bytes,
    settings_record,
    versions,
)


def train(
    spec: TrainSpec,
    rows: Sequence[dict[str, str]],
    out_folder: Path,
    *,
    held_out: Sequence[dict[str, str]] = (),
    on_progress: OnProgress = lambda progress: None,
    on_metric: OnMetric = lambda name, step, value: None,
    should_stop: ShouldStop = lambda: False,
    resume_from: Path | None = None,
) -> TrainResult:
    """Train a triage adapter with its head.

    Args:
        rows: each with `text` and `label`.
        Others: as `generative.train`.

    Raises:
        InvalidInput: fewer than two labels, an empty text, or a label that is not allowed.
        Conflict: the adapter to continue from does not fit.
    """
    settings = spec.settings
    labels = labels_of([*rows, *held_out], spec.labels)
    torch.manual_seed(settings.seed)
    device = choose_device(spec.device)
    encoder, tokenizer = load_encoder(str(spec.base_folder), device)
    encoded, wanted = _encode(rows, tokenizer, labels, settings.max_length)
    run = content_hash({"rows": [encoded, wanted], "labels": labels, "base": spec.base_hash, "settings": settings_record(spec)})

    learner = _Learner.make(encoder, spec, labels, -(-len(rows) // settings.batch_size) * settings.epochs, device)
    folder = out_folder / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    found = checkpoints.newest(resume_from or folder, run)
    first = learner.load(found) if found else 0
    step, tokens, losses, stopped = first, 0, [], False
    right = seen = 0
    validation = (0.0, 0.0)
    started = time.monotonic()
    learner.model.train()
    for epoch in range(settings.epochs):
        order = batches([len(ids) for ids in encoded], settings.batch_size, seed=settings.seed, epoch=epoch)
        right = seen = 0
        for number, chosen in enumerate(order):
            if epoch * len(order) + number < first:
                continue
            padded = tokenizer.pad({"input_ids": [encoded[i] for i in chosen]}, return_tensors="pt").to(device)
            targets = torch.tensor([wanted[i] for i in chosen], device=device)
            loss, hits = learner.learn(padded, targets)
            step, right, seen = step + 1, right + hits, seen + len(chosen)
            tokens += sum(len(encoded[i]) for i in chosen)
            losses.append(loss)
            on_progress(Progress(step, learner.total, loss, tokens, time.monotonic() - started, first=first))
            stopped = step < learner.total and should_stop()
            if stopped or (step % settings.checkpoint_every == 0 and step < learner.total):
                learner.save(folder / f"checkpoint-{step}", step, run)
            if stopped:
                break
        if stopped:
            break
        if held_out and seen:
            validation = learner.measure(*_encode(held_out, tokenizer, labels, settings.max_length), tokenizer)
            on_metric("validation_loss", step, validation[0])
            on_metric("validation_accuracy", step, validation[1])

    adapter = None
    if not stopped:
        adapter = out_folder / "adapter"
        shutil.rmtree(adapter, ignore_errors=True)
        save_adapter(learner.model, adapter, spec, labels)
        save_file({"weight": learner.head.weight.detach().cpu(), "bias": learner.head.bias.detach().cpu()}, adapter / HEAD)
    counts = Counter(row["label"] for row in rows)
    last = losses[-max(learner.total // settings.epochs, 1) :]
    measured = {"validation_loss": validation[0], "validation_accuracy": validation[1]} if held_out else {}
    return TrainResult(
        adapter_folder=adapter,
        metrics={
            "final_loss": sum(last) / len(last) if last else 0.0,
            "final_train_accuracy": right / seen if seen else 0.0,
            "examples": float(len(rows)),
            "labels": float(len(labels)),
            "fewest_examples_of_a_label": float(min(counts.get(label, 0) for label in labels)),
            **measured,
        },
        settings=settings_record(spec),
        versions=versions(),
        seconds=time.monotonic() - started,
        tokens=tokens,
        peak_rss_bytes=peak_rss_bytes(),
        stopped=stopped,
        steps=learner.total,
        labels=labels,
        resumed_from_step=first,
        losses=losses,
    )


def _encode(
    rows: Sequence[dict[str, str]], tokenizer: Any, labels: Sequence[str], max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Token ids and label numbers."""
    encoded = [tokenizer(row["text"], truncation=True, max_length=max_length)["input_ids"] for row in rows]
    return encoded, [labels.index(row["label"]) for row in rows]


def labels_of(rows: Sequence[dict[str, str]], allowed: Sequence[str]) -> list[str]:
    """The labels in their order: the allowed ones, or those of the rows by name.

    Raises:
        InvalidInput: see `train`.
    """
    for number, row in enumerate(rows):
        if not isinstance(row.get("text"), str) or not row["text"].strip() or not row.get("label"):
            raise InvalidInput(
                f"Example {number + 1} has no text or no label.", todo="Build the dataset version for classification."
            )
    found = sorted({row["label"] for row in rows})
    strange = sorted(set(found) - set(allowed)) if allowed else []
    if strange:
        raise InvalidInput(f"The dataset version has labels that the project does not know: {', '.join(strange)}.")
    if len(found) < 2:
        raise InvalidInput("A classifier needs examples of at least two labels.", todo="Label more traces first.")
    return list(allowed) or found


@dataclass
class _Learner:
    """Model, head and optimizer: everything that a checkpoint has to hold."""

    model: Any
    head: Any
    optimizer: Any
    schedule: Any
    total: int
    device: torch.device

    @classmethod
    def make(cls, encoder: Any, spec: TrainSpec, labels: Sequence[str], total: int, device: torch.device) -> "_Learner":
        settings = spec.settings
        model = with_lora(encoder, spec, last_layers=0).to(device)
        head = torch.nn.Linear(encoder.config.hidden_size, len(labels)).to(device)
        if spec.continue_from is not None:
            _take_over_head(head, labels, spec.continue_from)
        lora = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": lora, "lr": settings.learning_rate},
                {"params": list(head.parameters()), "lr": settings.head_learning_rate},
            ],
            weight_decay=0.01,
        )
        warm_up = max(1, total // 10)

        def share(step: int) -> float:
            return (step + 1) / warm_up if step < warm_up else max(0.0, (total - step) / max(1, total - warm_up))

        return cls(model, head, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share), total, device)

    def learn(self, inputs: Any, targets: Any) -> tuple[float, int]:
        """One step; returns the loss and how many of the batch were right."""
        pooled = mean_pooled(self.model(**inputs).last_hidden_state, inputs["attention_mask"])
        logits = self.head(pooled)
        loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.05)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._trained(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach()), int((logits.argmax(-1) == targets).sum())

    def measure(self, encoded: Sequence[list[int]], wanted: Sequence[int], tokenizer: Any) -> tuple[float, float]:
        """Mean loss and accuracy on rows that are not learned from."""
        self.model.eval()
        loss, right = 0.0, 0
        with torch.no_grad():
            for start in range(0, len(encoded), 32):
                inputs = tokenizer.pad({"input_ids": encoded[start : start + 32]}, return_tensors="pt").to(self.device)
                targets = torch.tensor(wanted[start : start + 32], device=self.device)
                logits = self.head(mean_pooled(self.model(**inputs).last_hidden_state, inputs["attention_mask"]))
                loss += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
                right += int((logits.argmax(-1) == targets).sum())
        self.model.train()
        return loss / len(encoded), right / len(encoded)

    def _trained(self) -> list[Any]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def save(self, checkpoint: Path, step: int, run: str) -> None:
        """Write a sealed checkpoint; the ones before the last two go."""
        temporary = checkpoint.with_name(f".{checkpoint.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        tensors: dict[str, torch.Tensor] = {"random": torch.get_rng_state()}
        for number, parameter in enumerate(self._trained()):
            tensors[f"{number}.value"] = parameter.detach().cpu().contiguous()
            for name, value in self.optimizer.state[parameter].items():
                tensors[f"{number}.{name}"] = value.detach().cpu().contiguous()
        save_file(tensors, temporary / "state.safetensors")
        (temporary / "state.json").write_text(json.dumps({"step": step}), encoding="utf-8")
        checkpoints.seal(temporary, run)
        shutil.rmtree(checkpoint, ignore_errors=True)
        temporary.rename(checkpoint)
        checkpoints.keep_last(checkpoint.parent)

    def load(self, checkpoint: Path) -> int:
        """Take the state of a verified checkpoint; returns its step."""
        tensors = load_file(checkpoint / "state.safetensors")
        step = int(json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["step"])
        with torch.no_grad():
            for number, parameter in enumerate(self._trained()):
                parameter.copy_(tensors[f"{number}.value"])
                names = [key.partition(".")[2] for key in tensors if key.startswith(f"{number}.")]
                self.optimizer.state[parameter] = {
                    # AdamW counts its steps on the CPU; the moments lie where the parameter does.
                    name: tensors[f"{number}.{name}"].to("cpu" if name == "step" else self.device)
                    for name in names
                    if name != "value"
                }
        torch.set_rng_state(tensors["random"])
        self.schedule.load_state_dict({**self.schedule.state_dict(), "last_epoch": step})
        for group, rate in zip(self.optimizer.param_groups, self.schedule.base_lrs, strict=True):
            group["lr"] = rate * self.schedule.lr_lambdas[0](step)
        return step


def _take_over_head(head: Any, labels: Sequence[str], incumbent: Path) -> None:
    """Copy the incumbent's rows for labels that both know; new labels begin at random."""
    tensors = load_file(incumbent / HEAD)
    known = AdapterCard.read(incumbent).labels
    with torch.no_grad():
        for row, label in enumerate(labels):
            if label in known:
                head.weight[row] = tensors["weight"][known.index(label)]
                head.bias[row] = tensors["bias"][known.index(label)]
