"""The api, its intake of spans, or both killed with SIGKILL in the middle of ingest, a hundred times.

What was acknowledged is there, once.
"""

import http.client
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from sqlmodel import select

from scripts.benches.figures import Figure
from scripts.benches.running import free_port
from scripts.benches.traffic.spans import SPANS_A_TRACE, templates
from workbench.bootstrap import bootstrap
from workbench.core.migrate import migrate
from workbench.core.settings import REPOSITORY, Settings
from workbench.identity.service import local_administrator
from workbench.traces.indexer import index_all
from workbench.traces.models import Span, Trace

ROUNDS, SENDERS = 100, 3


def run(say: Callable[[str], None]) -> list[Figure]:
    """Kill it a hundred times; see the module's first line."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        settings = Settings(home=Path(folder) / "home", port=free_port())
        services = bootstrap(settings=settings)
        migrate(services.context.database)
        admin = local_administrator()
        project = services.identity.add_project(
            admin, key="bench", name="Bench", languages=["en"], teams=[{"key": "general", "name": "General", "description": ""}]
        )
        key = services.identity.create_key(admin, project_id=project.id, name="bench", scopes=["ingest"])[1]
        acknowledged: list[str] = []
        unanswered = 0
        chance = random.Random(5)
        for number in range(1, ROUNDS + 1):
            unanswered += _round(settings, key, acknowledged, chance)
            if number % 10 == 0:
                say(f"{number} kills, {len(acknowledged):,} traces acknowledged")
        index_all(services.context)
        with services.context.database.session() as session:
            stored = Counter(session.exec(select(Span.trace_id, Span.span_id)))
            readable = dict(session.exec(select(Trace.trace_id, Trace.span_count)).all())
        lost = sum(readable.get(trace_id) != SPANS_A_TRACE for trace_id in acknowledged)
    return [
        Figure("kills", ROUNDS, "", ROUNDS, "higher"),
        Figure("acknowledged", len(acknowledged) * SPANS_A_TRACE, "spans", 1, "higher"),
        Figure("requests that a kill left unanswered", unanswered, "requests"),
        Figure("acknowledged traces that are not whole", lost, "traces", 0),
        Figure("spans stored twice", sum(count > 1 for count in stored.values()), "spans", 0),
    ]


def _round(settings: Settings, key: str, acknowledged: list[str], chance: random.Random) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.api"], cwd=REPOSITORY, stderr=subprocess.DEVNULL,
        env={**os.environ, "WORKBENCH_HOME": str(settings.home), "WORKBENCH_PORT": str(settings.port)},
    )  # fmt: skip
    cut: list[int] = []
    senders = [
        threading.Thread(target=_send, args=(settings.api_port, key, acknowledged, cut, number)) for number in range(SENDERS)
    ]
    _wait_until_up(settings.api_port, process)
    for sender in senders:
        sender.start()
    time.sleep(chance.uniform(0.2, 4.0))  # the intake comes up after two or three seconds
    victim = chance.choice(("api", "intake", "both"))
    if victim != "api":
        _kill_intake(process.pid)
    if victim == "intake":
        time.sleep(chance.uniform(0.1, 3.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    for sender in senders:
        sender.join()
    return len(cut)


def _kill_intake(process_id: int) -> None:
    for child in psutil.Process(process_id).children():
        with suppress(psutil.NoSuchProcess):
            if child.cmdline()[-1:] == ["workbench.api.ingesting"]:
                child.kill()


def _send(port: int, key: str, acknowledged: list[str], cut: list[int], number: int) -> None:
    """Post until the server is gone; what got no answer may be stored or not, and is not sent again."""
    made = templates(2, traces=4, seed=number)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-protobuf"}
    turn = 0
    while True:
        template = made[turn % len(made)]
        turn += 1
        try:
            connection.request("POST", "/v1/traces", template.fill(), headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            cut.append(number)
            return
        if answer.status == 200:
            acknowledged += [trace_id.hex() for trace_id in template.trace_ids]
        else:
            time.sleep(0.05)


def _wait_until_up(port: int, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the api ended"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("POST", "/v1/traces")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the api did not come up")
