"""Spans are taken in by a process of its own: messages, and what a sender sees when that process dies."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import func, select

from tests.traces.factories import protobuf, request, span
from workbench.api.frames import Unpacker, packed
from workbench.api.intake import InProcess, Packet, Receipt, head_of, packet_of, store
from workbench.bootstrap import Services
from workbench.core.actors import Actor, ActorKind, Permission
from workbench.identity.models import Project
from workbench.traces.models import Span


@given(bodies=st.lists(st.binary(max_size=200), max_size=6), cut=st.integers(1, 50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(bodies: list[bytes], cut: int) -> None:
    stream = b"".join(packed({"number": number}, len(body)) + body for number, body in enumerate(bodies))
    messages = Unpacker()
    found = [message for at in range(0, len(stream), cut) for message in messages.feed(stream[at : at + cut])]
    assert found == [({"number": number}, body) for number, body in enumerate(bodies)]


def test_a_packet_survives_its_way_through_a_message(project: Project) -> None:
    packet = _packet(project, b"\x00\xff")
    ((head, body),) = Unpacker().feed(packed(head_of(packet, 7), len(packet.body)) + packet.body)
    assert head["number"] == 7
    assert packet_of(head, body) == packet


def test_one_bad_request_among_others_keeps_nobody_from_being_stored(services: Services, project: Project) -> None:
    packets = [_packet(project, _body(2)), _packet(project, b"no protobuf"), _packet(project, _body(3))]
    receipts = store(services, packets)
    assert [receipt.status for receipt in receipts] == [200, 400, 200]
    assert [receipt.new for receipt in receipts] == [2, 0, 3]
    assert _count(services) == 5


def test_requests_at_the_same_time_are_all_stored_by_the_other_process(services: Services, project: Project) -> None:
    async def act(intake: InProcess) -> list[Receipt]:
        await _until_there(intake)
        return await asyncio.gather(*(intake.take(_packet(project, _body(4))) for _ in range(20)))

    receipts = _run(services, act)
    assert {receipt.status for receipt in receipts} == {200}
    assert _count(services) == sum(receipt.new for receipt in receipts) == 80


def test_requests_are_stored_while_the_other_process_starts(services: Services, project: Project) -> None:
    async def act(intake: InProcess) -> list[Receipt]:
        assert not intake.is_there
        return [await intake.take(_packet(project, _body(2)))]

    assert _run(services, act) == [Receipt(200, new=2)]


def test_after_its_death_senders_are_told_to_send_again_and_then_it_works(services: Services, project: Project) -> None:
    async def act(intake: InProcess) -> list[Receipt]:
        await _until_there(intake)
        first = await intake.take(_packet(project, _body(1)))
        assert intake.process_id is not None
        os.kill(intake.process_id, signal.SIGSTOP)  # so that it certainly has not answered when it dies
        waiting = asyncio.create_task(intake.take(_packet(project, _body(1))))
        await asyncio.sleep(0.1)
        os.kill(intake.process_id, signal.SIGKILL)
        return [first, await waiting, await intake.take(_packet(project, _body(1)))]

    receipts = _run(services, act)
    assert [receipt.status for receipt in receipts] == [200, 503, 200]
    assert "again" in receipts[1].message


async def _until_there(intake: InProcess) -> None:
    async with asyncio.timeout(60):
        while not intake.is_there:
            await asyncio.sleep(0.02)


def _run(services: Services, act: Callable[[InProcess], Awaitable[list[Receipt]]]) -> list[Receipt]:
    async def whole() -> list[Receipt]:
        intake = InProcess(services)
        async with intake.running():
            return await act(intake)

    return asyncio.run(whole())


def _body(spans: int) -> bytes:
    return protobuf(request(*(span({"input.value": f"question {number}"}) for number in range(spans))))


def _packet(project: Project, body: bytes) -> Packet:
    sender = Actor(
        "key:1", "key sender", ActorKind.KEY, permissions=frozenset({Permission.INGEST_TRACES}), project_id=project.id
    )
    return Packet(sender, project.id, body, "", "application/x-protobuf")


def _count(services: Services) -> int:
    with services.context.database.session() as session:
        return session.exec(select(func.count()).select_from(Span)).one()
