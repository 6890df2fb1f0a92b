"""Commands over prompt versions."""

from workbench.core.unit_of_work import Service


class PromptService(Service):
    """Commands over prompt versions."""
