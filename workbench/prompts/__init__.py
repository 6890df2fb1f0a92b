"""Prompt versions: immutable, named by their content."""
