"""Commands over comparisons."""

from workbench.core.unit_of_work import Service


class EvaluationService(Service):
    """Commands over comparisons."""
