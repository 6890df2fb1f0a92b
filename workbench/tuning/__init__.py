"""Recipes, launches and adapters."""
