"""What the client applications share. Each runs as a process of its own, told by its environment where to go."""

import json
import os
import sys
from typing import Any

from openai import OpenAI
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "exchange_rate",
            "description": "Today's rate of a currency in dollars.",
            "parameters": {"type": "object", "properties": {"currency": {"type": "string"}}},
        },
    }
]
SYSTEM = {"role": "system", "content": "You help customers of a bank."}


def tracing() -> TracerProvider:
    """A provider that exports protobuf, packed with gzip."""
    exporter = OTLPSpanExporter(
        endpoint=os.environ["CLIENT_TRACES"] + "/v1/traces",
        headers={"Authorization": f"Bearer {os.environ['CLIENT_KEY']}"},
        compression=Compression.Gzip,
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "bank-app", "service.version": "7.1"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def client() -> OpenAI:
    """The OpenAI client, sent to the model server that the test runs."""
    return OpenAI(base_url=os.environ["CLIENT_OPENAI"], api_key=os.environ.get("CLIENT_OPENAI_KEY", "none"), max_retries=0)


def tell(trace_id: int | str) -> None:
    """Say which trace was made."""
    sys.stdout.write(json.dumps(trace_id if isinstance(trace_id, str) else f"{trace_id:032x}") + "\n")


def asks_with_a_tool(openai: OpenAI, question: str) -> str:
    """A question that takes a tool: the model asks for it, gets its result, and answers."""
    messages: list[Any] = [SYSTEM, {"role": "user", "content": question}]
    first = openai.chat.completions.create(model="fake-large", messages=messages, tools=TOOLS).choices[0].message
    call: Any = first.tool_calls[0] if first.tool_calls else None
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "1.08"},
    ]
    last = openai.chat.completions.create(model="fake-large", messages=messages, tools=TOOLS)
    return last.choices[0].message.content or ""


def asks_streaming(openai: OpenAI, question: str, **more: Any) -> str:
    """A question whose answer comes in pieces."""
    stream = openai.chat.completions.create(
        model="fake-large",
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
        **more,
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
