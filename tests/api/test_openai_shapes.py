"""What of OpenAI's requests is taken, ignored and refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.api.openai_shapes import read_chat_request
from workbench.core.errors import InvalidInput, TooLarge, WorkbenchError

MESSAGES = [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ([], InvalidInput, "no JSON object"),
        ({"messages": []}, InvalidInput, "at least one message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, InvalidInput, "no text"),
        ({"messages": [{"role": "robot", "content": "x"}]}, InvalidInput, "no role"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, InvalidInput, "no question"),
        ({"messages": [{"role": "user", "content": "x" * 40_000}]}, TooLarge, "more than 32000"),
        ({"messages": MESSAGES * 200}, TooLarge, "at most 100"),
        ({"messages": MESSAGES, "tools": [{}]}, InvalidInput, "`tools`"),
        ({"messages": MESSAGES, "n": 2}, InvalidInput, "`n`"),
        ({"messages": MESSAGES, "response_format": {"type": "json_object"}}, InvalidInput, "`response_format`"),
        ({"messages": MESSAGES, "max_tokens": 0}, InvalidInput, "`max_tokens`"),
        ({"messages": MESSAGES, "max_tokens": True}, InvalidInput, "`max_tokens`"),
        ({"messages": MESSAGES, "stream": "yes"}, InvalidInput, "`stream`"),
        ({"messages": MESSAGES, "workbench": {"mode": "magic"}}, InvalidInput, "no mode"),
        ({"messages": MESSAGES, "workbench": []}, None, ""),
        ({"messages": MESSAGES, "workbench": {"session_id": 3}}, InvalidInput, "`session_id`"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_clearly(body: Any, kind: type[WorkbenchError] | None, says: str) -> None:
    if kind is None:
        read_chat_request(json.dumps(body).encode(), None)
        return
    with pytest.raises(kind, match=says):
        read_chat_request(json.dumps(body).encode(), None)


def test_parts_of_text_and_both_names_of_the_token_limit_are_taken() -> None:
    parts = [{"type": "text", "text": "Why"}, {"type": "text", "text": "so?"}]
    request = read_chat_request(
        json.dumps({"messages": [{"role": "user", "content": parts}], "max_completion_tokens": 9, "user": "u"}).encode(), None
    )
    assert request.messages[0]["content"] == "Why\nso?"
    assert request.max_new_tokens == 9
    assert request.user_id == "u"


def test_the_body_decides_the_mode_before_the_header() -> None:
    body = {"messages": MESSAGES, "workbench": {"mode": "generate"}}
    assert not read_chat_request(json.dumps(body).encode(), "evidence").evidence_only
    assert read_chat_request(json.dumps({"messages": MESSAGES}).encode(), "evidence").evidence_only


def test_sampling_parameters_and_system_messages_are_named_as_not_followed() -> None:
    body = {"messages": [{"role": "system", "content": "x"}, *MESSAGES], "temperature": 0.2, "seed": None, "model": "m"}
    assert read_chat_request(json.dumps(body).encode(), None).ignored == ("system messages", "temperature")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["messages", "stream", "max_tokens", "workbench", "tools", "n", "model", "stream_options", "user"])


@given(st.dictionaries(NAMES, JSON, max_size=5) | st.just({"messages": MESSAGES}))
def test_any_json_is_a_request_or_a_clear_error(body: dict[str, Any]) -> None:
    try:
        request = read_chat_request(json.dumps(body).encode(), None)
    except WorkbenchError:
        return  # a clear refusal; anything else fails the test
    assert any(message["role"] == "user" for message in request.messages)
