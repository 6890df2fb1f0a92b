"""A turn as a conversation: what came before it in the request, and what was done on the way, every tool call in place."""

from dataclasses import dataclass, field
from typing import Any

from workbench.traces.models import Trace

MOST = 200
"""Messages and tool calls of one turn that are shown."""


@dataclass
class Talk:
    """A turn without its question and its answer."""

    system: str = ""
    """The system prompt."""
    before: list[dict[str, Any]] = field(default_factory=list)
    """Messages of the conversation before the question, as the model was given them."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Between question and answer: {"say": message} or {"call": tool call}, in order."""
    left_out: int = 0
    """Steps beyond MOST."""


def talk_of(trace: Trace) -> Talk:
    """Lay out what the model saw and did.

    Where the model was given something else than the end user's words, such as an assembled prompt, there is nothing before
    the question, and the tool calls stand in their order of time.
    """
    system = "\n\n".join(str(m.get("content") or "") for m in trace.messages if m.get("role") == "system")
    rest = [message for message in trace.messages if message.get("role") != "system"]
    asked = next((at for at in range(len(rest) - 1, -1, -1) if _is(rest[at], "user", trace.input)), None)
    talk = Talk(system.strip())
    if asked is None:
        steps = [{"call": call} for call in trace.tool_calls]
    else:
        talk.before = rest[:asked]
        steps = _steps(rest[asked + 1 :], list(trace.tool_calls), trace.output)
    talk.steps, talk.left_out = steps[:MOST], max(0, len(steps) - MOST)
    return talk


def _steps(messages: list[dict[str, Any]], calls: list[dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    placed: dict[str, dict[str, Any]] = {}
    for message in messages:
        text = str(message.get("content") or "").strip()
        if message.get("role") == "tool":
            call = placed.get(str(message.get("tool_call_id") or ""))
            if call is None:
                steps.append({"call": {"name": message.get("name") or "tool", "result": text}})
            elif call.get("result") in (None, ""):
                call["result"] = text
            continue
        if text and text != answer.strip():
            steps.append({"say": message})
        for wanted in message.get("tool_calls") or []:
            call = {**wanted, **(_taken(calls, wanted) or {})}
            placed[str(wanted.get("id") or "")] = call
            steps.append({"call": call})
    return steps + [{"call": call} for call in calls]


def _taken(calls: list[dict[str, Any]], wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The recorded call that a message asked for, taken out of the list: by id, else the first of that name."""
    by_id = [at for at, call in enumerate(calls) if wanted.get("id") and call.get("id") == wanted["id"]]
    by_name = [
        at
        for at, call in enumerate(calls)
        if call.get("name") == wanted.get("name") and not (call.get("id") and wanted.get("id"))
    ]
    for at in [*by_id, *by_name][:1]:
        return {name: value for name, value in calls.pop(at).items() if value not in (None, "")}
    return None


def _is(message: dict[str, Any], role: str, text: str) -> bool:
    return message.get("role") == role and bool(text.strip()) and str(message.get("content") or "").strip() == text.strip()
