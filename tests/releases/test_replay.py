"""Replaying a trace: who may, what is recorded, what answers, and that nothing of it is kept."""

import time
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import func, select

from tests.annotation.factories import make_trace
from tests.releases.factories import Bank
from tests.serving.fakes import FakeRuntime
from workbench.core.actors import Role
from workbench.core.errors import InvalidInput, NotAllowed, NotFound, Unavailable
from workbench.core.recording import AuditOutbox
from workbench.knowledge.content import EntryContent
from workbench.serving.answer import AnswerService
from workbench.serving.configuration import Routing
from workbench.traces.models import Trace
from workbench.traces.queries import get_trace
from workbench.ui import replay_run
from workbench.ui.replay_run import Run
from workbench.workflows.replay import LIVE, THEN, answer_arm, begin_replay, conversation_of, replay_arms

QUESTION = "What does a late FlexPay payment cost?"
FEE = EntryContent(title="FlexPay late fee", text="A late FlexPay payment costs 5 dollars. It can be waived once.")


class House:
    """A bank with a live release, an entry and a trace."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.release = bank.release_first(routing=Routing(minimum_score=0.3), triage_adapter=bank.add_adapter("triage"))
        self.expert = bank.person("Eve Expert", Role.EXPERT)
        self.made = bank.services.knowledge.create(self.expert, bank.project.id, key="late-fee", content=FEE)
        assert self.made.commit is not None
        self.trace_id = self.trace(
            1, release=self.release.title, corpus_commit=self.made.commit.id,
            documents=[{"id": "late-fee", "version": self.made.version.id, "content": FEE.text}],
        )  # fmt: skip
        self.runtime = FakeRuntime(bank.services.context.database, lambda prompt: "It costs 7 dollars [late-fee].")
        self.runtime.base = bank.base
        self.service = AnswerService(bank.services.context, self.runtime)

    def trace(self, number: int, **fields: Any) -> str:
        values = {"session_id": "s", "input": QUESTION, "output": "It costs 5 dollars [late-fee].", **fields}
        return make_trace(self.bank.services, self.bank.project, number, **values)

    def begin(self, *arms: str, trace_id: str | None = None, actor: Any = None, command_id: str | None = None) -> Any:
        return begin_replay(
            self.bank.services.context, actor or self.expert, self.bank.project.id, trace_id or self.trace_id, list(arms),
            command_id=command_id,
        )  # fmt: skip

    def events(self) -> list[AuditOutbox]:
        with self.bank.services.context.database.session() as session:
            return list(session.exec(select(AuditOutbox).where(AuditOutbox.type == "traces.replayed")))

    def traces(self) -> int:
        with self.bank.services.context.database.session() as session:
            return session.exec(select(func.count()).select_from(Trace)).one()


@pytest.fixture
def house(bank: Bank) -> House:
    return House(bank)


def test_a_replay_by_what_is_live_uses_the_knowledge_of_now_and_by_then_that_of_then(house: House) -> None:
    content = replace(FEE, text="A late FlexPay payment costs 7 dollars.")
    house.bank.services.knowledge.edit(
        house.expert, house.made.entry.id, base_version_id=house.made.version.id, content=content
    )
    replay = house.begin(LIVE, THEN)
    now, then = (answer_arm(house.service, replay, arm, lambda pieces: True) for arm in replay.arms)
    assert now is not None
    assert then is not None
    assert [passage.version.number for passage in now.answer.passages] == [2]
    assert [passage.version.id for passage in then.answer.passages] == [house.made.version.id]
    assert now.answer.text == "It costs 7 dollars [late-fee]."
    assert now.triage is not None
    assert now.triage.label == "loans"


def test_the_act_is_recorded_by_ids_and_hashes_and_leaves_no_trace(house: House) -> None:
    before = house.traces()
    replay = house.begin(LIVE, command_id="once")
    answer_arm(house.service, replay, replay.arms[0], lambda pieces: True)
    assert house.begin(LIVE, command_id="once").event_id is None
    (event,) = house.events()
    assert event.id == replay.event_id
    written = str(event.model_dump())
    assert house.trace_id in written
    assert house.release.id in written
    assert "FlexPay" not in written
    assert "dollars" not in written
    assert house.traces() == before


def test_only_those_who_may_can_replay_and_a_refusal_asks_nothing(house: House) -> None:
    with pytest.raises(NotAllowed, match="replay a trace"):
        house.begin(LIVE, actor=house.bank.person("Ann Annotator", Role.ANNOTATOR))
    with pytest.raises(InvalidInput, match="Choose one or 2"):
        house.begin()
    with pytest.raises(NotFound, match="cannot answer any more"):
        house.begin("release:nothing")
    with pytest.raises(InvalidInput, match="no question"):
        house.begin(LIVE, trace_id=house.trace(2, input=" "))
    assert house.events() == []
    assert house.runtime.calls == 0


def test_a_proposal_an_adapter_and_a_prompt_can_answer_and_a_tampered_release_cannot(house: House) -> None:
    bank = house.bank
    adapter = bank.add_adapter("generator")
    prompt = bank.add_prompt("Answer briefly.")
    proposal = bank.propose(replace(bank.live(), prompt_version=prompt), despite="A try.")

    def keys() -> set[str]:
        with bank.services.context.database.session() as session:
            trace = get_trace(session, bank.project.id, house.trace_id)
            return {arm.key for arm in replay_arms(bank.services.context, session, trace)}

    assert {LIVE, THEN, f"release:{proposal.id}", f"adapter:{adapter}", f"prompt:{prompt}"} <= keys()
    bank.edit("UPDATE release SET name = 'Another' WHERE id = :id", id=proposal.id)
    assert f"release:{proposal.id}" not in keys()


def test_the_question_is_asked_with_the_turns_before_it(house: House) -> None:
    later = house.trace(3, input="And twice?", output="Then 10.")
    house.trace(4, input="Thanks", output="Welcome")
    alone = house.trace(
        5, session_id=None, input="Again?",
        messages=[{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}, {"role": "user", "content": "Again?"}],
    )  # fmt: skip
    with house.bank.services.context.database.session() as session:
        asked = [
            [message["content"] for message in conversation_of(session, get_trace(session, house.bank.project.id, one))]
            for one in (later, alone)
        ]
    assert asked == [[QUESTION, "It costs 5 dollars [late-fee].", "And twice?"], ["Hi", "Again?"]]


def _run_to_its_end(house: House, run: Run) -> Run:
    run.start(house.service)
    deadline = time.monotonic() + 10
    while not run.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.ended
    return run


def test_a_run_that_nobody_looks_at_any_more_stops_the_model(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_run, "LEFT_AFTER", -1.0)
    run = _run_to_its_end(house, Run(house.begin(LIVE)))
    assert (run.cancelled, run.done, run.error) == (True, [], None)


def test_a_run_says_when_the_runtime_is_away_and_keeps_what_was_answered_before(house: House) -> None:
    class Away(FakeRuntime):
        def stream(self, prompt: Any, *, adapter: str | None = None) -> Any:
            raise Unavailable("The runtime does not answer.", todo="Try again shortly.")

    house.service.runtime = Away(house.bank.services.context.database)
    house.service.runtime.base = house.bank.base
    run = _run_to_its_end(house, Run(house.begin(LIVE, THEN)))
    assert isinstance(run.error, Unavailable)
    assert run.done == []
