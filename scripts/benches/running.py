"""A whole workbench, started for a benchmark."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from workbench.core.settings import REPOSITORY, Settings


def free_port() -> int:
    """The first of three neighbouring ports, probably free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return min(int(found.getsockname()[1]), 65_000)


@contextmanager
def running(settings: Settings, *arguments: str) -> Iterator[None]:
    """`workbench up` over the home, until its first page can be used; stopped at the end.

    Args:
        arguments: more options of `workbench up`.
    """
    command = [sys.executable, "-m", "workbench", "up", "--home", str(settings.home), "--port", str(settings.port)]
    log = settings.home.parent / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--no-browser", *arguments],
            cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, env=dict(os.environ),
        )  # fmt: skip
        try:
            while "Everything is up" not in log.read_text():
                assert process.poll() is None, log.read_text()[-2000:]
                time.sleep(0.1)
            assert httpx.get(f"http://127.0.0.1:{settings.port}/auth/sign-in", timeout=10).status_code == 200
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
