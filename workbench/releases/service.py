"""Commands over releases and channels."""

from workbench.core.unit_of_work import Service


class ReleaseService(Service):
    """Commands over releases and channels."""
