"""Killing the api in the middle of ingest loses no span that it acknowledged, and doubles none."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlmodel import select

from tests.api.conftest import free_port
from tests.traces.factories import body, turn
from workbench.bootstrap import Services
from workbench.identity.models import Project
from workbench.traces.indexer import index_all
from workbench.traces.models import Span, Trace

ROUNDS = 3


@pytest.mark.slow
def test_kill_minus_nine_during_ingest_loses_and_doubles_nothing(
    services: Services, project: Project, make_key: Callable[..., str], home: Path
) -> None:
    headers = {"Authorization": f"Bearer {make_key('ingest')}", "Content-Type": "application/json"}
    acknowledged: list[str] = []
    for _ in range(ROUNDS):
        port = free_port() - 1
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench.api"],
            env={**os.environ, "WORKBENCH_HOME": str(home), "WORKBENCH_PORT": str(port)},
        )
        address = f"http://127.0.0.1:{port + 1}/v1/traces"
        _wait_until_up(address, process)
        stop = threading.Event()
        senders = [threading.Thread(target=_send, args=(address, headers, acknowledged, stop)) for _ in range(3)]
        before = len(acknowledged)
        for sender in senders:
            sender.start()
        until = time.monotonic() + 20
        while len(acknowledged) < before + 20 and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        stop.set()
        for sender in senders:
            sender.join()
        process.wait()
        assert len(acknowledged) >= before + 20
    index_all(services.context)
    with services.context.database.session() as session:
        stored = list(session.exec(select(Span.trace_id, Span.span_id)))
        traces = {trace.trace_id: trace.span_count for trace in session.exec(select(Trace))}
    assert len(stored) == len(set(stored))
    assert all(traces[trace_id] == 3 for trace_id in acknowledged)


def _wait_until_up(address: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None
        try:
            httpx.post(address)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the api did not come up")


def _send(address: str, headers: dict[str, str], acknowledged: list[str], stop: threading.Event) -> None:
    with httpx.Client() as client:
        while not stop.is_set():
            trace_id = secrets.token_hex(16)
            try:
                if client.post(address, content=body(*turn(trace_id, "q", "a")), headers=headers).status_code == 200:
                    acknowledged.append(trace_id)
            except httpx.TransportError:
                return
