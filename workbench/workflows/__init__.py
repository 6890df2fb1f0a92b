"""Commands that cross stages in one transaction."""
