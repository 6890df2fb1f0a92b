"""People, their roles, their sessions and signatures, and API keys."""
