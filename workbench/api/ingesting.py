"""`python -m workbench.api.ingesting`: takes spans in, beside the api and in an interpreter of its own.

The api hands it requests through its standard input and reads its answers from its standard output. Whatever waits there is
stored together, and while that is on its way to the disk the next is prepared. It ends with its standard input, after what it
was given is stored.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from workbench.api import children
from workbench.api.frames import Unpacker, packed
from workbench.api.intake import HELLO, Packet, Receipt, packet_of, prepare
from workbench.core.turns import Turns

_PIECE = 1 << 20
_AT_ONCE = 2 << 20
"""Bytes stored with one flush: more would make the first of them wait for the last."""

_QUEUE = 256 << 10
"""Bytes in hand above which senders are taken to wait for each other."""

_UNPACKED = 20
"""How many times longer a packed body is taken to become."""


def main() -> None:
    """Store until standard input ends."""
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whoever prints must not write into the answers
    services = children.begin()
    # Spans are many short-lived objects; what the imports made need not be walked through to find them.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    given = sys.stdin.fileno()
    messages = Unpacker()
    _write(channel, packed(HELLO))
    hand = _Hand(services.context.database.turns)
    with ThreadPoolExecutor(1, "storing") as thread:
        storing: Future[None] | None = None
        while piece := os.read(given, _PIECE):
            waiting = [(head["number"], packet_of(head, body)) for head, body in messages.feed(piece)]
            hand.add(sum(len(packet.body) for _, packet in waiting))
            while waiting:
                count = _fitting([packet for _, packet in waiting])
                part, waiting = waiting[:count], waiting[count:]
                finish = prepare(services, [packet for _, packet in part])
                if storing is not None:
                    storing.result()  # no more than one is on its way to the disk while the next is prepared
                storing = thread.submit(_finish, channel, hand, part, finish)
    services.context.database.dispose()


class _Hand:
    """What was taken and not answered yet."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._lock, self._bytes = turns, threading.Lock(), 0

    def add(self, size: int) -> None:
        """So many bytes more, or fewer."""
        with self._lock:
            self._bytes += size
            self._turns.senders_queue(self._bytes > _QUEUE)


def _finish(channel: int, hand: _Hand, part: list[tuple[int, Packet]], finish: Callable[[], list[Receipt]]) -> None:
    for (number, _), receipt in zip(part, finish(), strict=True):
        answer = {
            "number": number, "status": receipt.status, "new": receipt.new, "rejected": receipt.rejected,
            "message": receipt.message,
        }  # fmt: skip
        _write(channel, packed(answer))
    hand.add(-sum(len(packet.body) for _, packet in part))


def _fitting(packets: list[Packet]) -> int:
    """How many of these to store together; one at least."""
    total = 0
    for count, packet in enumerate(packets):
        total += len(packet.body) * (_UNPACKED if packet.encoding else 1)
        if total > _AT_ONCE and count:
            return count
    return len(packets)


def _write(channel: int, data: bytes) -> None:
    with suppress(BrokenPipeError):  # the api is gone, and nobody waits; our standard input ends too
        while data:
            data = data[os.write(channel, data) :]


if __name__ == "__main__":
    main()
