"""Senders for benchmarks: processes that post OTLP bodies over kept connections and note how long each answer took."""

import http.client
import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from scripts.benches.traffic.spans import SPANS_A_TRACE, Template, templates


@dataclass
class Sent:
    """What the senders of one round saw."""

    seconds: float = 0.0
    spans: int = 0
    """Acknowledged with 200."""
    waits: list[float] = field(default_factory=list)
    """Seconds from sending to the acknowledgement, one a request."""
    acknowledged: list[tuple[float, float, int]] = field(default_factory=list)
    """Moments, on the machine's monotonic clock, of an acknowledgement and of when its sending was due; and the traces
    acknowledged. Who sends at a rate and is kept waiting sends late, which counts against the store that kept him waiting."""
    refused: dict[int, int] = field(default_factory=dict)
    """Other answers: status → requests."""

    @property
    def rate(self) -> float:
        """Acknowledged spans a second."""
        return self.spans / self.seconds if self.seconds else 0.0


def send(
    port: int, path: str, headers: Mapping[str, str], *, seconds: float, senders: int = 2, traces: int = 20,
    rate: float | None = None, spans: int | None = None, stop: Any = None,
) -> Sent:  # fmt: skip
    """Post requests of `traces` traces to loopback until the time is over, or `spans` are acknowledged.

    Args:
        rate: spans a second in all; None: as fast as answers come.
        stop: an event of multiprocessing's spawn context that ends it before its time.
    """
    context = multiprocessing.get_context("spawn")
    found: Any = context.Queue()
    each = None if rate is None else rate / senders
    limit = None if spans is None else spans // senders
    ready = context.Barrier(senders)
    made = templates(24, traces=traces, seed=100)  # here and once: making them takes longer than sending them
    going = [
        context.Process(
            target=_sender,
            args=(port, path, dict(headers), made[number::senders], traces, seconds, each, limit, ready, stop, found),
        )
        for number in range(senders)
    ]
    for process in going:
        process.start()
    sent = Sent()
    for _ in going:
        try:
            one: Sent = found.get(timeout=seconds + 120)
        except Empty:
            raise RuntimeError("A sender ended without a word.") from None
        sent.spans += one.spans
        sent.waits += one.waits
        sent.acknowledged += one.acknowledged
        sent.seconds = max(sent.seconds, one.seconds)
        for status, count in one.refused.items():
            sent.refused[status] = sent.refused.get(status, 0) + count
    for process in going:
        process.join()
    sent.acknowledged.sort()
    return sent


def _sender(
    port: int, path: str, headers: dict[str, str], made: list[Template], traces: int, seconds: float, rate: float | None,
    limit: int | None, ready: Any, stop: Any, found: Any,
) -> None:  # fmt: skip
    size = traces * SPANS_A_TRACE
    headers = {"Content-Type": "application/x-protobuf", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    sent = Sent()
    ready.wait(120)
    begun = time.monotonic()
    turn = 0
    while time.monotonic() - begun < seconds and (limit is None or sent.spans < limit) and not (stop and stop.is_set()):
        due = time.monotonic()
        if rate is not None:
            due = begun + turn * size / rate
            time.sleep(max(0.0, due - time.monotonic()))
        body = made[turn % len(made)].fill()
        turn += 1
        asked = time.monotonic()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            answered = time.monotonic()
            sent.waits.append(answered - asked)
            sent.acknowledged.append((answered, due, traces))
            sent.spans += size
        else:
            sent.refused[answer.status] = sent.refused.get(answer.status, 0) + 1
            time.sleep(float(answer.headers.get("Retry-After") or 0.2))
    sent.seconds = time.monotonic() - begun
    found.put(sent)
