"""Feedback, health, and how errors leave the api."""

import os
import secrets
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from tests.api.test_otlp import JSON, eventually
from tests.traces.factories import body, turn
from workbench.api import health
from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.jobs import beat
from workbench.identity.models import Project
from workbench.traces import queries


def test_every_kind_of_feedback_is_stored(
    server: str, services: Services, project: Project, make_key: Callable[..., str]
) -> None:
    trace_id = secrets.token_hex(16)
    with httpx.Client(base_url=server, headers={"Authorization": f"Bearer {make_key('feedback')}"}) as client:
        for signal in (
            {"name": "thumbs", "kind": "boolean", "value": False},
            {"name": "stars", "kind": "float", "value": 4, "minimum": 1, "maximum": 5, "comment": "fine"},
            {"kind": "comment", "value": "Too long."},
            {"kind": "correction", "value": "Say this instead."},
            {"name": "task_completed", "kind": "implicit", "value": True, "at": "2026-05-01T10:00:00Z"},
        ):
            answer = client.post("/v1/feedback", json={"trace_id": trace_id, **signal})
            assert answer.status_code == 200, answer.text
            assert answer.json()["trace_id"] == trace_id
        many = client.post(
            "/v1/feedback", json={"feedback": [{"session_id": "s-1", "value": 0.5}, {"traceId": trace_id, "score": True}]}
        )
        assert len(many.json()["feedback"]) == 2
    with services.context.database.session() as session:
        said = queries.feedback_of(session, project.id, trace_id)
    assert {one.kind for one in said} == {"boolean", "float", "comment", "correction"}
    assert {one.source for one in said} == {"explicit", "implicit"}


def test_feedback_on_a_trace_changes_its_rating(client: httpx.Client, services: Services, project: Project) -> None:
    trace_id = secrets.token_hex(16)
    client.post("/v1/traces", content=body(*turn(trace_id, "q", "a")), headers=JSON)
    eventually(services, project, trace_id, 3)
    client.post("/v1/feedback", json={"trace_id": trace_id, "value": 2, "range": [1, 5]})
    assert eventually(services, project, trace_id, 3).rating == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'"x"',
        b'{"value": true}',
        b'{"trace_id": "\\ud800", "value": {}}',
        b'{"feedback": [1]}',
        b"[" * 100_000,
    ],
)
def test_senseless_feedback_is_refused_in_words(client: httpx.Client, content: bytes) -> None:
    answer = client.post("/v1/feedback", content=content)
    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"message", "type", "todo"}


def test_feedback_needs_a_key_that_may(server: str, make_key: Callable[..., str]) -> None:
    signal = {"trace_id": "ab" * 16, "value": True}
    assert httpx.post(f"{server}/v1/feedback", json=signal).status_code == 401
    answer = httpx.post(f"{server}/v1/feedback", json=signal, headers={"Authorization": f"Bearer {make_key('gateway')}"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "NotAllowed")


def test_health_names_each_part_and_the_reason(server: str, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_KEEP_SECONDS", 0)
    answer = httpx.get(f"{server}/v1/health")
    assert answer.status_code == 503
    parts = answer.json()
    assert list(parts) == ["web", "api", "runtime", "worker", "database", "ledger"]
    assert (parts["api"], parts["database"]) == ("ok", "ok")
    assert parts["web"] == "it has not started yet"
    for name in ("web", "worker"):
        beat(services.context, name, os.getpid(), now())
    monkeypatch.setattr(health, "_runtime", lambda _: "ok")
    answer = httpx.get(f"{server}/v1/health")
    assert (answer.status_code, set(answer.json().values())) == (200, {"ok"})
    monkeypatch.setattr(health, "FRESH", timedelta(seconds=-1))
    assert "no sign of life" in httpx.get(f"{server}/v1/health").json()["worker"]


def test_every_answer_has_an_id_and_unknown_addresses_say_so(server: str) -> None:
    answer = httpx.get(f"{server}/nowhere", headers={"X-Request-Id": "mine-1"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (404, "mine-1")
    assert answer.json()["error"]["type"] == "NotFound"
    assert httpx.get(f"{server}/nowhere", headers={"X-Request-Id": "<script>"}).headers["x-request-id"] != "<script>"


def test_bodies_of_other_routes_are_limited(server: str, make_key: Callable[..., str]) -> None:
    headers = {"Authorization": f"Bearer {make_key('gateway')}"}
    assert httpx.post(f"{server}/v1/chat/completions", content=b"x" * (9 << 20), headers=headers).status_code == 413
