"""The web process: sign-in, navigation and the ASGI entry."""
