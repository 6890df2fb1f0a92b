"""The web process as one ASGI application: Streamlit's pages plus the few routes that must be plain HTTP.

Run by `streamlit run workbench/app/asgi.py`. The folder of this file lands on `sys.path`, so nothing in it may be named
like a module of the standard library.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Mount

from workbench.app.background import Background
from workbench.app.downloads import downloads_app
from workbench.app.errors import show_unexpected
from workbench.app.security import SecurityHeaders, SignInRedirect
from workbench.app.sign_in import sign_in_app
from workbench.ui.guard import services

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    """While pages are served, this process owns the DuckDB files and seals the outbox."""
    with Background(services()):
        yield


app = st.App(
    Path(__file__).parent / "main.py",
    lifespan=lifespan,
    routes=[Mount("/auth", app=sign_in_app(services())), Mount("/exports", app=downloads_app(services()))],
    middleware=[Middleware(SecurityHeaders), Middleware(SignInRedirect)],
    on_script_error=show_unexpected,
)
