"""Commands over queues, items and responses."""

from workbench.core.unit_of_work import Service


class AnnotationService(Service):
    """Commands over queues, items and responses."""
