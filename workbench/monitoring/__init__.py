"""Reads over every stage: how the loop stands, and what waits for whom."""
