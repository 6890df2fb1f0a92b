"""What happens to answers: revisions, undo, flags, idempotency."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlmodel import Session, col, select

from tests.annotation.factories import make_queue
from workbench.annotation.models import ItemState, QueueItem, Response, ResponseStatus, Standing
from workbench.annotation.queries import history, progress, submitted, submitted_since
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Actor, ActorKind, Grant, Role
from workbench.core.canonical import content_hash
from workbench.core.clock import now
from workbench.core.errors import Conflict, IntegrityError, InvalidInput
from workbench.core.recording import AuditOutbox
from workbench.core.settings import Settings
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

Someone = Callable[..., Actor]
GOOD = {"rating": 4, "triage": "cards", "rewrite": "Three euro [fees-1]."}


def test_drafts_of_one_sitting_are_one_row_and_a_submission_is_another(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    for text in ("T", "Th", "Thr"):
        services.annotation.save_draft(ana, item.id, {"rewrite": text}, seconds=3)
    services.annotation.submit(ana, item.id, GOOD, seconds=12.5)
    with services.context.database.session() as session:
        rows = history(session, item.id)
    assert [(row.revision, row.status) for row in rows] == [(1, "draft"), (2, "submitted")]
    assert rows[0].values == {"rewrite": "Thr"}
    assert rows[1].values == GOOD
    assert rows[1].seconds == 12.5


def test_undo_brings_the_item_back_with_its_values_and_keeps_the_history(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item, _second) = make_queue(services, project, 2)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    services.annotation.submit(ana, item.id, GOOD, seconds=7)
    services.annotation.lease_next(ana, queue.id)
    back = services.annotation.undo(ana, queue.id)
    assert back.item.id == item.id
    assert back.values == GOOD
    assert back.seconds == 7
    again = services.annotation.lease_next(ana, queue.id)
    assert again is not None
    assert again.item.id == item.id
    with services.context.database.session() as session:
        assert submitted(session, project.id) == []
        assert progress(session, [queue.id])[queue.id].done == 0
        assert [row.status for row in history(session, item.id)] == ["submitted", "withdrawn", "draft"]


@pytest.mark.parametrize("act", ["skip", "flag"])
def test_a_skip_or_flag_is_undone_too(services: Services, project: Project, someone: Someone, act: str) -> None:
    queue, (item, second) = make_queue(services, project, 2)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    if act == "skip":
        services.annotation.skip(ana, item.id, {"rating": 2})
    else:
        services.annotation.flag(ana, item.id, reason="Shows an address", values={"rating": 2})
    following = services.annotation.lease_next(ana, queue.id)
    assert following is not None
    assert following.item.id == second.id
    back = services.annotation.undo(ana, queue.id)
    assert (back.item.id, back.values, back.item.state) == (item.id, {"rating": 2}, "open")


def test_undo_goes_back_act_by_act_and_then_says_that_nothing_is_left(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, items = make_queue(services, project, 3)
    ana = someone(Role.ANNOTATOR)
    for _ in items:
        held = services.annotation.lease_next(ana, queue.id)
        assert held is not None
        services.annotation.submit(ana, held.item.id, {"rating": 3})
    undone = [services.annotation.undo(ana, queue.id).item.id for _ in items]
    assert undone == [item.id for item in reversed(items)]
    with pytest.raises(Conflict, match="nothing to undo"):
        services.annotation.undo(ana, queue.id)


def test_undo_never_takes_back_what_somebody_else_did(services: Services, project: Project, someone: Someone) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    services.annotation.submit(ana, item.id, GOOD)
    with pytest.raises(Conflict):
        services.annotation.undo(someone(Role.ANNOTATOR), queue.id)


def test_a_flag_sets_the_item_aside_for_everybody_until_it_is_resolved(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana, ben = someone(Role.ANNOTATOR), someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    with pytest.raises(InvalidInput, match="what is wrong"):
        services.annotation.flag(ana, item.id, reason=" ")
    services.annotation.flag(ana, item.id, reason="The trace is cut off")
    assert services.annotation.lease_next(ben, queue.id) is None
    engineer = someone(Role.ENGINEER)
    services.annotation.resolve_flag(engineer, item.id, reopen=True, reason="It is whole now")
    assert services.annotation.lease_next(ben, queue.id) is not None
    with pytest.raises(Conflict, match="not flagged"):
        services.annotation.resolve_flag(engineer, item.id, reopen=False, reason="again")


def test_the_same_command_twice_is_one_submission(services: Services, project: Project, someone: Someone) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    first, second = (services.annotation.submit(ana, item.id, GOOD, command_id="click-1") for _ in range(2))
    assert first.id == second.id
    with services.context.database.session() as session:
        assert len(history(session, item.id)) == 1
        events = session.exec(select(AuditOutbox).where(AuditOutbox.type == "annotation.response_submitted")).all()
        assert len(events) == 1


def test_a_required_question_must_be_answered_to_submit_but_not_to_save(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    services.annotation.save_draft(ana, item.id, {"triage": "cards"})
    with pytest.raises(InvalidInput, match="How good is the answer"):
        services.annotation.submit(ana, item.id, {"triage": "cards"})


@pytest.mark.parametrize(
    "values",
    [
        {"rating": 6},
        {"rating": 0},
        {"rating": True},
        {"rating": 2.5},
        {"rating": float("inf")},
        {"triage": "lottery"},
        {"rewrite": 7},
        {"rewrite": "x" * 20_001},
        {"flags": "wrong_fact"},
        {"flags": ["nonsense"]},
        {"mood": "good"},
        ["rating"],
    ],
)
def test_an_answer_that_is_none_is_refused_and_changes_nothing(
    services: Services, project: Project, someone: Someone, values: Any
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    with pytest.raises(InvalidInput):
        services.annotation.save_draft(ana, item.id, values)
    with services.context.database.session() as session:
        assert history(session, item.id) == []


def test_the_event_holds_a_commitment_to_the_answers_and_not_their_text(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    response = services.annotation.submit(ana, item.id, GOOD)
    with services.context.database.session() as session:
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "annotation.response_submitted")).one()
    assert "Three euro" not in str(event.details)
    assert event.details["commitment"] == content_hash({"salt": response.salt, "values": GOOD, "reason": ""})
    assert (event.details["rating"], event.details["triage"], event.actor_id) == (4, "cards", ana.id)


def test_consent_is_the_queues_unless_the_person_says_otherwise(services: Services, project: Project, someone: Someone) -> None:
    queue, (first, second) = make_queue(services, project, 2, consent_default=False)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    assert services.annotation.submit(ana, first.id, {"rating": 3}).consent is False
    services.annotation.lease_next(ana, queue.id)
    assert services.annotation.submit(ana, second.id, {"rating": 3}, consent=True).consent is True


def test_my_count_leaves_out_what_i_took_back(services: Services, project: Project, someone: Someone) -> None:
    queue, items = make_queue(services, project, 2)
    ana = someone(Role.ANNOTATOR)
    midnight = now().replace(hour=0, minute=0, second=0)
    for _ in items:
        held = services.annotation.lease_next(ana, queue.id)
        assert held is not None
        services.annotation.submit(ana, held.item.id, {"rating": 3})
    services.annotation.undo(ana, queue.id)
    with services.context.database.session() as session:
        assert submitted_since(session, project.id, ana.id, midnight) == 1


def test_the_database_layer_itself_refuses_to_change_or_delete_a_submission(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    response = services.annotation.submit(ana, item.id, GOOD)
    for change in ("values", "status", "delete"):
        with pytest.raises(IntegrityError), services.context.unit_of_work(ana) as work:
            row = work.get(Response, response.id)
            if change == "values":
                row.values = {"rating": 5}
            elif change == "status":
                row.status = ResponseStatus.DRAFT.value
            else:
                work.session.delete(row)
            work.session.flush()


PEOPLE = st.integers(0, 2)
VALUES = st.fixed_dictionaries({"rating": st.integers(1, 5)}, optional={"rewrite": st.text(min_size=1, max_size=8)})


class AppendOnly(RuleBasedStateMachine):
    """People act at random; nothing that was submitted, skipped, flagged or withdrawn ever changes."""

    items = Bundle("items")

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.services = bootstrap(settings=Settings(home=Path(self.folder.name)))
        self.services.context.database.create_all()
        self.fixed: dict[str, dict[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        self.project = self.services.identity.add_project(
            local_administrator(),
            key="bank",
            name="Bank",
            teams=[{"key": "cards", "name": "Cards"}, {"key": "loans", "name": "Loans"}],
        )
        self.queue, self.all_items = make_queue(self.services, self.project, 3, min_submitted=2)
        grants = frozenset({Grant(Role.ANNOTATOR, self.project.id)})
        self.people = [Actor(f"person-{n}", f"Person {n}", ActorKind.PERSON, grants) for n in range(3)]

    def teardown(self) -> None:
        self.services.context.database.dispose()
        self.folder.cleanup()

    @rule(person=PEOPLE, values=VALUES, act=st.sampled_from(["draft", "submit", "skip", "flag"]))
    def act(self, person: int, values: dict[str, Any], act: str) -> None:
        actor, annotation = self.people[person], self.services.annotation
        held = annotation.lease_next(actor, self.queue.id)
        if held is None:
            return
        if act == "draft":
            annotation.save_draft(actor, held.item.id, values)
        elif act == "submit":
            annotation.submit(actor, held.item.id, values)
        elif act == "skip":
            annotation.skip(actor, held.item.id, values)
        else:
            annotation.flag(actor, held.item.id, reason="odd", values=values)

    @rule(person=PEOPLE)
    def undo(self, person: int) -> None:
        with suppress(Conflict):
            self.services.annotation.undo(self.people[person], self.queue.id)

    @rule(reopen=st.booleans())
    def resolve(self, reopen: bool) -> None:
        with self._session() as session:
            found = session.exec(select(QueueItem).where(QueueItem.state == ItemState.FLAGGED.value)).first()
        if found is not None:
            self.services.annotation.resolve_flag(local_administrator(), found.id, reopen=reopen, reason="seen")

    def _session(self) -> Session:
        return Session(self.services.context.database.reading)

    @invariant()
    def finished_revisions_never_change_and_none_is_missing(self) -> None:
        if not hasattr(self, "queue"):
            return
        with self._session() as session:
            rows = {row.id: row.model_dump() for row in session.exec(select(Response))}
            for key, row in self.fixed.items():
                assert rows[key] == row
            self.fixed |= {key: row for key, row in rows.items() if row["status"] != ResponseStatus.DRAFT}
            series: dict[tuple[str, str], list[int]] = {}
            for row in sorted(rows.values(), key=lambda row: row["revision"]):
                series.setdefault((row["item_id"], row["person_id"]), []).append(row["revision"])
            assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in series.values())

    @invariant()
    def counts_are_what_the_history_says(self) -> None:
        if not hasattr(self, "queue"):
            return
        with self._session() as session:
            for item in session.exec(select(QueueItem)):
                standings = session.exec(select(Standing).where(Standing.item_id == item.id)).all()
                latest = []
                for standing in standings:
                    acts = session.exec(
                        select(Response)
                        .where(Response.item_id == item.id, Response.person_id == standing.person_id)
                        .where(Response.status != ResponseStatus.DRAFT.value)
                        .order_by(col(Response.revision).desc())
                    ).first()
                    latest.append(acts.status if acts else None)
                assert item.submitted_count == latest.count("submitted")
                if item.state == ItemState.DONE:
                    assert item.submitted_count >= item.min_submitted
                if item.state == ItemState.OPEN:
                    assert item.submitted_count < item.min_submitted


TestAppendOnly = AppendOnly.TestCase
TestAppendOnly.settings = settings(
    max_examples=6, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
