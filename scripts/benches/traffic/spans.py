"""Spans for benchmarks: OTLP bodies encoded once and sent again and again with fresh ids and times.

A trace has five spans: a chain, a retrieval, a model call, a tool call and a guardrail. A span is about 2.6 KB, as an assistant
with retrieved passages sends them. Words are drawn from a fixed vocabulary.
"""

import json
import os
import random
import struct
import time
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

SPANS_A_TRACE = 5
_MODELS = ("assistant-small", "assistant-large", "assistant-long")
_RELEASES = ("2.0.1", "2.1.0", "2.2.0", "2.3.0")
_LANGUAGES = ("en", "es", "vi", "de")
_SAYS_SECRET = frozenset({"pin", "pas", "wort", "pat", "sen", "tok"})
_PERSONAL = 0.05
"""Share of traces whose customer writes a phone number and a mail address."""


@dataclass
class Template:
    """An encoded request and where its ids and times stand."""

    body: bytearray
    traces: list[list[int]]
    """Of each trace, the offsets of its trace id in every span."""
    spans: list[list[int]]
    """Of each span, the offsets of its id: its own, and where children name it as their parent."""
    times: list[tuple[int, int]]
    """Offsets of a start or end, and nanoseconds after the request's moment."""
    trace_ids: list[bytes]
    """The ids of the last filling, in order."""

    def fill(self, moment_ns: int | None = None) -> bytes:
        """A body with fresh ids, as if it happened at this moment."""
        moment = moment_ns or time.time_ns()
        fresh = os.urandom(16 * len(self.traces) + 8 * len(self.spans))
        self.trace_ids = [fresh[16 * n : 16 * n + 16] for n in range(len(self.traces))]
        for trace_id, offsets in zip(self.trace_ids, self.traces, strict=True):
            for offset in offsets:
                self.body[offset : offset + 16] = trace_id
        base = 16 * len(self.traces)
        for number, offsets in enumerate(self.spans):
            span_id = fresh[base + 8 * number : base + 8 * number + 8]
            for offset in offsets:
                self.body[offset : offset + 8] = span_id
        for offset, later in self.times:
            struct.pack_into("<Q", self.body, offset, moment + later)
        return bytes(self.body)


def vocabulary(size: int = 6000) -> list[str]:
    """Made-up words of one to four syllables, the same each time. Text uses the first ones most, as languages do."""
    chance = random.Random(7)
    syllables = [a + b + c for a in "bcdfghjklmnprstvwz" for b in "aeiou" for c in ("", "", "l", "n", "r", "s", "t")]
    made = dict.fromkeys("".join(chance.choices(syllables, k=1 + rank % 4)) for rank in range(size))
    return [word for word in made if word not in _SAYS_SECRET]


@cache
def templates(count: int, *, traces: int = 20, seed: int = 1) -> list[Template]:
    """Encoded requests of `traces` traces each."""
    chance, words = random.Random(seed), vocabulary()
    weights = list(accumulate(1 / (rank + 12) for rank in range(len(words))))
    return [_template(chance, words, weights, traces) for _ in range(count)]


def _template(chance: random.Random, words: list[str], weights: list[float], traces: int) -> Template:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in (
        ("service.name", "assistant"), ("service.version", chance.choice(_RELEASES)), ("deployment.environment.name", "bench")
    ):  # fmt: skip
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "workbench.bench"
    trace_marks = [os.urandom(16) for _ in range(traces)]
    span_marks = [os.urandom(8) for _ in range(traces * SPANS_A_TRACE)]
    time_marks: dict[bytes, int] = {}

    def moment(later_ns: int) -> int:
        value = int.from_bytes(os.urandom(8), "little") | 1
        time_marks[struct.pack("<Q", value)] = later_ns
        return value

    def text(size: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=size // 4))[:size].rstrip()

    for number in range(traces):
        ids = span_marks[number * SPANS_A_TRACE : (number + 1) * SPANS_A_TRACE]
        question, answer = text(120), text(300)
        if chance.random() < _PERSONAL:
            phone, mail = f"+34 6{chance.randrange(10**8):08}", f"u{chance.randrange(10**6)}@mail.example"
            question += f" my PIN fails, call {phone} or write to {mail}"
        start = chance.randrange(0, 2_000_000_000)
        for place, (name, attributes) in enumerate(_trace(chance, text, question, answer)):
            span = scope_spans.spans.add(
                trace_id=trace_marks[number], span_id=ids[place], name=name,
                kind=Span.SPAN_KIND_SERVER if place == 0 else Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=moment(start + place * 1_000_000),
                end_time_unix_nano=moment(start + place * 1_000_000 + chance.randrange(5_000_000, 900_000_000)),
            )  # fmt: skip
            if place:
                span.parent_span_id = ids[0]
            if chance.random() < 0.02:
                span.status.code = Status.STATUS_CODE_ERROR
            for key, value in attributes.items():
                if isinstance(value, int):
                    span.attributes.add(key=key).value.int_value = value
                else:
                    span.attributes.add(key=key).value.string_value = value
    body = bytearray(request.SerializeToString())
    whole = bytes(body)
    return Template(
        body=body,
        traces=[_places(whole, found) for found in trace_marks],
        spans=[_places(whole, found) for found in span_marks],
        times=[(place, later) for found, later in time_marks.items() for place in _places(whole, found)],
        trace_ids=trace_marks,
    )


def _trace(chance: random.Random, text, question: str, answer: str) -> list[tuple[str, dict[str, str | int]]]:  # type: ignore[no-untyped-def]
    model = chance.choice(_MODELS)
    passages = [{"id": f"doc-{chance.randrange(500)}", "score": 0.5, "content": text(540)} for _ in range(4)]
    system = {"role": "system", "parts": [{"type": "text", "content": text(1950)}]}
    asked = [{"role": "user", "parts": [{"type": "text", "content": question}]}]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
    common = {"session.id": f"s-{chance.randrange(40_000)}", "user.id": f"u-{chance.randrange(9_000)}"}
    return [
        ("answer", {
            **common, "input.value": question, "output.value": answer, "openinference.span.kind": "CHAIN",
            "workbench.language": chance.choice(_LANGUAGES), "metadata": json.dumps({"note": text(2100)}),
        }),
        ("retrieval", {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": json.dumps(passages)}),
        ("chat", {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.usage.input_tokens": chance.randrange(900),
            "gen_ai.usage.output_tokens": chance.randrange(200), "gen_ai.output.messages": json.dumps(said),
            "gen_ai.input.messages": json.dumps([system, *asked]),
        }),
        ("execute_tool lookup", {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup", "gen_ai.tool.call.id": "call-1",
            "gen_ai.tool.call.arguments": json.dumps({"query": text(300)}), "gen_ai.tool.call.result": text(1900),
        }),
        ("guardrail", {"openinference.span.kind": "GUARDRAIL", "input.value": text(1400), "output.value": text(900)}),
    ]  # fmt: skip


def _places(whole: bytes, found: bytes) -> list[int]:
    places, at = [], whole.find(found)
    while at >= 0:
        places.append(at)
        at = whole.find(found, at + 1)
    return places
