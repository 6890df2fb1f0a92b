"""Traces: taking spans in, until they can be read, and finding them; beside Phoenix and MLflow, and at a million spans.

Each store gets the same OTLP bodies over HTTP on loopback: a thousand spans a second for a while and then reads, and as many
spans as it will take. A peer is flooded twice, freshly started and after the reads, and its better flood counts. Ours is read
by the function that the page calls, with the count of all hits; the others over their HTTP interface, as their pages do.
WORKBENCH_BENCH_SPANS sets another size than a million for the last part.
"""

import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.benches.figures import Figure
from scripts.benches.traffic.at_scale import at_scale
from scripts.benches.traffic.ours import PATIENCE, Ours
from scripts.benches.traffic.peers import PEERS, Peer
from scripts.benches.traffic.sending import send
from scripts.benches.traffic.spans import vocabulary
from scripts.benches.traffic.waits import share, timed, until

Say = Callable[[str], None]
SPANS = int(os.environ.get("WORKBENCH_BENCH_SPANS") or 1_000_000)
PACED_SECONDS, FLOOD_SECONDS = 10.0, 15.0


class Store(Protocol):
    """What is measured of ours and of the others."""

    name: str
    path: str
    headers: dict[str, str]
    port: int

    def count(self) -> int: ...
    def newest(self) -> int: ...
    def failed(self) -> int: ...
    def search(self, word: str) -> int: ...
    def prepare_search(self) -> None: ...


@dataclass
class Flood:
    """How a store took as much as it could."""

    rate: float
    """Acknowledged spans a second."""
    p99_ms: float
    """99 of 100 acknowledgements came within."""


@dataclass
class Reads:
    """How soon a store's traces can be found, and how fast."""

    queryable_s: float
    """95 % of traces can be found this long after their sending was due."""
    held: int
    """Traces it held when it was read."""
    list_ms: float
    filter_ms: float
    search_ms: float


def run(say: Say) -> list[Figure]:
    """Measure everything; see the module's first lines."""
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        ours = Ours(Path(folder))
        with ours.running():
            _first_request(ours, say)
            reads, flood = _reads(ours, say), _flood(ours, say)
            figures = [
                Figure("acknowledged", flood.rate, "spans/s", 5000, "higher"),
                Figure("acknowledgement, 99 of 100 within", flood.p99_ms, "ms", 250),
                Figure("queryable at 1,000 spans/s, 95 of 100 within", reads.queryable_s, "s", 2),
                Figure("list, median", reads.list_ms, "ms"),
                Figure("filter, median", reads.filter_ms, "ms"),
                Figure("substring search, median", reads.search_ms, "ms"),
            ]
            for make in PEERS:
                figures += _beside(make, Path(folder), flood, reads, say)
            figures += at_scale(ours, SPANS, say)
    return figures


def _beside(make: type[Peer], folder: Path, our_flood: Flood, our_reads: Reads, say: Say) -> list[Figure]:
    # The better of two floods counts: a fresh store is not warm yet, another still has spans of before on its hands.
    with _started(make(folder / "fresh", say), say) as peer:
        fresh = _flood(peer, say)
    with _started(make(folder / "paced", say), say) as peer:
        reads = _reads(peer, say)
        flood = max(fresh, _flood(peer, say), key=lambda one: one.rate)
    return [
        Figure(f"{peer.name}: acknowledged", flood.rate, "spans/s"),
        Figure(f"{peer.name}: acknowledgement, 99 of 100 within", flood.p99_ms, "ms"),
        Figure(
            f"{peer.name}: queryable at 1,000 spans/s, 95 of 100 within (at most {PATIENCE:.0f} s waited)",
            reads.queryable_s, "s",
        ),
        Figure(f"{peer.name}: traces it held when read", reads.held, "traces"),
        Figure(f"{peer.name}: list, median", reads.list_ms, "ms"),
        Figure(f"{peer.name}: filter, median", reads.filter_ms, "ms"),
        Figure(f"{peer.name}: substring search, median", reads.search_ms, "ms"),
        Figure(f"ours / {peer.name}: acknowledged", our_flood.rate / flood.rate, "×", 1, "higher"),
        Figure(f"ours / {peer.name}: time until queryable", our_reads.queryable_s / max(reads.queryable_s, 0.001), "×", 1),
        Figure(f"ours / {peer.name}: list", our_reads.list_ms / reads.list_ms, "×", 1),
        Figure(f"ours / {peer.name}: filter", our_reads.filter_ms / reads.filter_ms, "×", 1),
        Figure(f"ours / {peer.name}: substring search", our_reads.search_ms / reads.search_ms, "×", 1),
    ]  # fmt: skip


@contextmanager
def _started(peer: Peer, say: Say) -> Iterator[Peer]:
    try:
        peer.start()
        _first_request(peer, say)
        yield peer
    finally:
        peer.stop()


def _reads(store: Store, say: Say) -> Reads:
    say(f"{store.name}: 1,000 spans a second for {PACED_SECONDS:.0f} s")
    queryable = _queryable(store)
    held = store.count()
    say(f"{store.name}: reads over {held:,} traces")
    store.prepare_search()
    list_ms, filter_ms = _median_ms(store.newest), _median_ms(store.failed)
    words = random.Random(3).sample(vocabulary(), 10)
    search_ms = _median_ms(*[lambda word=word: store.search(word) for word in words])  # type: ignore[misc]
    return Reads(queryable, held, list_ms, filter_ms, search_ms)


def _flood(store: Store, say: Say) -> Flood:
    say(f"{store.name}: as many spans as it takes for {FLOOD_SECONDS:.0f} s")
    sent = send(store.port, store.path, store.headers, seconds=FLOOD_SECONDS, senders=4)
    if sent.refused:
        say(f"{store.name}: refused {sent.refused}")
    return Flood(sent.rate, 1e3 * share(sent.waits, 0.99))


def _first_request(store: Store, say: Say) -> None:
    """Connections, caches and tables, before anything counts."""
    say(f"{store.name}: a first request")
    send(store.port, store.path, store.headers, seconds=2, senders=1, traces=2, rate=50)


def _queryable(store: Store) -> float:
    """Seconds after its sending was due until a trace can be found, for 95 of 100."""
    before = _settled(store)
    seen: list[tuple[float, int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            found = store.count() - before
            seen.append((time.monotonic(), found))
            done.wait(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    sent = send(store.port, store.path, store.headers, seconds=PACED_SECONDS, senders=2, traces=5, rate=1000)
    wanted = sum(traces for _, _, traces in sent.acknowledged)
    with suppress(TimeoutError):
        until(lambda: bool(seen) and seen[-1][1] >= wanted, PATIENCE)
    done.set()
    watcher.join()
    waits, total, place = [], 0, 0
    for answered, due, traces in sent.acknowledged:
        total += traces
        while place < len(seen) and (seen[place][1] < total or seen[place][0] < answered):
            place += 1
        waits.append(seen[place][0] - due if place < len(seen) else PATIENCE)
    return share(waits, 0.95)


def _settled(store: Store) -> int:
    """The count once it no longer grows."""
    last, now_ = -1, store.count()
    while now_ != last:
        time.sleep(1.0)
        last, now_ = now_, store.count()
    return now_


def _median_ms(*reads: Callable[[], int]) -> float:
    """Median of 20 reads, after one that does not count."""
    reads[0]()
    return 1e3 * statistics.median(timed(reads[turn % len(reads)]) for turn in range(20))
