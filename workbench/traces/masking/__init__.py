"""Masking on the way in: what is stored of a text has placeholders where personal data stood."""
