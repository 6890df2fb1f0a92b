"""The gateway over HTTP: a real server, the real OpenAI client, a runtime that answers from words."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from tests.releases.conftest import bank, founded, quick  # noqa: F401
from tests.releases.factories import Bank
from tests.serving.fakes import FakeRuntime
from workbench.api import answer_log
from workbench.api.answer_log import AnswerLog
from workbench.api.app import create_app
from workbench.core.actors import Actor, Role
from workbench.core.errors import NotFound, Unavailable
from workbench.identity.service import local_administrator
from workbench.knowledge.content import EntryContent
from workbench.serving.configuration import GuardPolicy, Routing
from workbench.traces.answers import LoggedAnswer
from workbench.traces.models import Trace
from workbench.traces.queries import get_trace

QUESTION = "What does a late FlexPay payment cost?"
FEE = EntryContent(title="FlexPay late fee", text="A late FlexPay payment costs 5 dollars. It can be waived once.")
MESSAGES: Any = [{"role": "user", "content": QUESTION}]


@dataclass
class Served:
    bank: Bank
    runtime: FakeRuntime
    url: str
    key: str
    expert: Actor
    app: Any

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, max_retries=0)

    def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        sent = {"Authorization": f"Bearer {key or self.key}", **headers}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(self.url + path, content=content, headers=sent, timeout=20)

    def release(self, **slots: Any) -> None:
        self.bank.release_first(**{"routing": Routing(minimum_score=0.3), **slots})

    def know(self, key: str = "late-fee", content: EntryContent = FEE) -> Any:
        return self.bank.services.knowledge.create(self.expert, self.bank.project.id, key=key, content=content)

    def trace(self, trace_id: str) -> Trace:
        deadline = time.monotonic() + 5
        while True:
            with self.bank.services.context.database.session() as session:
                try:
                    return get_trace(session, self.bank.project.id, trace_id)
                except NotFound:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.02)


@pytest.fixture
def served(bank: Bank) -> Iterator[Served]:  # noqa: F811
    runtime = FakeRuntime(bank.services.context.database, lambda prompt: "It costs 5 dollars [late-fee].")
    runtime.base = bank.base
    app = create_app(bank.services)
    app.state.runtime = runtime
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    _, key = bank.services.identity.create_key(
        local_administrator(), project_id=bank.project.id, name="shop", scopes=["gateway"]
    )
    yield Served(bank, runtime, f"http://127.0.0.1:{port}", key, bank.person("Eve Expert", Role.EXPERT), app)
    server.should_exit = True
    thread.join(timeout=10)


def test_the_openai_client_gets_an_answer_with_its_receipt(served: Served) -> None:
    served.release()
    made = served.know()
    answer = served.client().chat.completions.create(model="production", messages=MESSAGES)
    assert answer.choices[0].message.content == "It costs 5 dollars [late-fee]."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model.startswith("Release 1")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    about = answer.to_dict()["workbench"]
    assert about["corpus_commit"] == made.commit.id
    assert about["prompt_version"] == served.bank.prompt
    assert about["manifest"] == served.bank.live().manifest_hash
    assert about["citations"][0]["version_id"] == made.version.id


def test_each_answer_becomes_a_trace_with_release_prompt_corpus_and_documents(served: Served) -> None:
    served.release(triage_adapter=served.bank.add_adapter("triage"))
    made = served.know()
    body = {"messages": MESSAGES, "workbench": {"session_id": "s-1", "user_id": "u-1"}}
    about = served.post("/v1/chat/completions", body).json()["workbench"]
    trace = served.trace(about["trace_id"])
    assert (trace.input, trace.output) == (QUESTION, "It costs 5 dollars [late-fee].")
    assert (trace.session_id, trace.user_id) == ("s-1", "u-1")
    assert trace.release == about["release"]
    assert trace.prompt_version == served.bank.prompt
    assert trace.corpus_commit == made.commit.id
    assert trace.documents[0]["version"] == made.version.id
    assert trace.triage_label == "loans"
    assert trace.machine_written


def test_a_correction_is_in_the_next_answer(served: Served) -> None:
    served.release()
    made = served.know()
    evidence = {"messages": MESSAGES, "workbench": {"mode": "evidence"}}
    before = served.post("/v1/chat/completions", evidence).json()
    corrected = EntryContent(title=FEE.title, text="A late FlexPay payment costs 7 dollars.")
    started = time.process_time()
    edited = served.bank.services.knowledge.edit(
        served.expert, made.entry.id, base_version_id=made.version.id, content=corrected
    )
    after = served.post("/v1/chat/completions", {"messages": MESSAGES}, **{"X-Workbench-Mode": "evidence"}).json()
    assert time.process_time() - started < 1.0
    assert "5 dollars" in before["choices"][0]["message"]["content"]
    assert "7 dollars" in after["choices"][0]["message"]["content"]
    assert after["workbench"]["mode"] == "evidence"
    assert after["workbench"]["citations"][0]["version_id"] == edited.version.id
    trace = served.trace(after["workbench"]["trace_id"])
    assert trace.documents[0]["version"] == edited.version.id
    assert edited.commit is not None
    assert trace.corpus_commit == edited.commit.id


@pytest.mark.parametrize("on_failure", ["evidence", "deliver"])
def test_a_stream_adds_up_to_the_answer_and_ends_with_done(served: Served, on_failure: Any) -> None:
    served.release(guard=GuardPolicy(on_failure=on_failure))
    served.know()
    stream = served.client().chat.completions.create(
        model="x", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "It costs 5 dollars [late-fee]."
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    raw = served.post("/v1/chat/completions", {"messages": MESSAGES, "stream": True}).text
    assert raw.endswith("data: [DONE]\n\n")
    last = json.loads(raw.strip().split("\n\n")[-2].removeprefix("data: "))
    assert served.trace(last["workbench"]["trace_id"]).output == text


def test_the_live_release_is_the_one_model(served: Served) -> None:
    served.release()
    assert [model.id for model in served.client().models.list()] == [
        served.bank.services.context.extras["releases.live"][(served.bank.project.id, "production")][1].release.title
    ]


def test_keys_are_checked_in_openais_shape(served: Served) -> None:
    served.release()
    with pytest.raises(openai.AuthenticationError, match="unknown or revoked"):
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="wb_wrong", max_retries=0).models.list()
    _, ingest = served.bank.services.identity.create_key(
        local_administrator(), project_id=served.bank.project.id, name="collector", scopes=["ingest"]
    )
    refused = served.post("/v1/chat/completions", {"messages": MESSAGES}, key=ingest)
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "permission_error"


def test_nothing_released_is_503_with_retry_after_and_a_clear_sentence(served: Served) -> None:
    refused = served.post("/v1/chat/completions", {"messages": MESSAGES})
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "Nothing is released yet." in refused.json()["error"]["message"]
    assert served.post("/v1/triage", {"text": "my card"}).status_code == 503


def test_a_model_that_is_converting_is_503_but_evidence_still_answers(served: Served) -> None:
    served.release()
    served.know()
    served.runtime.unavailable = "The base model is not ready: converting."
    refused = served.post("/v1/chat/completions", {"messages": MESSAGES})
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "30"
    assert served.post("/v1/chat/completions", {"messages": MESSAGES, "stream": True}).status_code == 503
    assert served.post("/v1/chat/completions", {"messages": MESSAGES, "workbench": {"mode": "evidence"}}).status_code == 200


def test_what_cannot_be_answered_is_refused_before_anything_is_asked(served: Served) -> None:
    served.release()
    refused = served.post("/v1/chat/completions", {"messages": MESSAGES, "tools": [{}]})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    too_large = served.post("/v1/chat/completions", b'{"messages":"' + b"x" * 600_000 + b'"}')
    assert (too_large.status_code, too_large.json()["error"]["code"]) == (413, "request_too_large")


def test_what_is_not_followed_is_named(served: Served) -> None:
    served.release()
    served.know()
    messages = [{"role": "system", "content": "Be rude."}, *MESSAGES]
    answer = served.post("/v1/chat/completions", {"messages": messages, "temperature": 1.5, "model": "gpt"}).json()
    assert answer["workbench"]["ignored"] == ["system messages", "temperature"]
    assert "rude" not in served.runtime.prompts[-1]


def test_a_traceparent_joins_the_callers_trace(served: Served) -> None:
    served.release()
    served.know()
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = served.post("/v1/chat/completions", {"messages": MESSAGES}, traceparent=f"00-{trace_id}-00f067aa0ba902b7-01")
    assert answer.headers["X-Workbench-Trace-Id"] == trace_id
    assert served.trace(trace_id).input == QUESTION


def test_triage_answers_one_or_many_with_scores_and_release(served: Served) -> None:
    adapter = served.bank.add_adapter("triage")
    served.release(triage_adapter=adapter)
    one = served.post("/v1/triage", {"text": "my card is lost"}).json()
    many = served.post("/v1/triage", {"texts": ["my card", "a loan"]}).json()
    assert one["label"] == "cards"
    assert sum(one["scores"].values()) == pytest.approx(1)
    assert [result["label"] for result in many["results"]] == ["cards", "loans"]
    assert many["triage_adapter"] == adapter
    for bad in ({}, {"texts": []}, {"text": " "}, {"text": "a", "texts": ["b"]}, {"texts": ["x"] * 300}):
        assert served.post("/v1/triage", bad).status_code in (413, 422)


def test_a_release_without_a_classifier_says_so(served: Served) -> None:
    served.release()
    refused = served.post("/v1/triage", {"text": "my card"})
    assert refused.status_code == 409
    assert "no triage adapter" in refused.text


def test_an_answer_that_cannot_be_stored_yet_is_tried_again_and_counted(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.release()
    served.know()
    monkeypatch.setattr(answer_log, "RETRY_SECONDS", 0.05)
    traces = served.bank.services.traces
    stored = traces.log_answer
    tries = []

    def fail_twice(*values: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("The database is busy.")
        return stored(*values)

    monkeypatch.setattr(traces, "log_answer", fail_twice)
    about = served.post("/v1/chat/completions", {"messages": MESSAGES}).json()["workbench"]
    assert served.trace(about["trace_id"]).output
    assert served.app.state.gateway.log.failures == 2


def test_answers_a_crash_left_behind_are_stored_at_the_next_start_once(bank: Bank) -> None:  # noqa: F811
    context, traces = bank.services.context, bank.services.traces
    runtime = FakeRuntime(context.database)
    folder = context.settings.folder("run") / "answers"
    log = AnswerLog(context, traces, runtime)
    log.close()
    answer = LoggedAnswer(question="q", answer="a", started_at=bank.project.created_at, duration_ms=5.0)
    log.put(bank.project.id, answer)  # its thread has ended, as in a crash
    left = list(folder.glob("*.json"))
    assert len(left) == 1
    copy = left[0].read_text()
    AnswerLog(context, traces, runtime).close()
    assert list(folder.glob("*.json")) == []
    left[0].write_text(copy)  # a crash between storing and removing
    AnswerLog(context, traces, runtime).close()
    with context.database.session() as session:
        assert get_trace(session, bank.project.id, answer.trace_id).output == "a"
    assert list(folder.iterdir()) == []


def test_many_callers_at_once_are_all_answered_and_traced(served: Served) -> None:
    served.release()
    served.know()
    ids: list[str] = []

    def ask() -> None:
        ids.append(served.post("/v1/chat/completions", {"messages": MESSAGES}).json()["workbench"]["trace_id"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 8
    for trace_id in ids:
        assert served.trace(trace_id).output == "It costs 5 dollars [late-fee]."
