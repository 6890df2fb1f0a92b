"""One trace of an agent that works for a long time."""

import os
import random
import time
from collections.abc import Iterator

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from scripts.benches.traffic.spans import vocabulary

SPANS = 30_000
QUESTION = "Check every account."
"""What its reader looks for."""
_STEPS = ("chat", "retrieval", "execute_tool", "chat")
_AT_ONCE = 2_000


def send_long(port: int, path: str, headers: dict[str, str], spans: int = SPANS) -> None:
    """Send a trace of so many spans, which began now."""
    trace_id = os.urandom(16)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        for body in _bodies(trace_id, spans):
            answer = client.post(path, content=body, headers={"Content-Type": "application/x-protobuf", **headers})
            answer.raise_for_status()


def _bodies(trace_id: bytes, count: int) -> Iterator[bytes]:
    """Requests with a root, rounds below it, and the steps of each round below that."""
    chance, words, begun = random.Random(5), vocabulary(), time.time_ns()
    root, parent = os.urandom(8), b""
    request = ExportTraceServiceRequest()
    for number in range(count):
        if number % _AT_ONCE == 0 and number:
            yield request.SerializeToString()
            request = ExportTraceServiceRequest()
        if not request.resource_spans:
            request.resource_spans.add().scope_spans.add().scope.name = "workbench.bench"
        begins_round = number % (len(_STEPS) + 1) == 1
        own = root if number == 0 else os.urandom(8)
        kind = "invoke_agent" if number == 0 or begins_round else _STEPS[number % len(_STEPS)]
        start = begun + number * 1_000_000
        span = request.resource_spans[0].scope_spans[0].spans.add(
            trace_id=trace_id, span_id=own, name=kind, start_time_unix_nano=start,
            parent_span_id=b"" if number == 0 else root if begins_round else parent,
            end_time_unix_nano=begun + count * 1_000_000 if number == 0 else start + 4_000_000,
        )  # fmt: skip
        if begins_round:
            parent = own
        if number % 500 == 3:
            span.status.code = Status.STATUS_CODE_ERROR
        said = {"gen_ai.operation.name": kind}
        if number == 0:
            said |= {"workbench.input": QUESTION, "workbench.output": "All accounts are checked."}
        else:
            said["workbench.output"] = " ".join(chance.choices(words, k=40))
        for key, value in said.items():
            span.attributes.add(key=key).value.string_value = value
    yield request.SerializeToString()
