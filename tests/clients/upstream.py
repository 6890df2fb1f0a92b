"""A small server that speaks OpenAI's chat completions, streamed or not, and asks for a tool when it is offered one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "fake-large-2026-01"
ARGUMENTS = '{"currency": "EUR"}'
ANSWER, RATE_ANSWER = "Your card is on its way.", "One euro is 1.08 dollars."
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    last = asked["messages"][-1]
    if asked.get("tools") and last["role"] == "user":
        call = {"id": "call_1", "type": "function", "function": {"name": "exchange_rate", "arguments": ARGUMENTS}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": RATE_ANSWER if last["role"] == "tool" else ANSWER}


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for call in message.get("tool_calls", []):
        first, second = call["function"]["arguments"][:6], call["function"]["arguments"][6:]
        yield {"tool_calls": [{**call, "index": 0, "function": {**call["function"], "arguments": first}}]}
        yield {"tool_calls": [{"index": 0, "function": {"arguments": second}}]}
    for word in (message["content"] or "").split(" "):
        if word:
            yield {"content": word if word == (message["content"] or "").split(" ")[0] else f" {word}"}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = _message(asked)
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        head = {"id": "chatcmpl-1", "created": 1_780_000_000, "model": MODEL}
        if not asked.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            self._send(
                "application/json", json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
            )
            return
        pieces = [{"index": 0, "delta": delta, "finish_reason": None} for delta in _deltas(message)]
        chunks: list[dict[str, Any]] = [{"choices": [piece]} for piece in pieces]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            chunks.append({"choices": [], "usage": USAGE})
        events = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        self._send("text/event-stream", "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]))

    def _send(self, kind: str, body: str) -> None:
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def running() -> Iterator[str]:
    """The base URL for an OpenAI client."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
