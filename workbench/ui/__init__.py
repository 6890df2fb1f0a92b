"""Streamlit building blocks without business rules."""
