"""Golden sets: frozen cases that a release must pass."""
