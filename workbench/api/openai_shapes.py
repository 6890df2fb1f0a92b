"""OpenAI's chat completions as this gateway takes and gives them: what is read, ignored and refused."""

import json
import time
from dataclasses import dataclass
from typing import Any

from workbench.core.errors import InvalidInput, TooLarge
from workbench.serving.result import Answer

MAX_MESSAGES = 100
MAX_CHARACTERS = 32_000
"""Of all messages together."""
MAX_TOKENS = 1_024
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
IGNORED = frozenset(
    {
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop", "logit_bias", "metadata", "store",
        "service_tier", "reasoning_effort", "verbosity", "safety_identifier", "prompt_cache_key", "parallel_tool_calls",
    }
)  # fmt: skip
"""Taken and not followed: the released prompt version decides. The answer names those that were sent."""


@dataclass(frozen=True)
class ChatRequest:
    """A request, checked."""

    messages: tuple[dict[str, str], ...]
    """{"role", "content"}, the content as one text."""
    model: str
    stream: bool
    include_usage: bool
    max_new_tokens: int | None
    evidence_only: bool
    session_id: str | None
    user_id: str | None
    ignored: tuple[str, ...]
    """Names of what was sent and is not followed."""


def read_chat_request(body: bytes, mode_header: str | None) -> ChatRequest:
    """The request in a body.

    Args:
        mode_header: the value of `X-Workbench-Mode`: `evidence`, `generate`, or none.

    Raises:
        InvalidInput: the body is not a chat completion request that this gateway answers.
        TooLarge: too many or too long messages.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not JSON.", todo="Send a chat completion request as JSON in UTF-8.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The body is no JSON object.")
    _refuse_what_cannot_be_done(value)
    messages = _messages(value.get("messages"))
    own = value.get("workbench") or {}
    if not isinstance(own, dict):
        raise InvalidInput("`workbench` must be an object.", todo='Such as {"mode": "evidence", "session_id": "s1"}.')
    mode = own.get("mode") or mode_header or "generate"
    if mode not in ("generate", "evidence"):
        raise InvalidInput(f"There is no mode {str(mode)[:40]!r}.", todo="Use generate or evidence.")
    options = value.get("stream_options")
    ignored = {name for name, given in value.items() if name in IGNORED and given is not None}
    if any(message["role"] in ("system", "developer") for message in messages):
        ignored.add("system messages")
    return ChatRequest(
        messages=tuple(messages),
        model=_short_text(value, "model") or "",
        stream=_flag(value, "stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_new_tokens=_max_tokens(value),
        evidence_only=mode == "evidence",
        session_id=_short_text(own, "session_id"),
        user_id=_short_text(own, "user_id") or _short_text(value, "user"),
        ignored=tuple(sorted(ignored)),
    )


def completion(
    answer: Answer, *, response_id: str, model: str, workbench: dict[str, Any], created: int | None = None
) -> dict[str, Any]:
    """The response of a request that does not stream."""
    return {
        "id": response_id,
        "object": "chat.completion",
        "created": created or int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": answer.text, "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason(answer),
            }
        ],
        "usage": usage(answer),
        "workbench": workbench,
    }


def chunk(response_id: str, model: str, created: int, delta: dict[str, Any] | None, **more: Any) -> str:
    """One server-sent event of a stream; without a delta it carries no choice, only what `more` says."""
    finish = more.pop("finish_reason", None)
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return event(
        {
            "id": response_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": choices,
            **more,
        }
    )


def event(value: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def usage(answer: Answer) -> dict[str, int]:
    """Token counts."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


def finish_reason(answer: Answer) -> str:
    """`length` when the delivered text itself was cut off, else `stop`."""
    return "length" if answer.mode == "generate" and answer.finish_reason == "length" else "stop"


def _refuse_what_cannot_be_done(value: dict[str, Any]) -> None:
    asked = value.get("response_format")
    refusals = {
        "tools": bool(value.get("tools")) and value.get("tool_choice") != "none",
        "functions": bool(value.get("functions")),
        "n": value.get("n") not in (None, 1),
        "logprobs": bool(value.get("logprobs")),
        "audio": bool(value.get("audio")),
        "modalities": value.get("modalities") not in (None, ["text"]),
        "response_format": asked is not None and not (isinstance(asked, dict) and asked.get("type") == "text"),
    }
    for name, refused in refusals.items():
        if refused:
            raise InvalidInput(
                f"This gateway does not do `{name}`.", why="It answers with one text by the released components.",
                todo="Leave it out.",
            )  # fmt: skip


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise InvalidInput("`messages` must be a list with at least one message.")
    if len(value) > MAX_MESSAGES:
        raise TooLarge(f"There are {len(value)} messages; at most {MAX_MESSAGES} are taken.", todo="Send the latest ones.")
    messages = []
    for index, message in enumerate(value):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise InvalidInput(f"Message {index} has no role that is known.", todo="Use system, user or assistant.")
        messages.append({"role": str(message["role"]), "content": _text(index, message.get("content"))})
    if sum(len(message["content"]) for message in messages) > MAX_CHARACTERS:
        raise TooLarge(f"The messages have more than {MAX_CHARACTERS} characters.", todo="Shorten the conversation.")
    if not any(message["role"] == "user" and message["content"].strip() for message in messages):
        raise InvalidInput("There is no question.", todo="Send a message with the role user and some text.")
    return messages


def _text(index: int, content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str) for part in content
    ):
        return "\n".join(part["text"] for part in content)
    raise InvalidInput(f"The content of message {index} is no text.", todo="Send text, or a list of parts of the type text.")


def _max_tokens(value: dict[str, Any]) -> int | None:
    given = value.get("max_completion_tokens", value.get("max_tokens"))
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_TOKENS:
        raise InvalidInput(f"`max_tokens` must be a whole number from 1 to {MAX_TOKENS}.")
    return given


def _flag(value: dict[str, Any], name: str) -> bool:
    given = value.get(name)
    if given is not None and not isinstance(given, bool):
        raise InvalidInput(f"`{name}` must be true or false.")
    return bool(given)


def _short_text(value: dict[str, Any], name: str) -> str | None:
    given = value.get(name)
    if given is None or given == "":
        return None
    if not isinstance(given, str) or len(given) > 256:
        raise InvalidInput(f"`{name}` must be a text of up to 256 characters.")
    return given
