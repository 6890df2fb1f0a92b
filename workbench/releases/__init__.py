"""Manifests, approvals, channels, promotion and rollback."""
