"""Acts on many traces: what they take, what they leave, how they go on after a kill, and what an undo takes back."""

import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlmodel import Session, col, select

from tests.traces.factories import request, span
from workbench.annotation.models import Queue, QueueItem
from workbench.annotation.schema import Question
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, InvalidInput, NotAllowed
from workbench.core.jobs import Job, JobState, LostLease
from workbench.core.recording import AuditOutbox
from workbench.identity.models import Project
from workbench.identity.service import local_administrator
from workbench.traces import queries, tagging
from workbench.traces.act_models import ActState, TraceAct
from workbench.traces.hits import Hits, all_hits, chosen, filter_as_json, filter_from_json, hash_of
from workbench.traces.indexer import index_all
from workbench.traces.models import TraceTag
from workbench.traces.queries import TraceFilter
from workbench.worker import run
from workbench.worker.job_run import JobRun
from workbench.worker.run import WORKER
from workbench.workflows import bulk, bulk_run
from workbench.workflows.bulk_work import get_act

MANY = 40


def fill(services: Services, project: Project, key: Actor, count: int, **values: Any) -> list[str]:
    """Traces of one span each, the newest first."""
    moment = int((now() - timedelta(hours=2)).timestamp() * 1e9)
    ids = [secrets.token_hex(16) for _ in range(count)]
    spans = [
        span(
            {"workbench.input": f"Question {number}?", "workbench.output": "Answer.", "workbench.language": "es", **values},
            trace_id=one,
            start=moment + number * 1000,
        )
        for number, one in enumerate(ids)
    ]
    services.traces.ingest_otlp(key, project.id, request(*spans))
    index_all(services.context)
    return ids[::-1]


def hits(services: Services, project: Project, **filters: Any) -> Hits:
    with services.context.database.session() as session:
        return all_hits(session, project.id, TraceFilter(**filters))


def queue(services: Services, project: Project) -> Queue:
    asked = [
        Question.from_json(
            {"name": "triage", "kind": "label", "title": "Team", "options": [{"value": "cards", "title": "Cards"}] * 1
             + [{"value": "loans", "title": "Loans"}]}
        )
    ]  # fmt: skip
    return services.annotation.create_queue(local_administrator(), project.id, name="Q", questions=asked)


def tagged(services: Services, project: Project, tag: str) -> list[str]:
    with services.context.database.session() as session:
        return queries.trace_ids(session, project.id, TraceFilter(tag=(tag,)))


def events(services: Services, kind: str) -> list[AuditOutbox]:
    with services.context.database.session() as session:
        return list(session.exec(select(AuditOutbox).where(AuditOutbox.type == kind).order_by(col(AuditOutbox.id))))


def act_of(services: Services, act_id: str) -> TraceAct:
    with services.context.database.session() as session:
        return get_act(session, act_id)


def attempt(services: Services) -> JobRun:
    """Claim the only waiting job and carry it out in this process, as the worker's subprocess does."""
    job = services.jobs.claim(WORKER, "test worker", ["trace_act", "trace_undo"])
    assert job is not None
    made = JobRun(services, WORKER, job, os.getpid())
    made.start()
    try:
        run._attempt(made)
    finally:
        made.stop()
    return made


def job_state(services: Services, job_id: str | None) -> JobState:
    with services.context.database.session() as session:
        job = session.get(Job, job_id)
    assert job is not None
    return job.status


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is a job of small batches."""
    monkeypatch.setattr(bulk, "AT_ONCE", 5)
    monkeypatch.setattr(bulk_run, "BATCH", 10)


def test_a_few_traces_are_tagged_at_once_and_the_undo_takes_off_just_those(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    ids, expert = fill(services, project, key, 6), someone(Role.EXPERT)
    services.traces.tag(expert, project.id, ids[:2], "mine")
    preview = services.bulk.preview(expert, project.id, "tag", {"tag": " mine "}, hits(services, project))
    assert (preview.total, preview.skipped, preview.changes) == (6, {"tagged so already": 2}, 4)
    assert preview.examples == tuple(ids[:3])
    act = services.bulk.begin(expert, project.id, "tag", {"tag": "mine"}, hits(services, project), command_id="c")
    again = services.bulk.begin(expert, project.id, "tag", {"tag": "mine"}, hits(services, project), command_id="c")
    assert again.id == act.id
    assert (act.state, act.changed, act.skipped, act.job_id) == (ActState.DONE, 4, {"tagged so already": 2}, None)
    assert tagged(services, project, "mine") == ids
    with services.context.database.session() as session:
        assert queries.get_trace(session, project.id, ids[5]).tags == ["mine"]
    # Somebody takes one off and puts it back: that one is theirs, and stays.
    services.traces.untag(expert, project.id, [ids[5]], "mine")
    services.traces.tag(expert, project.id, [ids[5]], "mine")
    undone = services.bulk.undo(expert, act.id, command_id="u")
    assert services.bulk.undo(expert, act.id, command_id="u").state == ActState.UNDONE
    assert (undone.state, undone.undo["taken"]) == (ActState.UNDONE, 3)
    assert tagged(services, project, "mine") == [*ids[:2], ids[5]]
    index_all(services.context)
    with services.context.database.session() as session:
        assert queries.get_trace(session, project.id, ids[4]).tags == []
    with pytest.raises(Conflict, match="undone already"):
        services.bulk.undo(expert, act.id)


def test_an_act_is_one_record_with_filter_count_and_hash_and_no_words(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    ids, engineer = fill(services, project, key, 3), someone(Role.ENGINEER)
    about = hits(services, project, text="Question", language=("es",))
    act = services.bulk.begin(engineer, project.id, "tag", {"tag": "t"}, about)
    services.bulk.undo(engineer, act.id)
    (begun,), (undone,) = events(services, "traces.bulk_begun"), events(services, "traces.bulk_undone")
    assert (begun.actor_id, begun.subject_id) == (engineer.id, act.id)
    assert (begun.details["count"], begun.details["ids_hash"]) == (3, hash_of(ids))
    assert begun.details["filter"]["language"] == ["es"]
    assert begun.details["filter"]["text"].startswith("sha256:")
    assert undone.details["act_event"] == begun.id
    every = [row.details for kind in ("traces.bulk_begun", "traces.bulk_ended", "traces.bulk_undone")
             for row in events(services, kind)]  # fmt: skip
    assert "Question" not in str(every)


def test_many_traces_are_a_job_that_goes_on_where_it_was_killed(
    services: Services, project: Project, key: Actor, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, admin = fill(services, project, key, MANY), local_administrator()
    act = services.bulk.begin(admin, project.id, "tag", {"tag": "bulk"}, hits(services, project))
    assert (act.state, tagged(services, project, "bulk")) == (ActState.RUNNING, [])
    fill(services, project, key, 3)  # arrived after the click
    real, calls = tagging.put, 0

    def dying(*given: Any, **named: Any) -> Any:
        nonlocal calls
        found, calls = real(*given, **named), calls + 1
        if calls == 3:
            raise KeyboardInterrupt  # as abrupt as a kill: the batch rolls back, nothing is written any more
        return found

    monkeypatch.setattr(tagging, "put", dying)
    with pytest.raises(KeyboardInterrupt):
        attempt(services)
    assert len(tagged(services, project, "bulk")) == 20
    with Session(services.context.database.writing) as session, session.begin():
        job = session.get(Job, act.job_id)
        assert job is not None
        job.lease_until = now() - timedelta(seconds=1)
    monkeypatch.setattr(tagging, "put", real)
    attempt(services)
    ended = act_of(services, act.id)
    assert (ended.state, ended.done, ended.changed, ended.skipped) == (ActState.DONE, MANY, MANY, {})
    assert tagged(services, project, "bulk") == ids
    assert job_state(services, act.job_id) == JobState.SUCCEEDED
    undoing = services.bulk.undo(admin, act.id)
    assert undoing.state == ActState.UNDOING
    with pytest.raises(Conflict, match="being undone"):
        services.bulk.undo(admin, act.id)
    attempt(services)
    undone = act_of(services, act.id)
    assert (undone.state, undone.undo["taken"], undone.undo["stayed"]) == (ActState.UNDONE, MANY, 0)
    assert tagged(services, project, "bulk") == []


def test_a_cancelled_act_keeps_what_it_did_and_says_how_much(
    services: Services, project: Project, key: Actor, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(services, project, key, MANY)
    admin = local_administrator()
    act = services.bulk.begin(admin, project.id, "tag", {"tag": "bulk"}, hits(services, project))
    with pytest.raises(Conflict, match="still going on"):
        services.bulk.undo(admin, act.id)
    real = bulk_run.BulkRun.advance
    held: list[JobRun] = []

    def asked(self: Any, work: Any, done: int, gone: int) -> None:
        real(self, work, done, gone)
        if done == 20:
            held[0].cancelled.set()

    monkeypatch.setattr(bulk_run.BulkRun, "advance", asked)
    job = services.jobs.claim(WORKER, "w", ["trace_act"])
    assert job is not None
    held.append(JobRun(services, WORKER, job, os.getpid()))
    held[0].start()
    run._attempt(held[0])
    held[0].stop()
    ended = act_of(services, act.id)
    assert (ended.state, ended.done, ended.changed) == (ActState.STOPPED, 20, 20)
    assert job_state(services, act.job_id) == JobState.CANCELLED
    assert len(tagged(services, project, "bulk")) == 20


def test_an_attempt_that_lost_its_lease_changes_nothing(services: Services, project: Project, key: Actor, small: None) -> None:
    fill(services, project, key, MANY)
    act = services.bulk.begin(local_administrator(), project.id, "tag", {"tag": "bulk"}, hits(services, project))
    job = services.jobs.claim(WORKER, "first", ["trace_act"])
    assert job is not None
    late = JobRun(services, WORKER, job, os.getpid())
    with Session(services.context.database.writing) as session, session.begin():
        row = session.get(Job, job.id)
        assert row is not None
        row.lease_until = now() - timedelta(seconds=1)
    attempt(services)
    services.bulk.undo(local_administrator(), act.id)
    attempt(services)
    with Session(services.context.database.writing) as session, session.begin():
        again = session.get(TraceAct, act.id)
        assert again is not None
        again.state = ActState.RUNNING.value  # what the late one still believes
    with pytest.raises(LostLease):
        from workbench.worker.kinds import trace_act

        trace_act(late)
    assert tagged(services, project, "bulk") == []


def test_sending_skips_what_is_there_and_the_undo_leaves_what_people_have_begun(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor], small: None
) -> None:
    ids, admin = fill(services, project, key, MANY, **{"workbench.triage.label": "cards"}), local_administrator()
    waiting = queue(services, project)
    services.annotation.add_items(admin, waiting.id, ids[:3])
    about = hits(services, project)
    preview = services.bulk.preview(admin, project.id, "send", {"queue_id": waiting.id}, about)
    assert (preview.total, preview.skipped) == (MANY, {"in the queue already": 3})
    act = services.bulk.begin(admin, project.id, "send", {"queue_id": waiting.id}, about)
    attempt(services)
    ended = act_of(services, act.id)
    assert (ended.changed, ended.skipped) == (MANY - 3, {"in the queue already": 3})
    annotator = someone(Role.ANNOTATOR)
    with services.context.database.session() as session:
        items = session.exec(select(QueueItem).where(QueueItem.queue_id == waiting.id).order_by(col(QueueItem.position))).all()
    assert [item.trace_id for item in items] == ids
    services.annotation.lease_item(annotator, items[5].id)
    services.annotation.release(annotator, items[5].id)
    services.annotation.suggest(annotator, items[6].id, question="triage", value="loans", agent="Eve", kind="person")
    services.bulk.undo(admin, act.id)
    attempt(services)
    undone = act_of(services, act.id)
    assert (undone.undo["taken"], undone.undo["stayed"]) == (MANY - 5, 2)
    assert "2" in undone.undo["why"]
    with services.context.database.session() as session:
        left = session.exec(select(QueueItem.trace_id).where(QueueItem.queue_id == waiting.id)).all()
    assert set(left) == {*ids[:3], ids[5], ids[6]}


def test_an_undo_that_comes_too_late_is_refused_with_the_reason(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    fill(services, project, key, 2)
    admin, annotator, waiting = local_administrator(), someone(Role.ANNOTATOR), queue(services, project)
    act = services.bulk.begin(admin, project.id, "send", {"queue_id": waiting.id}, hits(services, project))
    with services.context.database.session() as session:
        items = session.exec(select(QueueItem)).all()
    for item in items:
        services.annotation.lease_item(annotator, item.id)
    with pytest.raises(Conflict, match="People have begun 2"):
        services.bulk.undo(admin, act.id)
    assert act_of(services, act.id).state == ActState.DONE


def test_untagging_leaves_tags_that_came_with_the_trace_and_can_be_undone(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    sent = fill(services, project, key, 2, **{"workbench.tags": ["look"]})
    ids, expert = fill(services, project, key, 3), someone(Role.EXPERT)
    first = services.bulk.begin(expert, project.id, "tag", {"tag": "look"}, chosen(ids))
    preview = services.bulk.preview(expert, project.id, "untag", {"tag": "look"}, hits(services, project))
    assert (preview.total, preview.skipped) == (5, {"came with the tag": 2})
    act = services.bulk.begin(expert, project.id, "untag", {"tag": "look"}, hits(services, project, tag=("look",)))
    assert (act.changed, set(tagged(services, project, "look"))) == (3, set(sent))
    with pytest.raises(Conflict, match="taken the tag off"):
        services.bulk.undo(expert, first.id)
    services.bulk.undo(expert, act.id)
    assert set(tagged(services, project, "look")) == {*sent, *ids}
    with services.context.database.session() as session:
        assert {row.act_id for row in session.exec(select(TraceTag).where(col(TraceTag.trace_id).in_(ids)))} == {first.id}
    services.bulk.undo(expert, first.id)
    assert set(tagged(services, project, "look")) == set(sent)


def test_only_those_who_may_act_on_one_trace_may_act_on_many(
    services: Services, project: Project, key: Actor, someone: Callable[..., Actor]
) -> None:
    fill(services, project, key, 1)
    about, waiting = hits(services, project), queue(services, project)
    with pytest.raises(NotAllowed):
        services.bulk.begin(someone(Role.AUDITOR), project.id, "tag", {"tag": "t"}, about)
    with pytest.raises(NotAllowed):
        services.bulk.begin(someone(Role.EXPERT), project.id, "send", {"queue_id": waiting.id}, about)
    act = services.bulk.begin(local_administrator(), project.id, "tag", {"tag": "t"}, about)
    with pytest.raises(NotAllowed):
        services.bulk.undo(someone(Role.ANNOTATOR), act.id)
    with pytest.raises(InvalidInput, match="No trace"):
        services.bulk.begin(
            local_administrator(), project.id, "tag", {"tag": "t"}, hits(services, project, text="no such words")
        )
    with pytest.raises(InvalidInput):
        services.bulk.preview(local_administrator(), project.id, "tag", {"tag": "x" * 61}, about)


@settings(max_examples=30)
@given(
    st.builds(
        TraceFilter,
        since=st.none() | st.datetimes(timezones=st.just(now().tzinfo)),
        text=st.text(max_size=5),
        model=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        rating_max=st.none() | st.floats(1, 5),
        has_feedback=st.none() | st.booleans(),
        user=st.none() | st.text(max_size=5),
    ),
    st.integers(0, 10),
)
def test_a_set_of_hits_is_read_as_it_was_written(filters: TraceFilter, up_to: int) -> None:
    assert filter_from_json(filter_as_json(filters)) == filters
    assert Hits.from_json(Hits(filters, up_to).as_json()) == Hits(filters, up_to)
