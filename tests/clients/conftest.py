"""A running api, a model server, and a way to run a client application against them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.conftest import make_key, server  # noqa: F401
from tests.clients import upstream

APPS = Path(__file__).parent / "apps"


@pytest.fixture(scope="session")
def model_server() -> Iterator[str]:
    with upstream.running() as url:
        yield url


@pytest.fixture
def run(server: str, make_key: Callable[..., str], model_server: str) -> Callable[..., str]:  # noqa: F811
    """`run("app_plain", …)` runs an application to its end and gives the id of the trace it made."""

    def ran(app: str, *arguments: str, **environment: str) -> str:
        given = {"CLIENT_TRACES": server, "CLIENT_KEY": make_key("ingest"), "CLIENT_OPENAI": model_server, **environment}
        return run_app(app, *arguments, **given)

    return ran


def run_app(app: str, *arguments: str, **environment: str) -> str:
    """Run one of the applications with these variables; its last line names the trace."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "LANGFUSE_"))}
    done = subprocess.run(
        [sys.executable, str(APPS / f"{app}.py"), *arguments],
        env={**inherited, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trace_id: str = json.loads(done.stdout.splitlines()[-1])
    return trace_id
