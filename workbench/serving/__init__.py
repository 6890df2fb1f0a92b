"""Retrieve, assemble, guard, generate: one path for the gateway, comparisons, replay and preview."""
