"""Dataset versions: immutable sets of examples that name their origin."""
