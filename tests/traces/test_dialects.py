"""Each convention's own way of saying the same turn ends in the same columns."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traces.factories import stored
from workbench.traces.assemble import assemble
from workbench.traces.dialects import DIALECTS, SpanKind, dialects_of
from workbench.traces.extract import facts
from workbench.traces.models import NANOS

QUESTION, ANSWER, SYSTEM = "Where is my card?", "It is on its way.", "Be brief."
CHAT = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": QUESTION},
]
PARTS = [{"role": message["role"], "parts": [{"type": "text", "content": message["content"]}]} for message in CHAT]

SPANS: dict[str, dict[str, Any]] = {
    "otel-genai": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-1",
        "gen_ai.conversation.id": "s",
        "user.id": "u",
        "gen_ai.input.messages": json.dumps(PARTS),
        "gen_ai.output.messages": json.dumps(
            [
                {
                    "role": "assistant",
                    "parts": [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": ANSWER}],
                    "finish_reason": "stop",
                }
            ]
        ),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
    },
    "otel-genai structured": {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m-1",
        "gen_ai.provider.name": "acme",
        "gen_ai.conversation.id": "s",
        "user.id": "u",
        "gen_ai.system_instructions": [{"type": "text", "content": SYSTEM}],
        "gen_ai.input.messages": PARTS[1:],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
    },
    "otel-genai legacy": {
        "gen_ai.system": "acme",
        "gen_ai.request.model": "m-1",
        "session.id": "s",
        "user.id": "u",
        **{f"gen_ai.prompt.{number}.{key}": message[key] for number, message in enumerate(CHAT) for key in ("role", "content")},
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": ANSWER,
        "gen_ai.completion.0.finish_reason": "stop",
        "gen_ai.usage.prompt_tokens": 12,
        "gen_ai.usage.completion_tokens": 3,
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.model_name": "m-1",
        "llm.provider": "acme",
        "session.id": "s",
        "user.id": "u",
        "input.value": json.dumps({"messages": CHAT}),
        "input.mime_type": "application/json",
        "output.value": json.dumps({"choices": [{"message": {"role": "assistant", "content": ANSWER}}]}),
        **{
            f"llm.input_messages.{number}.message.{key}": message[key]
            for number, message in enumerate(CHAT)
            for key in ("role", "content")
        },
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": ANSWER,
        "llm.token_count.prompt": 12,
        "llm.token_count.completion": 3,
    },
    "langfuse": {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "m-1",
        "langfuse.session.id": "s",
        "langfuse.user.id": "u",
        "gen_ai.system": "acme",
        "langfuse.observation.input": json.dumps(CHAT),
        "langfuse.observation.output": json.dumps({"role": "assistant", "content": ANSWER}),
        "langfuse.observation.usage_details": json.dumps({"input": 12, "output": 3, "total": 15}),
    },
    "traceloop": {
        "traceloop.span.kind": "workflow",
        "llm.request.type": "chat",
        "traceloop.association.properties.session_id": "s",
        "traceloop.association.properties.user_id": "u",
        "gen_ai.system": "acme",
        "gen_ai.request.model": "m-1",
        "traceloop.entity.input": json.dumps({"messages": CHAT}),
        "traceloop.entity.output": json.dumps(ANSWER),
        "gen_ai.usage.prompt_tokens": 12,
        "gen_ai.usage.completion_tokens": 3,
    },
    "mlflow": {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.trace.session": "s",
        "mlflow.trace.user": "u",
        "mlflow.llm.model": '"m-1"',
        "mlflow.llm.provider": "acme",
        "mlflow.spanInputs": json.dumps({"messages": CHAT}),
        "mlflow.spanOutputs": json.dumps({"choices": [{"message": {"role": "assistant", "content": ANSWER}}]}),
        "mlflow.chat.tokenUsage": json.dumps({"input_tokens": 12, "output_tokens": 3}),
    },
    "workbench": {
        "workbench.kind": "llm",
        "workbench.model": "m-1",
        "workbench.provider": "acme",
        "workbench.session_id": "s",
        "workbench.user_id": "u",
        "workbench.input": QUESTION,
        "workbench.output": ANSWER,
        "workbench.input_tokens": 12,
        "workbench.output_tokens": 3,
    },
}


@pytest.mark.parametrize("dialect", SPANS)
def test_a_chat_turn_reads_the_same_in_every_dialect(dialect: str) -> None:
    trace = assemble([stored(SPANS[dialect])], [], [])
    assert (trace["input"], trace["output"]) == (QUESTION, ANSWER)
    assert (trace["model"], trace["provider"]) == ("m-1", "acme")
    assert (trace["session_id"], trace["user_id"]) == ("s", "u")
    assert (trace["input_tokens"], trace["output_tokens"]) == (12, 3)
    assert trace["language"] == "en"


@pytest.mark.parametrize("dialect", [name for name in SPANS if name.startswith(("otel", "openinf"))])
def test_system_and_history_are_kept_as_messages(dialect: str) -> None:
    messages = assemble([stored(SPANS[dialect])], [], [])["messages"]
    assert messages == [*CHAT, {"role": "assistant", "content": ANSWER}]


def test_message_events_are_read_where_attributes_have_no_messages() -> None:
    events = [
        ("gen_ai.system.message", {"content": SYSTEM}),
        ("gen_ai.user.message", {"content": QUESTION}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": ANSWER})}),
    ]
    trace = assemble([stored({"gen_ai.request.model": "m"}, events=events)], [], [])
    assert (trace["input"], trace["output"]) == (QUESTION, ANSWER)


def test_operation_details_events_carry_what_attributes_lack() -> None:
    inside = {
        "gen_ai.input.messages": json.dumps(PARTS),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}]}]),
    }
    trace = assemble(
        [stored({"gen_ai.operation.name": "chat"}, events=[("gen_ai.client.inference.operation.details", inside)])], [], []
    )
    assert (trace["input"], trace["output"]) == (QUESTION, ANSWER)


def test_retrieved_documents_read_the_same_in_genai_and_openinference() -> None:
    flat = {
        "openinference.span.kind": "RETRIEVER",
        "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.0.document.content": "text",
        "retrieval.documents.0.document.metadata": '{"title": "T", "version": "v3"}',
    }
    structured = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.documents": [
            {"id": "d1", "score": 0.5, "content": "text", "metadata": {"title": "T", "version": "v3"}}
        ],
    }
    one, other = (assemble([stored(values)], [], [])["documents"] for values in (flat, structured))
    assert one == other
    assert (one[0]["id"], one[0]["score"], one[0]["content"], one[0]["version"]) == ("d1", 0.5, "text", "v3")


def test_a_tool_call_has_arguments_result_and_receipt() -> None:
    values = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "stop_card",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.tool.call.arguments": '{"card": 7}',
        "gen_ai.tool.call.result": '{"receipt_id": "R-1", "status": "done"}',
    }
    (call,) = assemble([stored(values)], [], [])["tool_calls"]
    assert (call["id"], call["name"], call["arguments"], call["receipt"]) == ("c1", "stop_card", {"card": 7}, "R-1")


def test_a_tool_that_only_the_model_mentions_is_listed_with_the_result_it_was_given() -> None:
    asked = stored(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.output.messages": [
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "c9", "name": "rate", "arguments": {"to": "EUR"}}]}
            ],
        }
    )
    answered = stored(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": [
                {"role": "user", "parts": [{"type": "text", "content": "Rate?"}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c9", "response": "1.1"}]},
            ],
            "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "1.1"}]}],
        },
        start=asked.ended_ns,
    )
    trace = assemble([asked, answered], [], [])
    assert [(call["id"], call["name"], call["result"]) for call in trace["tool_calls"]] == [("c9", "rate", "1.1")]
    assert (trace["input"], trace["output"]) == ("Rate?", "1.1")


@pytest.mark.parametrize(
    ("given_cost", "exact"), [("0.00004950", "0.00004950"), (0.1, "0.1"), ("1e-9", "0.000000001"), (3, "3")]
)
def test_cost_is_exact_decimal(given_cost: object, exact: str) -> None:
    trace = assemble([stored({"workbench.cost": given_cost, "workbench.cost.currency": "EUR"})], [], [])
    assert Decimal(trace["cost_nanos"]) / NANOS == Decimal(exact)
    assert trace["currency"] == "EUR"


def test_a_span_in_several_dialects_is_named_by_the_foreign_one() -> None:
    assert facts("x", {"workbench.intent": "a", "gen_ai.request.model": "m"}, [], {}).dialect == "otel-genai"
    assert facts("x", {"http.method": "GET"}, [], {}).dialect == "otlp"
    assert [dialect.name for dialect in dialects_of({"traceloop.span.kind": 1, "gen_ai.system": 1})] == [
        "otel-genai",
        "traceloop",
        "otlp",
    ]


def test_a_triage_span_is_no_model_turn() -> None:
    assert facts("triage", {"workbench.operation.name": "triage", "gen_ai.request.model": "t"}, [], {}).kind is SpanKind.OTHER


ATTRIBUTES = sorted(
    {name for dialect in DIALECTS for names in dialect.columns.values() for name in names if not name.startswith("resource:")}
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "parts",
                    "type",
                    "text",
                    "message",
                    "messages",
                    "tool_calls",
                    "function",
                    "id",
                    "document",
                    "a",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
strange = anything | anything.map(lambda value: json.dumps(value))


@given(
    st.dictionaries(
        st.sampled_from(
            [name.replace("*", "0.message.role") for name in ATTRIBUTES] + [name.replace("*", "0") for name in ATTRIBUTES]
        ),
        strange,
        max_size=8,
    )
)
def test_no_value_of_any_attribute_breaks_assembly(values: dict[str, Any]) -> None:
    trace = assemble([stored(values, status="error", message="x")], [], [])
    assert isinstance(trace["input"], str)
    assert isinstance(trace["output"], str)
    assert all(isinstance(message["content"], str) for message in trace["messages"])
