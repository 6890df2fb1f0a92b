"""Answer → components → examples → people, and back. Reads only."""
