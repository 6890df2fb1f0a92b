"""Real clients against a running api: what a person reads of the traces that they send."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.test_gateway import QUESTION, Served, served  # noqa: F401
from tests.api.test_otlp import eventually
from tests.clients.conftest import run_app
from tests.clients.upstream import ANSWER, MODEL, RATE_ANSWER
from tests.releases.conftest import bank, founded, quick  # noqa: F401
from workbench.bootstrap import Services
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import queries
from workbench.traces.models import Feedback, Trace

Run = Callable[..., str]


def tools(trace: Trace) -> list[tuple[str, Any, Any]]:
    return [(call["name"], call["arguments"], call["result"]) for call in trace.tool_calls]


def feedback(services: Services, project: Project, trace_id: str, count: int) -> dict[str, Feedback]:
    until = time.monotonic() + 30
    while True:
        with services.context.database.session() as session:
            found = {one.name: one for one in queries.feedback_of(session, project.id, trace_id)}
        if len(found) >= count:
            return found
        assert time.monotonic() < until, f"only {sorted(found)}"
        time.sleep(0.05)


def test_the_opentelemetry_sdk_writes_a_turn_that_reads_whole(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_plain"), 3)
    assert (trace.input, trace.output, trace.model) == ("Please stop my card.", "Your card is stopped.", MODEL)
    assert (trace.session_id, trace.user_id, trace.release) == ("conversation-1", "user-1", "7.1")
    assert (trace.input_tokens, trace.output_tokens, trace.status) == (31, 9, "ok")
    (call,) = trace.tool_calls
    assert (call["name"], call["arguments"], call["receipt"]) == ("stop_card", {"card": "ending 12"}, "R-9")
    said = feedback(services, project, trace.trace_id, 1)["groundedness"]
    assert (said.number, said.source) == (0.75, "annotator")


def test_openinference_around_the_openai_client_with_a_tool(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_openinference", "tool"), 3)
    assert (trace.input, trace.output, trace.model) == ("What is a euro worth?", RATE_ANSWER, MODEL)
    assert (trace.session_id, trace.user_id, trace.dialect) == ("session-2", "user-2", "openinference")
    assert (trace.input_tokens, trace.output_tokens) == (22, 14)
    assert tools(trace) == [("exchange_rate", {"currency": "EUR"}, "1.08")]
    assert "beta" in trace.tags
    assert [message["role"] for message in trace.messages] == ["system", "user", "assistant", "tool", "assistant"]


def test_openinference_around_a_stream(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_openinference", "stream"), 2)
    assert (trace.input, trace.output, trace.model) == ("Where is my card?", ANSWER, MODEL)
    assert (trace.input_tokens, trace.output_tokens, trace.session_id) == (11, 7, "session-2")


LATEST = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
}


def test_opentelemetrys_genai_instrumentation_with_a_tool(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_genai", "tool", **LATEST), 3)
    assert (trace.input, trace.output, trace.model) == ("What is a euro worth?", RATE_ANSWER, MODEL)
    assert (trace.session_id, trace.user_id, trace.dialect) == ("session-3", "user-3", "otel-genai")
    assert (trace.input_tokens, trace.output_tokens, trace.provider) == (22, 14, "openai")
    assert tools(trace) == [("exchange_rate", {"currency": "EUR"}, "1.08")]


def test_opentelemetrys_genai_instrumentation_around_a_stream(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_genai", "stream", **LATEST), 2)
    assert (trace.input, trace.output, trace.model) == ("Where is my card?", ANSWER, MODEL)
    assert (trace.input_tokens, trace.output_tokens) == (11, 7)


def test_without_the_capture_switch_everything_but_the_words_is_there(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_genai", "stream"), 2)
    assert (trace.model, trace.input_tokens, trace.session_id) == (MODEL, 11, "session-3")
    assert (trace.input, trace.output) == ("", "")


def test_the_langfuse_sdk_pointed_at_us(run: Run, services: Services, project: Project) -> None:
    trace = eventually(services, project, run("app_langfuse"), 3)
    assert (trace.output, trace.model) == ("It was posted on Monday.", MODEL)
    assert trace.input == "When was my card posted?"
    assert (trace.session_id, trace.user_id, trace.dialect) == ("session-4", "user-4", "langfuse")
    assert (trace.name, trace.release, trace.environment) == ("card support", "v-42", "staging")
    assert (trace.input_tokens, trace.output_tokens, trace.cost_nanos) == (21, 6, 300_000)
    assert [call["name"] for call in trace.tool_calls] == ["find_card"]
    assert trace.tool_calls[0]["result"] == {"status": "posted", "customer": "c-7"}
    assert "cards" in trace.tags
    said = feedback(services, project, trace.trace_id, 3)
    assert (said["user-thumbs"].value, said["user-thumbs"].text, said["user-thumbs"].source) == (True, "quick", "explicit")
    assert (said["tone"].kind, said["tone"].text) == ("comment", "friendly")
    assert (said["correction"].kind, said["correction"].text) == ("correction", "It was posted on Tuesday.")


@pytest.mark.usefixtures("model_server")
def test_a_client_around_our_own_gateway_makes_one_trace_with_its_answer(served: Served) -> None:  # noqa: F811
    served.know()
    served.release()
    services, project = served.bank.services, served.bank.project
    key = services.identity.create_key(local_administrator(), project_id=project.id, name="app", scopes=["ingest"])[1]
    trace_id = run_app(
        "app_openinference",
        "gateway",
        CLIENT_TRACES=served.url,
        CLIENT_KEY=key,
        CLIENT_OPENAI=f"{served.url}/v1",
        CLIENT_OPENAI_KEY=served.key,
        CLIENT_QUESTION=QUESTION,
    )
    trace = eventually(services, project, trace_id, 5)
    assert trace.input == QUESTION
    assert "5 dollars" in trace.output
    assert (trace.session_id, trace.user_id) == ("session-2", "user-2")
    assert trace.release
    assert [document["content"] for document in trace.documents]
