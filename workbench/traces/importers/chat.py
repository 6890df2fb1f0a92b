"""Chat logs in OpenAI's shapes: `{"messages": […]}` a line, or the request and result files of a batch.

One line is one trace: its last turn, with what was said before as the model saw it. Within the turn each answer of the model
is a span, so that the tools it asked for and what they said are seen.
"""

from collections.abc import Mapping
from typing import Any

from workbench.core.clock import now
from workbench.core.errors import InvalidInput
from workbench.traces.importers.building import Occurrences, Piece, hashed, moment_ns, said, source_of, span_of
from workbench.traces.messages import parsed

_MOST_REQUESTS = 200_000
_TIMES = ("timestamp", "created_at", "created", "time", "start_time", "date")
_SESSIONS = ("session_id", "conversation_id", "thread_id", "sessionId")
_USERS = ("user_id", "user", "userId", "safety_identifier")


class ChatReader:
    """Reads the lines of one import; requests of a batch wait for their results."""

    def __init__(self) -> None:
        self._same = Occurrences()
        self._requests: dict[str, tuple[int, dict[str, Any]]] = {}
        self._base_ns = int(now().timestamp() * 1e9)

    def read(self, number: int, value: Any) -> Piece:
        """One line.

        Raises:
            InvalidInput: it is no chat.
        """
        if not isinstance(value, Mapping):
            raise InvalidInput("This line is no object with `messages`.")
        if isinstance(value.get("body"), Mapping) and "custom_id" in value:
            return self._request(number, value)
        if "custom_id" in value and ("response" in value or value.get("error")):
            return self._result(number, value)
        return self._chat(number, dict(value), value)

    def finish(self) -> list[tuple[int, str]]:
        """Requests that no result answered, with their line numbers."""
        why = "This batch request has no result here. Import the request file together with its output file, requests first."
        return [(number, why) for number, _ in self._requests.values()]

    def _request(self, number: int, value: Mapping[str, Any]) -> Piece:
        name = str(value["custom_id"])
        if len(self._requests) >= _MOST_REQUESTS:
            raise InvalidInput(f"More than {_MOST_REQUESTS:,} batch requests wait for their results.", todo="Split the file.")
        if name in self._requests:
            raise InvalidInput(f"The custom_id {name[:60]!r} is there twice.")
        self._requests[name] = (number, dict(value["body"]))
        return Piece()

    def _result(self, number: int, value: Mapping[str, Any]) -> Piece:
        _, asked = self._requests.pop(str(value["custom_id"]), (0, {}))
        if not asked:
            raise InvalidInput(
                "This is the result of a batch without its request.", todo="Give the request file too, before this one."
            )
        response = value.get("response")
        body = response.get("body") if isinstance(response, Mapping) else None
        problem = value.get("error") or (body.get("error") if isinstance(body, Mapping) else None)
        joined = {**asked, **(body if isinstance(body, Mapping) else {}), "messages": asked.get("messages")}
        return self._chat(number, joined, [value.get("id"), value["custom_id"], joined], problem=problem)

    def _chat(self, number: int, value: dict[str, Any], record: Any, *, problem: Any = None) -> Piece:
        turns = parsed(value.get("messages"))
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
            raise InvalidInput("The line has no `messages`, a list of objects with `role` and `content`.")
        if not any(said(turn.get("content")) or turn.get("tool_calls") for turn in turns):
            raise InvalidInput("None of its messages says anything.")
        turns = [dict(turn) for turn in turns]
        answers = _answers(value)
        name = self._same.name(record)
        trace_id = hashed(f"chat:{name}", 32)
        started = next((moment_ns(value[key]) for key in _TIMES if said(value.get(key))), None)
        started = started or self._base_ns + number * 1_000_000
        piece = Piece()
        source = source_of(piece.decoded, "chat")
        about = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": value.get("model"),
            "gen_ai.response.model": value.get("model"),
            "gen_ai.response.id": value.get("id"),
            "gen_ai.conversation.id": next((value[key] for key in _SESSIONS if said(value.get(key))), None),
            "user.id": next((value[key] for key in _USERS if isinstance(value.get(key), str) and value[key]), None),
            "gen_ai.tool.definitions": value.get("tools") or value.get("functions"),
            **_metadata(value.get("metadata")),
        }
        steps = _steps([*turns, *answers])
        for step, (asked, answer) in enumerate(steps):
            last = step == len(steps) - 1
            attributes = {
                **about,
                "gen_ai.input.messages": asked,
                "gen_ai.output.messages": [answer] if answer else None,
                **(_usage(value.get("usage")) if last else {}),
            }
            span = span_of(
                trace_id=trace_id, span_id=hashed(f"chat:{name}:{step}", 16), source_id=source, name="chat",
                started_ns=started + step * 1000, attributes=attributes, error=_words(problem) if problem and last else None,
            )  # fmt: skip
            piece.decoded.spans.append(span)
        return piece


def _answers(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model's answer where it stands beside the messages."""
    choices = value.get("choices")
    if isinstance(choices, list):
        found = [choice.get("message") for choice in choices[:1] if isinstance(choice, Mapping)]
        return [dict(message) for message in found if isinstance(message, Mapping)]
    for key in ("response", "completion", "output", "answer"):
        given = value.get(key)
        if isinstance(given, Mapping) and isinstance(given.get("choices"), list):
            return _answers(given)
        if isinstance(given, Mapping) and ("content" in given or "tool_calls" in given):
            return [{"role": "assistant", **given}]
        if isinstance(given, str) and given:
            return [{"role": "assistant", "content": given}]
    return []


def _steps(turns: list[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], dict[str, Any] | None]]:
    """What the model was given and what it said, for each of its answers after the last question."""
    asked = max((place for place, turn in enumerate(turns) if turn.get("role") == "user"), default=-1)
    places = [place for place, turn in enumerate(turns) if turn.get("role") == "assistant" and place > asked]
    steps: list[tuple[list[dict[str, Any]], dict[str, Any] | None]] = [(turns[:place], turns[place]) for place in places]
    if not steps or places[-1] != len(turns) - 1:
        steps.append((turns, None))
    return steps


def _usage(usage: Any) -> dict[str, Any]:
    if not isinstance(usage, Mapping):
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "gen_ai.usage.output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
    }


def _metadata(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {f"metadata.{key}": value for key, value in given.items()}
    return {"metadata": given}


def _words(problem: Any) -> str:
    if isinstance(problem, Mapping):
        return str(problem.get("message") or problem.get("code") or problem)
    return str(problem)
