"""Which team a text belongs to, by the configuration's triage adapter."""

from collections.abc import Sequence

from workbench.core.errors import Conflict
from workbench.core.runtime_client import Classified
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.ports import Runtime

Classification = Classified


def classify(configuration: ServingConfiguration, runtime: Runtime, texts: Sequence[str]) -> list[Classification]:
    """One classification a text, in their order.

    Raises:
        Conflict: the configuration has no triage adapter.
        Unavailable: the runtime does not answer.
    """
    if configuration.triage_adapter is None:
        raise Conflict(
            "The live release classifies nothing.",
            why="It has no triage adapter.",
            todo="Train one with the triage recipe and release it.",
        )
    return runtime.classify(texts, configuration.triage_adapter)
