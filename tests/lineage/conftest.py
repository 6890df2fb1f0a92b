"""The bank of the release tests."""

from tests.releases.conftest import bank, founded, quick

__all__ = ["bank", "founded", "quick"]
