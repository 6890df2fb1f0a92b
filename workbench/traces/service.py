"""Commands over traces and feedback."""

from workbench.core.unit_of_work import Service


class TraceService(Service):
    """Commands over traces and feedback."""
