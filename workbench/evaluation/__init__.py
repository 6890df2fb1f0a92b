"""Scorers, paired statistics, comparisons and their verdicts."""
