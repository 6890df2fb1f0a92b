"""Commands over dataset versions."""

from workbench.core.unit_of_work import Service


class DatasetService(Service):
    """Commands over dataset versions."""
