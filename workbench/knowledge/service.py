"""Commands over knowledge entries and corpus commits."""

from workbench.core.unit_of_work import Service


class KnowledgeService(Service):
    """Commands over knowledge entries and corpus commits."""
