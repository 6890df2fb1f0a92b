"""Commands over golden sets and cases."""

from workbench.core.unit_of_work import Service


class GoldenService(Service):
    """Commands over golden sets and cases."""
