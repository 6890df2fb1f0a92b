"""The api process: OTLP ingest, feedback, the gateway and health."""
