"""Masking through every door, on disk, over requests and at the same time."""

import itertools
import json
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

from tests.traces.factories import body, request, span
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from workbench.core.recording import TraceOutbox
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import queries
from workbench.traces.indexer import index_all
from workbench.traces.masking.policy import MaskingPolicy
from workbench.traces.masking.rules import policy_of
from workbench.traces.models import Feedback, RejectedSpan, Span, SpanSource, Trace

SECRET = "zq.planted.person@mail.example.org"
PHONE = "+34 611 222 333"


def _trace(services: Services, project: Project, trace_id: str) -> Trace:
    index_all(services.context)
    with services.context.database.session() as session:
        return queries.get_trace(session, project.id, trace_id)


def _said(text: str, trace_id: str, **given: object) -> bytes:
    return body(span({"input.value": text, "openinference.span.kind": "CHAIN"}, trace_id=trace_id, **given))  # type: ignore[arg-type]


def test_a_value_keeps_its_number_over_requests_and_in_feedback(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, _said(f"first a@x.com then {SECRET}", trace_id))
    services.traces.ingest_otlp(key, project.id, _said(f"again {SECRET} and c@x.com", trace_id, parent="ab" * 8))
    services.traces.add_feedback(key, project.id, trace_id=trace_id, kind="comment", value=f"tell {SECRET.upper()} and d@x.com")
    with services.context.database.session() as session:
        texts = [one.attributes["input.value"] for one in session.exec(select(Span).order_by(Span.id))]  # type: ignore[arg-type]
        comment = session.exec(select(Feedback)).one().text
    assert texts == ["first <EMAIL_1> then <EMAIL_2>", "again <EMAIL_2> and <EMAIL_3>"]
    assert comment == "tell <EMAIL_2> and <EMAIL_4>"
    trace = _trace(services, project, trace_id)
    assert (trace.input, trace.mask_policy, trace.mask_counts) == ("first <EMAIL_1> then <EMAIL_2>", 1, {"EMAIL": 4})


def test_a_repeated_request_gets_the_same_numbers_and_adds_nothing(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    sent = _said(f"{SECRET} and {PHONE}", trace_id)
    assert services.traces.ingest_otlp(key, project.id, sent).new == 1
    assert services.traces.ingest_otlp(key, project.id, sent).new == 0
    assert _trace(services, project, trace_id).mask_counts == {"EMAIL": 1, "PHONE": 1}


def test_nothing_of_what_is_masked_reaches_the_disk(
    services: Services, project: Project, key: Actor, home: Path, tmp_path: Path
) -> None:
    trace_id = secrets.token_hex(16)
    hidden = {"email": SECRET, "phone": PHONE, "password": "Zq-planted-Passw0rd", "token": "sk-zqplanted0123456789abcdef"}
    values = {
        "input.value": json.dumps({"question": f"I am {SECRET}", "inner": json.dumps(hidden)}), "user.id": SECRET,
        "session.id": PHONE, f"note {SECRET}": [f"call {PHONE}", {"deep": SECRET}], "card": 5105105105105100,
    }  # fmt: skip
    bad = span({"input.value": SECRET}, trace_id="zz", name=f"to {SECRET}")
    sent = request(
        span(values, trace_id=trace_id, name=f"to {SECRET}", error=f"unknown {SECRET}", events=[("log", {"body": PHONE})]), bad,
        resource={"service.owner": SECRET},
    )  # fmt: skip
    report = services.traces.ingest_otlp(key, project.id, json.dumps(sent).encode())
    assert report.new == 1
    assert len(report.rejected) == 1
    with pytest.raises(InvalidInput):
        services.traces.ingest_otlp(key, project.id, f"{SECRET} is no JSON".encode())
    services.traces.add_feedback(key, project.id, trace_id=trace_id, kind="correction", value=f"Ask {SECRET}", user_id=SECRET)
    services.traces.add_feedback(key, project.id, session_id=PHONE, kind="comment", value=f"Ask {PHONE}")
    file = tmp_path / "import.jsonl"
    file.write_text(json.dumps(request(span({"input.value": f"file {SECRET}"}))))
    services.traces.import_file(local_administrator(), project.id, file)
    services.traces.log_answer(
        local_administrator(), project.id, question=f"Who is {SECRET}?", answer=f"Call {PHONE}", user_id=SECRET,
        started_at=datetime(2026, 5, 1, tzinfo=UTC), duration_ms=5.0, model="m", documents=[{"id": "k", "content": SECRET}],
    )  # fmt: skip
    trace = _trace(services, project, trace_id)
    assert trace.user_id is not None
    assert re.fullmatch("person-[0-9a-f]{16}", trace.user_id)
    assert trace.mask_counts["SECRET"] == 2
    assert trace.mask_counts["CARD"] == 1
    on_disk = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"<EMAIL_1>" in on_disk
    for planted in (SECRET, "zq.planted", "611 222 333", "611222333", "Zq-planted", "sk-zqplanted", "5105105105105100"):
        assert planted.encode() not in on_disk, planted


def test_a_person_is_the_same_pseudonym_in_every_trace_and_signal(services: Services, project: Project, key: Actor) -> None:
    for name in (SECRET, SECRET.upper(), f" {SECRET} "):
        services.traces.ingest_otlp(key, project.id, body(span({"user.id": name, "input.value": "hi"})))
    services.traces.add_feedback(key, project.id, trace_id="a" * 32, kind="comment", value="fine", user_id=SECRET)
    index_all(services.context)
    with services.context.database.session() as session:
        people = {*session.exec(select(Trace.user_id)), *session.exec(select(Feedback.user_id))}
    assert len(people) == 1


def test_many_requests_of_one_trace_at_once_agree_on_the_numbers(services: Services, project: Project, key: Actor) -> None:
    trace_id = secrets.token_hex(16)
    addresses = [f"person{number}@x.com" for number in range(12)]

    def send(number: int) -> None:
        words = " ".join(addresses[(number + step) % 12] for step in range(4))
        services.traces.ingest_otlp(key, project.id, _said(words, trace_id, parent="ab" * 8))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(send, range(24)))
    with services.context.database.session() as session:
        texts = [one.attributes["input.value"].split() for one in session.exec(select(Span))]
    assert len(texts) == 24
    assert {name for words in texts for name in words} == {f"<EMAIL_{number}>" for number in range(1, 13)}
    follows: dict[str, set[str]] = {}
    for words in texts:
        for one, behind in itertools.pairwise(words):
            follows.setdefault(one, set()).add(behind)
    assert all(len(behind) == 1 for behind in follows.values())  # each address has its one neighbour


def test_a_rejected_span_and_a_resource_are_masked(services: Services, project: Project, key: Actor) -> None:
    services.traces.ingest_otlp(
        key, project.id, json.dumps(request(span({}), span({"x": SECRET}, trace_id="zz"), resource={"owner": SECRET})).encode()
    )
    with services.context.database.session() as session:
        rejected, source = session.exec(select(RejectedSpan)).one(), session.exec(select(SpanSource)).one()
    assert "<EMAIL_1>" in json.dumps(rejected.raw)
    assert re.fullmatch("<EMAIL_[0-9a-f]{12}>", source.resource["owner"])


def test_rules_are_changed_by_admins_with_a_reason_and_an_event(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    rules = MaskingPolicy(types=("PHONE", "TERM"), terms=("Proyecto Ñandú",))
    with pytest.raises(NotAllowed):
        services.masking.set_policy(someone(Role.ENGINEER), project.id, rules, reason="no")
    admin = someone(Role.ADMIN)
    with pytest.raises(InvalidInput):
        services.masking.set_policy(admin, project.id, rules, reason=" ")
    assert services.masking.set_policy(admin, project.id, rules, reason="Only phones", based_on=1).version == 2
    assert services.masking.set_policy(admin, project.id, rules, reason="Again the same").version == 2
    with pytest.raises(Conflict):
        services.masking.set_policy(admin, project.id, replace(rules, types=()), reason="Late", based_on=1)
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, _said(f"PROYECTO ÑANDÚ {PHONE} {SECRET}", trace_id))
    trace = _trace(services, project, trace_id)
    assert trace.input == f"<TERM_1> <PHONE_1> {SECRET}"
    assert trace.mask_policy == 2
    with services.context.database.session() as session:
        assert policy_of(session, project.id).version == 2
        events = [one for one in session.exec(select(TraceOutbox)) if "masking_changed" in str(one.model_dump())]
    assert len(events) == 1
    assert "Ñandú" not in str(events[0].model_dump())


def test_originals_are_seen_with_permission_and_reason_until_the_person_is_forgotten(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], home: Path
) -> None:
    admin = someone(Role.ADMIN)
    keep = MaskingPolicy(originals="kept encrypted", phone_regions=("ES",))
    services.masking.set_policy(admin, project.id, keep, reason="Fraud cases")
    ids = [secrets.token_hex(16) for _ in range(3)]
    services.traces.ingest_otlp(
        key, project.id, body(span({"user.id": SECRET, "input.value": f"{SECRET} {PHONE}"}, trace_id=ids[0]))
    )
    services.traces.ingest_otlp(key, project.id, body(span({"input.value": PHONE}, trace_id=ids[1], parent="ab" * 8)))
    services.traces.ingest_otlp(key, project.id, body(span({"user.id": SECRET}, trace_id=ids[1])))
    services.traces.ingest_otlp(key, project.id, body(span({"user.id": "other", "input.value": PHONE}, trace_id=ids[2])))
    index_all(services.context)
    on_disk = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"zq.planted" not in on_disk
    assert b"611 222 333" not in on_disk
    reviewer = someone(Role.REVIEWER)
    with pytest.raises(NotAllowed):
        services.masking.reveal(someone(Role.ENGINEER), project.id, ids[0], reason="curious")
    with pytest.raises(InvalidInput):
        services.masking.reveal(reviewer, project.id, ids[0], reason="")
    seen = services.masking.reveal(reviewer, project.id, ids[0], reason="Complaint 12")
    assert [(one.placeholder, one.text) for one in seen] == [("<EMAIL_1>", SECRET), ("<PHONE_1>", PHONE)]
    with pytest.raises(NotAllowed):
        services.masking.forget_person(reviewer, project.id, SECRET, reason="Asked to")
    for reason in ("", f"{SECRET.title()} asked to", "Call 555 010 2030 or bob@x.com asked"):
        with pytest.raises(InvalidInput, match="reason"):
            services.masking.forget_person(admin, project.id, SECRET, reason=reason)
    with pytest.raises(NotAllowed):
        services.masking.forgetting(reviewer, project.id, SECRET)
    with pytest.raises(InvalidInput, match="No user id"):
        services.masking.forgetting(admin, project.id, " ")
    with services.context.database.session() as session:
        pseudonym = session.exec(select(Trace.user_id).where(Trace.trace_id == ids[0])).one()
    assert pseudonym is not None
    assert pseudonym.startswith("person-")
    found = services.masking.forgetting(admin, project.id, pseudonym)
    assert (found.keys, found.originals, found.traces) == (2, 3, 2)
    assert services.masking.forget_person(admin, project.id, f" {SECRET}", reason="Asked to") == found
    assert services.masking.forgetting(admin, project.id, SECRET).keys == 0
    with pytest.raises(NotFound):
        services.masking.forget_person(admin, project.id, SECRET, reason="Again")
    assert [one.text for one in services.masking.reveal(reviewer, project.id, ids[0], reason="Again")] == [None, None]
    assert [one.text for one in services.masking.reveal(reviewer, project.id, ids[1], reason="Again")] == [None]
    assert [one.text for one in services.masking.reveal(reviewer, project.id, ids[2], reason="Other")] == [PHONE]
    with services.context.database.session() as session:
        events = [str(one.model_dump()) for one in session.exec(select(TraceOutbox))]
    assert sum("original_seen" in one for one in events) == 4
    assert sum("person_forgotten" in one for one in events) == 1
    assert not any("zq.planted" in one or "611 222" in one for one in events if "original_seen" in one or "forgotten" in one)


def test_where_no_original_is_kept_there_is_nothing_to_see(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    trace_id = secrets.token_hex(16)
    services.traces.ingest_otlp(key, project.id, _said(SECRET, trace_id))
    with pytest.raises(NotFound):
        services.masking.reveal(someone(Role.REVIEWER), project.id, trace_id, reason="Complaint 12")


def test_forgetting_a_person_takes_feedback_about_their_sessions_along(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    admin = someone(Role.ADMIN)
    services.masking.set_policy(admin, project.id, MaskingPolicy(originals="kept encrypted"), reason="Fraud cases")
    named = {"user.id": "ana", "session.id": "talk-1"}
    services.traces.ingest_otlp(key, project.id, body(span(named)))
    told = {"session_id": "talk-1", "name": "said", "kind": "comment", "value": f"I am {SECRET}"}
    services.traces.add_feedback(key, project.id, **told)
    index_all(services.context)
    found = services.masking.forget_person(admin, project.id, "ana", reason="Request 17")
    assert (found.keys, found.originals) == (1, 1)
