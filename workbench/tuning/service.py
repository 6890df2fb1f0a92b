"""Commands that launch fine-tunes and register adapters."""

from workbench.core.unit_of_work import Service


class TuningService(Service):
    """Commands that launch fine-tunes and register adapters."""
