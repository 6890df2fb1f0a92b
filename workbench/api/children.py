"""Processes that the api starts and that end with it: one takes spans in, one makes them readable."""

import logging
import os
import signal
import subprocess
import sys

from workbench.bootstrap import Services, bootstrap
from workbench.core.settings import Settings

STOP_SECONDS = 5
"""What a child gets to finish what it is doing."""


def start(module: str, settings: Settings, *, stdin: int, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Run a module over the same home. It ends by itself when the other end of its standard input is closed."""
    environment = {**os.environ, "WORKBENCH_HOME": str(settings.home), "WORKBENCH_PORT": str(settings.port)}
    return subprocess.Popen([sys.executable, "-m", module], stdin=stdin, stdout=stdout, env=environment)


def begin() -> Services:
    """What a child does first."""
    services = bootstrap()
    logging.basicConfig(
        level=services.context.settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the api says when to stop
    return services


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait until a child whose standard input was closed has ended; kill one that does not."""
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
