"""Submitted responses for the tests of datasets, and an embedder that needs no model."""

from collections.abc import Sequence
from typing import Any

from tests.annotation.factories import make_queue, make_trace
from workbench.annotation.models import QueueItem
from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.errors import Unavailable
from workbench.identity.models import Project

TOPICS = [
    ("My card was swallowed by the machine at the station", "cards"),
    ("Can I pay the loan back before its last month", "loans"),
    ("The card limit is too low for my holiday", "cards"),
    ("How many days of grace does a loan have", "loans"),
    ("Please send me a second card for my partner", "cards"),
    ("What rate would a loan for a car have", "loans"),
    ("The new card does not work in shops", "cards"),
    ("I cannot pay my loan this month", "loans"),
]


class FakeEmbedder:
    """Each text has a direction of its own, except those listed as near to another."""

    def __init__(self, near: dict[str, str] | None = None) -> None:
        self.near = near or {}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        named = [self.near.get(text, text) for text in texts]
        order = sorted(set(named))
        return [[1.0 if each == other else 0.0 for other in order] for each in named]


class SilentEmbedder:
    """A runtime that does not answer."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Unavailable("The runtime does not answer.")


def answer(services: Services, person: Actor, item: QueueItem, values: dict[str, Any], **more: Any) -> str:
    """A submitted response; returns its id."""
    services.annotation.lease_item(person, item.id)
    return services.annotation.submit(person, item.id, values, **more).id


def annotated(services: Services, project: Project, person: Actor, count: int = 8, **values: Any) -> list[QueueItem]:
    """Traces over the topics, each answered by the person with its team."""
    traces = [
        make_trace(services, project, number + 1, input=text, output="I do not know.")
        for number, (text, _team) in enumerate(TOPICS[:count])
    ]
    _queue, items = make_queue(services, project, traces, min_submitted=2)
    for item, (_text, team) in zip(items, TOPICS, strict=False):
        answer(services, person, item, {"rating": 2, "triage": team, **values})
    return items
