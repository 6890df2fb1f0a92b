"""Traces of the application: ingest, store, search and feedback."""
