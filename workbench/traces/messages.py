"""Chat messages in the forms that conventions write them, read into one form.

Our form is a list of `{"role", "content": str, "tool_calls"?: [{"id", "name", "arguments"}], "tool_call_id"?: str}`.
"""

import json
from collections.abc import Mapping
from typing import Any

Message = dict[str, Any]

_QUESTION_KEYS = ("question", "query", "input", "prompt", "user_input", "message", "text", "content", "input_text")
_ANSWER_KEYS = (
    "answer",
    "output",
    "response",
    "completion",
    "result",
    "output_text",
    "text",
    "content",
    "message",
    "generated_text",
)
_LIST_KEYS = ("messages", "input_messages", "contents", "choices", "candidates", "history", "chat_history")


def parsed(value: Any) -> Any:
    """The JSON value that a string holds, where it holds an object or a list; else the value itself."""
    if isinstance(value, str):
        start = value.lstrip()[:1]
        if start in ("{", "["):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
    return value


def family(attributes: Mapping[str, Any], prefix: str) -> Any:
    """The nested value that attributes `prefix0.a.b`, `prefix1.a.b` … spell; None when there are none."""
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        node = tree
        *path, last = name[len(prefix) :].split(".")
        for part in path:
            child = node.get(part)
            if not isinstance(child, dict):
                child = node[part] = {}
            node = child
        if not isinstance(node.get(last), dict):
            node[last] = value
    return _lists(tree) if tree else None


def _lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdecimal() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}


def messages(value: Any, role: str = "user") -> list[Message]:
    """Read messages from whatever form they have.

    Args:
        value: a list, an object that holds one, JSON text of either, or plain text.
        role: the role of text that names none.
    """
    value = parsed(value)
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, dict):
        for key in _LIST_KEYS:
            inner = parsed(value.get(key))
            if isinstance(inner, list) and inner:
                return messages(inner, role)
        found = _message(value, role)
        return [found] if found else []
    if isinstance(value, list):
        read = [_message(item, role) for item in value]
        return [message for message in read if message]
    return [{"role": role, "content": as_text(value)}]


def _message(item: Any, role: str) -> Message | None:
    item = parsed(item)
    if isinstance(item, str):
        return {"role": role, "content": item}
    if not isinstance(item, dict):
        return None
    inner = parsed(item.get("message"))
    if isinstance(inner, dict):  # OpenInference and OpenAI's choices wrap the message
        return _message(inner, _role(item, role))
    content, calls, call_id = "", list(_tool_calls(item.get("tool_calls"))), _first(item, "tool_call_id", "id")
    for key in ("content", "parts", "contents", "text", "output", "value"):
        if item.get(key) not in (None, "", []):
            content, more, answered = _content(item[key])
            calls += more
            call_id = answered or call_id
            break
    if not content and not calls and "role" not in item:
        return None
    message: Message = {"role": _role(item, role), "content": content}
    if calls:
        message["tool_calls"] = calls
    if message["role"] == "tool" and call_id:
        message["tool_call_id"] = str(call_id)
    return message


def _role(item: Mapping[str, Any], role: str) -> str:
    given = item.get("role") or item.get("type")
    known = {"human": "user", "ai": "assistant", "model": "assistant", "function": "tool", "developer": "system"}
    if not isinstance(given, str):
        return role
    given = given.lower()
    return known.get(given, given if given in ("system", "user", "assistant", "tool") else role)


def _content(value: Any) -> tuple[str, list[dict[str, Any]], str | None]:
    """Text, tool calls, and the id of the call that is answered, from a content value or its parts."""
    value = parsed(value) if isinstance(value, str) and value.lstrip().startswith("[{") else value
    if not isinstance(value, list):
        if isinstance(value, dict):
            return _content([value])
        return as_text(value), [], None
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    answered: str | None = None
    for part in value:
        if isinstance(part, dict) and isinstance(part.get("message_content"), dict):
            part = part["message_content"]
        if not isinstance(part, dict):
            texts.append(as_text(part))
            continue
        kind = str(part.get("type") or "")
        if kind in ("tool_call", "tool_use", "function_call") or "functionCall" in part:
            calls += _tool_calls([part.get("functionCall") or part])
        elif kind in ("tool_call_response", "tool_result", "function_call_output"):
            answered = str(_first(part, "id", "tool_use_id", "call_id") or "") or answered
            texts.append(as_text(_first(part, "response", "result", "content", "output")))
        elif kind in ("reasoning", "thinking"):
            continue
        elif isinstance(text := _first(part, "text", "content", "input_text", "output_text"), str):
            texts.append(text)
        elif isinstance(text, list | dict):
            texts.append(_content(text)[0])
        elif kind:
            texts.append(f"[{kind.replace('_', ' ')}]")
    return "\n".join(text for text in texts if text), calls, answered


def _tool_calls(value: Any) -> list[dict[str, Any]]:
    value = parsed(value)
    if isinstance(value, dict):
        value = [value]
    calls = []
    for call in value if isinstance(value, list) else []:
        if not isinstance(call, dict):
            continue
        call = _within(call, "tool_call")
        function = _within(call, "function")
        name = _first(function, "name")
        if name:
            calls.append(
                {
                    "id": as_text(_first(call, "id", "call_id")),
                    "name": as_text(name),
                    "arguments": parsed(_first(function, "arguments", "args", "input")),
                }
            )
    return calls


def question_of(value: Any) -> str:
    """What the end user asked, from an input in any form."""
    value = _called_with(parsed(value))
    if isinstance(value, list) or (isinstance(value, dict) and any(key in value for key in _LIST_KEYS)):
        turns = messages(value)
        if turns:
            asked = [turn["content"] for turn in turns if turn["role"] == "user" and turn["content"]]
            return str(asked[-1] if asked else turns[-1]["content"])
    return _text_of(value, _QUESTION_KEYS)


def answer_of(value: Any) -> str:
    """What the application answered, from an output in any form."""
    value = parsed(value)
    if isinstance(value, list) or (isinstance(value, dict) and any(key in value for key in _LIST_KEYS)):
        turns = messages(value, "assistant")
        if turns:
            said = [turn["content"] for turn in turns if turn["role"] == "assistant" and turn["content"]]
            return str(said[-1] if said else turns[-1]["content"])
    return _text_of(value, _ANSWER_KEYS)


def _called_with(value: Any) -> Any:
    """What a decorated function was given, which Langfuse and others record as `{"args": […], "kwargs": {…}}`."""
    if not isinstance(value, dict) or not value or not value.keys() <= {"args", "kwargs"}:
        return value
    named, given = parsed(value.get("kwargs")), parsed(value.get("args"))
    if isinstance(named, dict) and any(named.get(key) for key in (*_LIST_KEYS, *_QUESTION_KEYS)):
        return named
    if isinstance(given, list) and (texts := [one for one in given if isinstance(one, str | dict | list) and one]):
        return parsed(texts[0])
    return named or value


def _text_of(value: Any, keys: tuple[str, ...]) -> str:
    if isinstance(value, dict):
        for key in keys:
            inner = value.get(key)
            if isinstance(inner, str) and inner:
                return inner
            if isinstance(inner, dict | list) and inner:
                return _text_of(inner, keys) if isinstance(inner, dict) else as_text(inner)
        strings = [inner for inner in value.values() if isinstance(inner, str) and inner]
        if len(value) == 1 and strings:
            return strings[0]
    return as_text(value)


def as_text(value: Any) -> str:
    """A value as text: strings as they are, everything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _within(item: dict[str, Any], key: str) -> dict[str, Any]:
    inner = item.get(key)
    return inner if isinstance(inner, dict) else item


def _first(item: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if item.get(key) not in (None, ""):
            return item[key]
    return None
