"""What is checked before a fine-tune is queued, so that it does not fail an hour later. The page shows the same checks."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import psutil
from sqlmodel import Session

from workbench.core.errors import InvalidInput, WorkbenchError
from workbench.core.unit_of_work import Context
from workbench.datasets import queries as datasets
from workbench.datasets.models import DatasetExample, DatasetVersion
from workbench.datasets.verify import verify
from workbench.golden.leaks import find_leaks
from workbench.golden.queries import texts as golden_texts
from workbench.identity.models import Project
from workbench.tuning import queries
from workbench.tuning.estimate import Estimate, count_tokens, estimate, read_calibration
from workbench.tuning.recipes import Recipe, Settings

MAX_HOURS = 6
"""A run that would probably take longer is not queued."""


class Level(StrEnum):
    """How much a check matters."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; does not stop the launch."""
    STOP = "stop"


@dataclass(frozen=True)
class Finding:
    """One check and what it found."""

    name: str
    level: Level
    text: str
    todo: str = ""


@dataclass(frozen=True)
class Preflight:
    """Everything that is known about a fine-tune before it runs."""

    findings: tuple[Finding, ...]
    train_rows: int
    validation_rows: int
    labels: dict[str, int] = field(default_factory=dict)
    """Training examples a label."""
    steps: int = 0
    estimate: Estimate | None = None
    memory_mb: int = 0
    memory_basis: str = ""

    @property
    def stops(self) -> list[Finding]:
        """Findings that stop the launch."""
        return [finding for finding in self.findings if finding.level is Level.STOP]

    def require(self) -> None:
        """Return when nothing stops the launch.

        Raises:
            InvalidInput: names all that does.
        """
        if self.stops:
            raise InvalidInput(
                " ".join(finding.text for finding in self.stops),
                why="A fine-tune is only queued when its checks hold.",
                todo=" ".join(finding.todo for finding in self.stops if finding.todo),
            )


def examine(
    session: Session,
    context: Context,
    project_id: str,
    recipe: Recipe,
    dataset: DatasetVersion,
    settings: Settings,
    *,
    continue_from: str | None = None,
    health: Mapping[str, Any] | None = None,
) -> Preflight:
    """Run every check.

    Args:
        health: what the runtime says about itself; None: it does not answer.
    """
    found = [_belongs(dataset, project_id, recipe)]
    if found[0].level is Level.STOP:
        return Preflight(tuple(found), 0, 0)
    examples = [example for example in datasets.examples(session, dataset.id) if example.content]
    train = [example for example in examples if example.split == "train"]
    labels = Counter(str(example.content.get("label")) for example in train) if recipe.minimum_per_label else Counter[str]()
    tokens = count_tokens(text for example in train for text in texts_of(example))
    guess = estimate(
        recipe.key,
        tokens,
        epochs=settings.epochs,
        last_layers=getattr(settings, "last_layers", 6),
        calibration=read_calibration(context.settings),
    )
    memory, basis = _memory(session, project_id, recipe, settings)
    found += [
        _frozen(session, dataset),
        _rows(train, recipe),
        *_labels(session, project_id, labels, recipe),
        _golden(session, project_id, examples),
        _time(guess),
        _room_on_disk(context, recipe),
        _room_in_memory(memory),
        _base(health, recipe),
        *_parent(session, context, project_id, recipe, continue_from),
        _queue(session, project_id),
    ]
    return Preflight(
        findings=tuple(found),
        train_rows=len(train),
        validation_rows=len(examples) - len(train),
        labels=dict(labels.most_common()),
        steps=-(-len(train) // settings.batch_size) * settings.epochs,
        estimate=guess,
        memory_mb=memory,
        memory_basis=basis,
    )


def texts_of(example: DatasetExample) -> list[str]:
    """The texts a model would learn from."""
    return [str(example.content[name]) for name in ("prompt", "completion", "text") if example.content.get(name)]


def _belongs(dataset: DatasetVersion, project_id: str, recipe: Recipe) -> Finding:
    if dataset.project_id != project_id:
        return Finding("Dataset", Level.STOP, "The dataset version belongs to another project.")
    if dataset.task != recipe.task:
        return Finding(
            "Dataset",
            Level.STOP,
            f"The dataset version is for {dataset.task}, and this recipe needs one for {recipe.task}.",
            "Choose another dataset version or the other recipe.",
        )
    return Finding("Dataset", Level.OK, f"It is a dataset version for {recipe.task}.")


def _frozen(session: Session, dataset: DatasetVersion) -> Finding:
    if dataset.frozen_at is None:
        return Finding(
            "Frozen", Level.STOP, "The dataset version is not frozen.", "Freeze it on the datasets page: a hash must name it."
        )
    if dataset.discarded_at is not None:
        return Finding("Frozen", Level.STOP, "The dataset version was discarded.", "Choose another version.")
    try:
        verify(session, dataset)
    except WorkbenchError as error:
        return Finding("Frozen", Level.STOP, error.what, error.todo)
    return Finding("Frozen", Level.OK, "Its content is frozen, and every row is what its hash names.")


def _rows(train: Sequence[DatasetExample], recipe: Recipe) -> Finding:
    if len(train) < recipe.minimum_rows:
        return Finding(
            "Examples",
            Level.STOP,
            f"There are {len(train)} training examples; the recipe needs at least {recipe.minimum_rows}.",
            "Annotate more traces and build a new dataset version.",
        )
    if len(train) > recipe.maximum_rows:
        return Finding(
            "Examples",
            Level.STOP,
            f"There are {len(train):,} training examples; the recipe takes at most {recipe.maximum_rows:,}.",
            "Build a smaller dataset version.",
        )
    return Finding("Examples", Level.OK, f"{len(train):,} training examples.")


def _labels(session: Session, project_id: str, labels: Mapping[str, int], recipe: Recipe) -> list[Finding]:
    if not recipe.minimum_per_label:
        return []
    if len(labels) < 2:
        return [Finding("Labels", Level.STOP, "All examples carry the same label.", "A classifier needs at least two labels.")]
    rare = [label for label, count in labels.items() if count < recipe.minimum_per_label]
    if rare:
        return [
            Finding(
                "Labels",
                Level.STOP,
                f"Fewer than {recipe.minimum_per_label} training examples carry {', '.join(sorted(rare))}.",
                "Annotate more of them, or leave the label out of the dataset version.",
            )
        ]
    project = session.get(Project, project_id)
    teams = [team["key"] for team in project.teams] if project else []
    unseen = [team for team in teams if team not in labels]
    unknown = sorted(set(labels) - set(teams)) if teams else []
    if unknown:
        return [Finding("Labels", Level.NOTE, f"No team of the project is called {', '.join(unknown)}.")]
    if unseen:
        return [Finding("Labels", Level.NOTE, f"No example carries {', '.join(unseen)}, so the adapter cannot choose it.")]
    return [Finding("Labels", Level.OK, f"{len(labels)} labels, each with at least {min(labels.values())} examples.")]


def _golden(session: Session, project_id: str, examples: Sequence[DatasetExample]) -> Finding:
    leaks = find_leaks(("\n".join(texts_of(example)) for example in examples), golden_texts(session, project_id))
    if leaks:
        return Finding(
            "Golden sets",
            Level.STOP,
            f"{len(leaks)} of {len(examples)} examples hold text of a golden set, first “{leaks[0].shared}”.",
            "Build a dataset version without them: what a model has seen cannot test it.",
        )
    return Finding("Golden sets", Level.OK, "No example holds a golden case, or eight words in a row of one.")


def _time(guess: Estimate) -> Finding:
    if guess.seconds > MAX_HOURS * 3600:
        return Finding(
            "Time",
            Level.STOP,
            f"It would take about {guess.seconds / 3600:.0f} hours; the most is {MAX_HOURS}.",
            "Use fewer examples or passes.",
        )
    return Finding("Time", Level.OK, f"Well below the limit of {MAX_HOURS} hours.")


def _room_on_disk(context: Context, recipe: Recipe) -> Finding:
    free = shutil.disk_usage(context.settings.home).free // 1_000_000
    needed = recipe.disk_mb + context.settings.minimum_free_mb
    if free < needed:
        return Finding("Disk", Level.STOP, f"{free:,} MB are free, and {needed:,} MB are needed.", "Make room on the disk.")
    return Finding("Disk", Level.OK, f"{free // 1000:,} GB are free, {needed:,} MB are needed.")


def _memory(session: Session, project_id: str, recipe: Recipe, settings: Settings) -> tuple[int, str]:
    """MB that will probably be needed, and what that rests on."""
    size = settings.batch_size * settings.max_length
    for adapter in queries.adapters(session, project_id, recipe.adapter_kind):
        same = adapter.settings.get("batch_size", 0) * adapter.settings.get("max_length", 0) == size
        if adapter.recipe == recipe.key and adapter.peak_memory_bytes and same:
            return adapter.peak_memory_bytes // 1_000_000, f"the peak of {adapter.title} on this machine"
    return recipe.memory_mb(settings), "measurements of the recipe with its usual base model"


def _room_in_memory(needed: int) -> Finding:
    free = psutil.virtual_memory().available // 1_000_000
    if free < needed:
        return Finding(
            "Memory",
            Level.STOP,
            f"{free:,} MB of memory are free, and about {needed:,} MB are needed.",
            "Take fewer examples a step, or stop other programs.",
        )
    return Finding("Memory", Level.OK, f"{free:,} MB are free, about {needed:,} MB are needed.")


def _base(health: Mapping[str, Any] | None, recipe: Recipe) -> Finding:
    if health is None:
        return Finding(
            "Base model", Level.NOTE, "The runtime does not answer, so whether the base model is ready is not known."
        )
    part = health.get(recipe.base_part) or {}
    if base_hash(health, recipe) is None:
        state = str(part.get("state") or "unknown")
        share = f", {part['progress']:.0%} done" if isinstance(part.get("progress"), float) else ""
        text = f"The model to adapt is not ready ({state}{share})."
        if state == "failed":
            return Finding("Base model", Level.STOP, text, str(part.get("reason") or "The admin page shows what failed."))
        return Finding("Base model", Level.NOTE, f"{text} The fine-tune waits for it.")
    return Finding("Base model", Level.OK, f"It adapts {part.get('name') or recipe.base}, which is ready.")


def base_hash(health: Mapping[str, Any] | None, recipe: Recipe) -> str | None:
    """Hash of the weights of the model that the recipe adapts, as the runtime tells it; None while it is not ready."""
    value = ((health or {}).get(recipe.base_part) or {}).get("hash")
    return str(value) if value else None


def _parent(session: Session, context: Context, project_id: str, recipe: Recipe, continue_from: str | None) -> list[Finding]:
    if continue_from is None:
        return []
    parent = queries.by_hash(session, project_id, continue_from)
    if parent is None or parent.kind != recipe.adapter_kind:
        return [Finding("Go on from", Level.STOP, f"The project has no {recipe.adapter_kind} adapter {continue_from[:19]}….")]
    try:
        context.artifacts.verify(continue_from)
    except WorkbenchError as error:
        return [Finding("Go on from", Level.STOP, error.what, error.todo)]
    return [Finding("Go on from", Level.OK, f"{parent.title}; its bytes have their hash.")]


def _queue(session: Session, project_id: str) -> Finding:
    ahead = [job for job in queries.fine_tunes(session, project_id) if not job.status.is_terminal]
    if ahead:
        return Finding("Queue", Level.NOTE, f"One fine-tune runs at a time; {len(ahead)} before this one.")
    return Finding("Queue", Level.OK, "It starts at once: no other fine-tune is waiting.")
