"""The api process as one FastAPI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from workbench import __version__
from workbench.api import feedback, gateway, health, langfuse, triage
from workbench.api.background import Background
from workbench.api.errors import add_handlers
from workbench.api.intake import InProcess, InThreads
from workbench.api.middleware import BodyLimit, RequestId
from workbench.api.otlp import Receiver
from workbench.bootstrap import Services

_THREADS = 64
"""For whatever blocks: database reads, calls to the runtime. OTLP has a pool of its own."""


def create_app(services: Services, *, own_processes: bool = False) -> FastAPI:
    """The app over these services. Its lifespan runs the intake of spans, the indexer and the heartbeat.

    Args:
        own_processes: take spans in and index them in processes of their own, so that neither holds up an answer.
    """
    intake = InProcess(services) if own_processes else InThreads(services)
    background = Background(services, own_process=own_processes, trouble=lambda: intake.trouble)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _THREADS
        with background:
            async with intake.running():
                yield

    app = FastAPI(
        title="Learning Workbench",
        version=__version__,
        description="OTLP ingest, feedback, the OpenAI-compatible gateway, triage and health.",
        docs_url=None,  # the usual page loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.health = health.HealthCheck()
    add_handlers(app)
    receiver = Receiver(intake, background.wake)
    app.include_router(receiver.router())
    app.include_router(feedback.router)
    app.include_router(langfuse.router)
    app.include_router(health.router)
    app.include_router(gateway.router)
    app.include_router(triage.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestId)
    return app
