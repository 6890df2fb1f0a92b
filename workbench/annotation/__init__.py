"""Annotation queues, items under lease, responses and their agreement."""
