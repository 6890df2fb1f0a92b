"""Making a golden case out of a trace, unless some model has learned from its text: what was trained on cannot test."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from workbench.core.actors import Actor
from workbench.core.errors import Conflict
from workbench.core.unit_of_work import Context
from workbench.datasets.models import DatasetVersion
from workbench.datasets.queries import examples, list_datasets
from workbench.golden.leaks import find_leaks
from workbench.golden.models import GoldenSet
from workbench.golden.queries import get_set
from workbench.golden.service import GoldenService
from workbench.traces.queries import get_trace
from workbench.tuning.queries import adapters


@dataclass(frozen=True)
class Learned:
    """A dataset version that holds a text."""

    dataset: DatasetVersion
    shared: str
    """The words that a row and the text share."""
    adapters: tuple[str, ...]
    """Names of the adapters that learned from it."""


def learned_from(session: Session, project_id: str, text: str) -> list[Learned]:
    """The frozen dataset versions that hold the text, newest first; adapters were, or can be, trained on them."""
    made = adapters(session, project_id)
    found = []
    for dataset in list_datasets(session, project_id, frozen_only=True):
        rows = ("\n".join(str(value) for value in (row.content or {}).values()) for row in examples(session, dataset.id))
        if leaks := find_leaks(rows, [text]):
            names = tuple(adapter.title for adapter in made if adapter.dataset_id == dataset.id)
            found.append(Learned(dataset, leaks[0].shared, names))
    return found


def add_golden_case(
    context: Context,
    actor: Actor,
    golden_set_id: str,
    trace_id: str,
    *,
    expected: Mapping[str, Any],
    reason: str,
    despite_training: bool = False,
    command_id: str | None = None,
) -> GoldenSet:
    """A new version of the set with the trace's question as one more case.

    Args:
        despite_training: add it although a dataset version holds its text; a comparison still refuses the adapters concerned.

    Raises:
        Conflict: a frozen dataset version holds its text.
        Everything that `GoldenService.add_case_from_trace` raises.
    """
    with context.database.session() as session:
        project_id = get_set(session, golden_set_id).project_id
        learned = [] if despite_training else learned_from(session, project_id, get_trace(session, project_id, trace_id).input)
    if learned:
        first = learned[0]
        raise Conflict(
            "A model may have learned from this text, so it cannot test that model.",
            why=f"{first.dataset.name} v{first.dataset.number} holds it.",
            todo="Choose another trace, or add it all the same for models that were not trained on that dataset.",
        )
    return GoldenService(context).add_case_from_trace(
        actor, golden_set_id, trace_id, expected=expected, reason=reason, command_id=command_id
    )
