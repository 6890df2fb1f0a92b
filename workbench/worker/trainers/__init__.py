"""The two recipes that make an adapter out of a dataset version."""
