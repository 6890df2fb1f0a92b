"""The Learning Workbench: the governed loop of a GenAI application that learns."""

__version__ = "0.1.0"
