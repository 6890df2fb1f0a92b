"""Where the receiver hands a request's spans to: threads of its own process, or a process that does nothing else.

The api has the second. Decoding, masking and storing a hundred spans is ten to twenty milliseconds of the interpreter, for
which every other answer of the process, the gateway's too, would have to wait.
"""

import asyncio
import logging
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from anyio import CapacityLimiter, to_thread
from sqlalchemy.exc import SQLAlchemyError

from workbench.api import children
from workbench.api.bodies import unpack
from workbench.api.frames import Unpacker, packed
from workbench.bootstrap import Services
from workbench.core.actors import Actor, ActorKind, Permission
from workbench.core.errors import InvalidInput, Unavailable, WorkbenchError
from workbench.traces.service import Delivery, IngestReport

try:
    import fcntl
except ImportError:  # Windows: its pipes have the size they have
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MAX_BODY = 64 << 20
"""Bytes, after unpacking too."""

HELLO = {"number": 0}
"""The first message of the process that takes spans in."""

_THREADS = 6
_PIPE_BYTES = 1 << 20
_NOT_STORED = "The spans could not be stored. Send them again."


@dataclass(frozen=True, slots=True)
class Packet:
    """A request as it came over the wire, its sender known."""

    actor: Actor
    project_id: str
    body: bytes
    encoding: str
    """Its Content-Encoding."""
    content_type: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a packet, in terms of OTLP's answer."""

    status: int = 200
    new: int = 0
    rejected: int = 0
    message: str = ""
    """What to tell the sender about rejected spans, or about the failure."""


class Intake(Protocol):
    """Stores what senders send."""

    @property
    def trouble(self) -> str:
        """What to tell about it; empty when all is well."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Within it, packets are taken."""
        ...

    async def take(self, packet: Packet) -> Receipt:
        """Durable when this returns with status 200."""
        ...


def prepare(services: Services, packets: list[Packet]) -> Callable[[], list[Receipt]]:
    """Unpack, decode and mask; what is returned stores it all with one flush to the disk.

    Every packet has its receipt, whatever happens.
    """
    receipts: list[Receipt] = []
    deliveries: list[tuple[int, Delivery]] = []
    for packet in packets:
        try:
            body = unpack(packet.body, packet.encoding, MAX_BODY)
            deliveries.append((len(receipts), Delivery(packet.actor, packet.project_id, body, packet.content_type)))
            receipts.append(Receipt())
        except WorkbenchError as error:
            receipts.append(receipt_of(error))
    prepared = services.traces.prepare([delivery for _, delivery in deliveries])

    def finish() -> list[Receipt]:
        try:
            outcomes = services.traces.store_prepared(prepared)
        except Exception as error:
            outcomes = [error] * len(deliveries)
        for (place, _), outcome in zip(deliveries, outcomes, strict=True):
            receipts[place] = receipt_of(outcome)
        return receipts

    return finish


def store(services: Services, packets: list[Packet]) -> list[Receipt]:
    """Prepare and store packets, all in one go."""
    return prepare(services, packets)()


def receipt_of(outcome: IngestReport | Exception) -> Receipt:
    """The answer to a report or a failure."""
    if isinstance(outcome, IngestReport):
        return Receipt(200, outcome.new, len(outcome.rejected), outcome.message)
    if isinstance(outcome, WorkbenchError):
        status = 400 if isinstance(outcome, InvalidInput) else outcome.status  # OTLP has one status for bad data
        return Receipt(status, message=str(outcome))
    if isinstance(outcome, SQLAlchemyError | OSError):
        log.error("spans not stored: %s", outcome)
        return Receipt(Unavailable.status, message=_NOT_STORED)
    log.error("unexpected error while taking spans", exc_info=outcome)
    return Receipt(500, message="Something went wrong in the workbench.")


class InThreads:
    """Stores in threads of this process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limiter = CapacityLimiter(_THREADS)
        self.trouble = ""

    def running(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def take(self, packet: Packet) -> Receipt:
        (receipt,) = await to_thread.run_sync(store, self._services, [packet], limiter=self._limiter)
        return receipt


class InProcess:
    """Stores in a process of its own, `workbench.api.ingesting`, and in threads of this one while that is being started."""

    def __init__(self, services: Services) -> None:
        self._settings = services.context.settings
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: asyncio.StreamWriter | None = None
        self._writer: asyncio.StreamWriter | None = None
        """None until it says that it is there."""
        self._meanwhile = InThreads(services)
        self._waiting: dict[int, asyncio.Future[Receipt]] = {}
        self._last = 0
        self._stopping = False
        self._restarts = 0

    @property
    def is_there(self) -> bool:
        """Whether the other process takes requests now."""
        return self._writer is not None

    @property
    def process_id(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process is not None else None

    @property
    def trouble(self) -> str:
        """What to tell about it; empty when all is well."""
        return f"The intake of spans was started again, {self._restarts} times so far." if self._restarts else ""

    async def take(self, packet: Packet) -> Receipt:
        writer = self._writer
        if writer is None:
            return await self._meanwhile.take(packet)
        self._last += 1
        number = self._last
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            # One call for each part, with nothing awaited between: no other message gets in the middle.
            writer.write(packed(head_of(packet, number), len(packet.body)))
            writer.write(packet.body)
            with suppress(ConnectionError):  # its end is noticed by who reads, and answered there
                await writer.drain()
            return await future
        finally:
            self._waiting.pop(number, None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep_alive())
        try:
            yield
        finally:
            await self._stop()
            await keeping

    async def _keep_alive(self) -> None:
        while not self._stopping:
            begun = time.monotonic()
            try:
                await self._serve()
            except OSError as error:
                log.error("the process that takes spans in cannot be run: %s", error)
            finally:
                for future in list(self._waiting.values()):
                    if not future.done():
                        future.set_result(Receipt(Unavailable.status, message=_NOT_STORED))
            if not self._stopping:
                self._restarts += 1
                log.error("the process that takes spans in ended and is started again")
                await asyncio.sleep(0.1 if time.monotonic() - begun > 10 else 2.0)

    async def _stop(self) -> None:
        """Let it finish what it was given, then end it."""
        self._stopping = True
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            await to_thread.run_sync(children.end, self._process)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        theirs_in, ours_out = _pipe()
        ours_in, theirs_out = _pipe()
        try:
            process = children.start("workbench.api.ingesting", self._settings, stdin=theirs_in, stdout=theirs_out)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._process = process
        reader = asyncio.StreamReader(limit=_PIPE_BYTES)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb", 0))
        writing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(ours_out, "wb", 0)
        )
        self._channel = writer = asyncio.StreamWriter(writing, protocol, None, loop)
        try:
            messages = Unpacker()
            while piece := await reader.read(_PIPE_BYTES):
                for head, _body in messages.feed(piece):
                    self._writer = writer  # its first message says no more than that it is there
                    future = self._waiting.get(head["number"])
                    if future is not None and not future.done():
                        future.set_result(Receipt(head["status"], head["new"], head["rejected"], head["message"]))
        finally:
            self._writer = None
            reading.close()
            writer.close()
            if not self._stopping:
                await to_thread.run_sync(children.end, process)


def head_of(packet: Packet, number: int) -> dict[str, Any]:
    """What a message says of a packet besides its body."""
    actor = packet.actor
    return {
        "number": number, "project": packet.project_id, "encoding": packet.encoding, "type": packet.content_type,
        "actor": [actor.id, actor.name, actor.kind.value, sorted(actor.permissions), actor.project_id],
    }  # fmt: skip


def packet_of(head: dict[str, Any], body: bytes) -> Packet:
    """The packet of a message."""
    key, name, kind, permissions, project_id = head["actor"]
    actor = Actor(
        id=key, name=name, kind=ActorKind(kind), permissions=frozenset(map(Permission, permissions)), project_id=project_id
    )
    return Packet(actor, head["project"], body, head["encoding"], head["type"])


def _pipe() -> tuple[int, int]:
    """A pipe that holds several requests, where the system allows it."""
    reading, writing = os.pipe()
    if set_size := getattr(fcntl, "F_SETPIPE_SZ", None):
        with suppress(OSError):
            fcntl.fcntl(writing, set_size, _PIPE_BYTES)
    return reading, writing
