"""A real api server on loopback, and keys for it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn

from workbench.api.app import create_app
from workbench.bootstrap import Services
from workbench.identity.models import Project
from workbench.identity.service import local_administrator


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def server(services: Services) -> Iterator[str]:
    """The address of an api that serves `services`."""
    port = free_port()
    running = uvicorn.Server(
        uvicorn.Config(create_app(services), host="127.0.0.1", port=port, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not running.started and time.monotonic() < until:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture
def make_key(services: Services, project: Project) -> Callable[..., str]:
    """`make_key("ingest")` gives the secret of a new key."""

    def make(*scopes: str) -> str:
        return services.identity.create_key(local_administrator(), project_id=project.id, name="test", scopes=list(scopes))[1]

    return make


@pytest.fixture
def client(server: str, make_key: Callable[..., str]) -> Iterator[httpx.Client]:
    """A client that holds an ingest key."""
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {make_key('ingest')}"}, timeout=30) as made:
        yield made
