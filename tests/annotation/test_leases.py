"""Who gets which item."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlmodel import select

from tests.annotation.factories import make_queue, make_trace
from workbench.annotation import leases
from workbench.annotation.models import QueueItem
from workbench.annotation.queries import working_now
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Role
from workbench.core.clock import now
from workbench.core.errors import Conflict, NotAllowed
from workbench.core.recording import AuditOutbox
from workbench.identity.models import Project
from workbench.identity.service import local_administrator

Someone = Callable[..., Actor]


def test_people_who_ask_at_the_same_moment_all_get_different_items(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, _items = make_queue(services, project, 40)
    people = [someone(Role.ANNOTATOR, name=f"Person {number}") for number in range(8)]
    together = Barrier(len(people))

    def work_through(person: Actor) -> list[str]:
        together.wait()
        taken = []
        while (held := services.annotation.lease_next(person, queue.id)) is not None:
            taken.append(held.item.id)
            services.annotation.submit(person, held.item.id, {"rating": 3})
        return taken

    with ThreadPoolExecutor(len(people)) as pool:
        taken = [item for part in pool.map(work_through, people) for item in part]
    assert len(taken) == len(set(taken)) == 40


def test_an_item_that_needs_two_people_goes_to_two_different_ones_in_turn(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, (item,) = make_queue(services, project, 1, min_submitted=2)
    ana, ben, eve = (someone(Role.ANNOTATOR, name=name) for name in ("Ana", "Ben", "Eve"))
    first = services.annotation.lease_next(ana, queue.id)
    assert first is not None
    assert services.annotation.lease_next(ben, queue.id) is None
    services.annotation.submit(ana, item.id, {"rating": 3})
    assert services.annotation.lease_next(ana, queue.id) is None
    second = services.annotation.lease_next(ben, queue.id)
    assert second is not None
    services.annotation.submit(ben, item.id, {"rating": 4})
    assert services.annotation.lease_next(eve, queue.id) is None


def test_asking_again_returns_the_item_in_hand(services: Services, project: Project, someone: Someone) -> None:
    queue, _items = make_queue(services, project, 3)
    ana = someone(Role.ANNOTATOR)
    first, second = (services.annotation.lease_next(ana, queue.id) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.item.id == second.item.id


def test_a_silent_holder_loses_the_item_but_not_the_draft(
    services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana, ben = someone(Role.ANNOTATOR, name="Ana"), someone(Role.ANNOTATOR, name="Ben")
    services.annotation.lease_next(ana, queue.id)
    services.annotation.save_draft(ana, item.id, {"rewrite": "Half a sent"})
    later = now() + leases.LEASE + timedelta(seconds=1)
    monkeypatch.setattr(leases, "now", lambda: later)
    taken = services.annotation.lease_next(ben, queue.id)
    assert taken is not None
    assert taken.item.id == item.id
    assert services.annotation.lease_next(ana, queue.id) is None
    services.annotation.release(ben, item.id)
    back = services.annotation.lease_next(ana, queue.id)
    assert back is not None
    assert back.values == {"rewrite": "Half a sent"}


def test_saving_renews_the_lease(services: Services, project: Project, someone: Someone) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana = someone(Role.ANNOTATOR)
    services.annotation.lease_next(ana, queue.id)
    with services.context.database.session() as session:
        before = session.exec(select(QueueItem.lease_until)).one()
    services.annotation.save_draft(ana, item.id, {"rating": 2})
    with services.context.database.session() as session:
        after = session.exec(select(QueueItem.lease_until)).one()
    assert before is not None
    assert after is not None
    assert after > before


def test_a_late_submission_still_counts_and_says_so(
    services: Services, project: Project, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, (item,) = make_queue(services, project, 1)
    ana, ben = someone(Role.ANNOTATOR, name="Ana"), someone(Role.ANNOTATOR, name="Ben")
    services.annotation.lease_next(ana, queue.id)
    with monkeypatch.context() as patch:
        patch.setattr(leases, "now", lambda: now() + leases.LEASE + timedelta(seconds=1))
        services.annotation.lease_next(ben, queue.id)
    services.annotation.submit(ana, item.id, {"rating": 1})
    with services.context.database.session() as session:
        event = session.exec(select(AuditOutbox).where(AuditOutbox.type == "annotation.response_submitted")).one()
    assert event.details["after_lease"] is True


def test_higher_priority_comes_first_then_the_order_of_the_queue(
    services: Services, project: Project, someone: Someone
) -> None:
    queue, _items = make_queue(services, project, 2)
    urgent = make_trace(services, project, 9)
    services.annotation.add_items(local_administrator(), queue.id, [urgent], priority=5)
    ana = someone(Role.ANNOTATOR)
    order = []
    while (held := services.annotation.lease_next(ana, queue.id)) is not None:
        order.append(held.item.trace_id)
        services.annotation.skip(ana, held.item.id)
    assert order == [urgent, f"{1:032x}", f"{2:032x}"]


def test_nobody_touches_an_item_that_was_never_in_their_hands(services: Services, project: Project, someone: Someone) -> None:
    queue, (item,) = make_queue(services, project, 1)
    with pytest.raises(Conflict, match="never in your hands"):
        services.annotation.submit(someone(Role.ANNOTATOR), item.id, {"rating": 3})
    services.annotation.lease_next(someone(Role.ANNOTATOR, name="Ana"), queue.id)
    with pytest.raises(Conflict, match="Ana works on this item"):
        services.annotation.lease_item(someone(Role.ANNOTATOR, name="Ben"), item.id)


def test_only_annotators_and_experts_take_items(services: Services, project: Project, someone: Someone) -> None:
    queue, _items = make_queue(services, project, 1)
    for role in (Role.AUDITOR, Role.ENGINEER, Role.OPERATOR):
        with pytest.raises(NotAllowed):
            services.annotation.lease_next(someone(role), queue.id)
    assert services.annotation.lease_next(someone(Role.EXPERT), queue.id) is not None


def test_a_closed_queue_hands_out_nothing(services: Services, project: Project, someone: Someone) -> None:
    queue, _items = make_queue(services, project, 1)
    services.annotation.close_queue(local_administrator(), queue.id, reason="done")
    with pytest.raises(Conflict, match="closed"):
        services.annotation.lease_next(someone(Role.ANNOTATOR), queue.id)


def test_the_queue_shows_who_works_now(services: Services, project: Project, someone: Someone) -> None:
    queue, _items = make_queue(services, project, 2)
    ana = someone(Role.ANNOTATOR, name="Ana")
    services.annotation.lease_next(ana, queue.id)
    with services.context.database.session() as session:
        assert working_now(session, queue.id) == {ana.id: "Ana"}
