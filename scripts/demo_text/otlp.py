"""Writes turns as OTLP/HTTP JSON requests with OpenTelemetry GenAI attributes, as an instrumented application would."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from demo_text import wording
from demo_text.plan import RELEASES, Turn, ident

_PRICE_IN, _PRICE_OUT = Decimal("0.00000018"), Decimal("0.00000072")
"""EUR a token."""


@dataclass
class Span:
    """One span before it is written."""

    name: str
    kind: int
    """As in OTLP: 1 internal, 2 server, 3 client."""
    start: datetime
    end: datetime
    attributes: dict[str, Any]
    parent: str | None = None
    error: str | None = None
    span_id: str = ""


def request(turn: Turn) -> dict[str, Any]:
    """One ExportTraceServiceRequest that holds the spans of the turn's trace."""
    release, model, prompt = _release(turn.day)
    spans = [_encoded(turn, span) for span in _spans(turn, release, model, prompt)]
    resource = {
        "service.name": "demo-bank-assistant",
        "service.version": release,
        "deployment.environment.name": "production",
        "telemetry.sdk.language": "python",
    }
    scope = {"name": "demo_bank.assistant", "version": "1.4.0"}
    return {
        "resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [{"scope": scope, "spans": spans}]}]
    }


def _release(day: int) -> tuple[str, str, str]:
    return next((name, model, prompt) for first, name, model, prompt in reversed(RELEASES) if day >= first)


def _spans(turn: Turn, release: str, model: str, prompt: str) -> Iterator[Span]:
    luck = random.Random(turn.trace_id)
    root_id = ident("span", turn.trace_id, "root", length=16)
    at = turn.at + timedelta(milliseconds=luck.uniform(3, 12))
    children: list[Span] = []

    def add(name: str, kind: int, milliseconds: float, attributes: dict[str, Any], error: str | None = None) -> None:
        nonlocal at
        end = at + timedelta(milliseconds=milliseconds)
        span_id = ident("span", turn.trace_id, name, len(children), length=16)
        children.append(Span(name, kind, at, end, attributes, root_id, error, span_id))
        at = end + timedelta(milliseconds=luck.uniform(0.4, 3))

    add("triage", 1, luck.lognormvariate(3.1, 0.35), _triage(turn, luck))
    if turn.documents:
        add("retrieval demo-bank-knowledge", 3, luck.lognormvariate(3.7, 0.5), _retrieval(turn))
    broken = turn.quality == "broken"
    system = wording.SYSTEM_PROMPT if prompt == "v1" else wording.OLD_SYSTEM_PROMPT
    messages = [_message(role, text) for pair in turn.history for role, text in zip(("user", "assistant"), pair, strict=True)]
    messages.append(_message("user", turn.text))
    tokens_in = (
        _tokens(system) + sum(_tokens(d[2]) for d in turn.documents) + sum(_tokens(json.dumps(m)) for m in messages) // 2
    )
    total_in = total_out = 0
    if turn.tool:
        call_id = "call_" + ident("call", turn.trace_id, length=12)
        name, arguments, _ = wording.TOOLS[turn.tool]
        part = {"type": "tool_call", "id": call_id, "name": name, "arguments": arguments}
        asked = [{"role": "assistant", "parts": [part], "finish_reason": "tool_call"}]
        out = 18 + luck.randrange(9)
        add(
            f"chat {model}", 3, 240 + out * luck.uniform(14, 26), _chat(turn, model, system, messages, asked, tokens_in, out, 0)
        )
        total_in, total_out = tokens_in, out
        add(f"execute_tool {name}", 1, luck.lognormvariate(5.2, 0.6), _tool(turn, call_id, at))
        result = json.loads(children[-1].attributes["gen_ai.tool.call.result"])
        response = {"type": "tool_call_response", "id": call_id, "response": result}
        messages = [*messages, {"role": "assistant", "parts": [part]}, {"role": "tool", "parts": [response]}]
        tokens_in += 70
    if broken:
        attributes = _chat(turn, model, system, messages, None, tokens_in, 0, 1) | {"error.type": "timeout"}
        add(f"chat {model}", 3, 20_000, attributes, "The model did not answer within 20 s.")
    else:
        out = _tokens(turn.answer)
        said = [_message("assistant", turn.answer) | {"finish_reason": "stop"}]
        slow = 1.0 + 2.6 * (luck.random() < 0.05)
        took = (190 + tokens_in * 0.35 + out * luck.uniform(13, 27)) * slow
        add(f"chat {model}", 3, took, _chat(turn, model, system, messages, said, tokens_in, out, 1))
        total_in, total_out = total_in + tokens_in, total_out + out
    root = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "demo-bank-assistant",
        "gen_ai.provider.name": "demo_bank",
        "gen_ai.conversation.id": turn.conversation,
        "session.id": turn.conversation,
        "user.id": turn.user,
        "gen_ai.input.messages": _json([_message("user", turn.text)]),
        "gen_ai.output.messages": _json(
            [_message("assistant", turn.answer) | {"finish_reason": "error" if broken else "stop"}]
        ),
        "gen_ai.usage.input_tokens": total_in,
        "gen_ai.usage.output_tokens": total_out,
        "workbench.release": release,
        "workbench.prompt_version": prompt,
        "workbench.language": turn.language,
        "workbench.intent": turn.intent,
        "workbench.triage.label": turn.label,
        "workbench.cost": f"{_PRICE_IN * total_in + _PRICE_OUT * total_out:f}",
        "workbench.cost.currency": "EUR",
        "workbench.channel": turn.channel,
    }
    end = at + timedelta(milliseconds=luck.uniform(2, 9))
    error = "The model did not answer within 20 s." if broken else None
    if broken:
        root["error.type"] = "timeout"
    yield Span("invoke_agent demo-bank-assistant", 2, turn.at, end, root, None, error, root_id)
    yield from children


def _triage(turn: Turn, luck: random.Random) -> dict[str, Any]:
    sure = luck.uniform(0.62, 0.97) if turn.label == turn.team else luck.uniform(0.38, 0.74)
    return {
        "workbench.operation.name": "triage",
        "gen_ai.request.model": "demo-triage-1",
        "workbench.triage.label": turn.label,
        "workbench.triage.score": round(sure, 4),
    }


def _retrieval(turn: Turn) -> dict[str, Any]:
    documents = [{"id": key, "score": score, "content": content} for key, score, content in turn.documents]
    return {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.provider.name": "demo_bank",
        "gen_ai.data_source.id": "demo-bank-knowledge",
        "gen_ai.retrieval.query.text": turn.text,
        "gen_ai.retrieval.documents": _json(documents),
    }


def _chat(
    turn: Turn, model: str, system: str, messages: list[Any], said: list[Any] | None, tokens_in: int, tokens_out: int, call: int
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "demo_bank",
        "gen_ai.request.model": model.rsplit(".", 1)[0],
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 256,
        "gen_ai.conversation.id": turn.conversation,
        "gen_ai.system_instructions": _json([{"type": "text", "content": system}]),
        "gen_ai.input.messages": _json(messages),
    }
    if said is None:
        return attributes
    return attributes | {
        "gen_ai.response.model": model,
        "gen_ai.response.id": "resp_" + ident("response", turn.trace_id, call, length=16),
        "gen_ai.response.finish_reasons": [said[0]["finish_reason"]],
        "gen_ai.output.messages": _json(said),
        "gen_ai.usage.input_tokens": tokens_in,
        "gen_ai.usage.output_tokens": tokens_out,
    }


def _tool(turn: Turn, call_id: str, at: datetime) -> dict[str, Any]:
    name, arguments, amount = wording.TOOLS[turn.tool or ""]
    receipt: dict[str, Any] = {"receipt_id": "R-" + ident("receipt", turn.trace_id, length=10).upper(), "status": "done"}
    if amount:
        receipt |= {"amount": amount, "currency": "EUR"}
    receipt["time"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.call.arguments": _json(arguments),
        "gen_ai.tool.call.result": _json(receipt),
    }


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _tokens(text: str) -> int:
    """About what a subword tokenizer would count."""
    return max(1, round(len(text.encode()) / 4.1))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encoded(turn: Turn, span: Span) -> dict[str, Any]:
    encoded: dict[str, Any] = {"traceId": turn.trace_id, "spanId": span.span_id}
    if span.parent:
        encoded["parentSpanId"] = span.parent
    encoded |= {
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _nanos(span.start),
        "endTimeUnixNano": _nanos(span.end),
        "attributes": _attributes(span.attributes),
        "status": {"code": 2, "message": span.error} if span.error else {"code": 1},
    }
    return encoded


def _nanos(at: datetime) -> str:
    whole = int(at.timestamp())
    return str(whole * 1_000_000_000 + at.microsecond * 1_000)


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
