"""Traces: taking spans in, until they can be read, and finding them; beside Phoenix and MLflow, and at a million spans.

Each store gets the same OTLP bodies over HTTP on loopback: a thousand spans a second for a while and then reads, and as many
spans as it will take. A peer is flooded twice, freshly started and after the reads, and its better flood counts. Ours is read
by the function that the page calls, with the count of all hits; the others over their HTTP interface, as their pages do.
WORKBENCH_BENCH_SPANS sets another size than a million for the last part.
"""

import multiprocessing
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import httpx
import psutil
from sqlalchemy import func
from sqlmodel import col, select

from scripts.benches.figures import Figure
from scripts.benches.running import free_port, running
from scripts.benches.traffic.browsing import browse, open_found
from scripts.benches.traffic.long_trace import QUESTION, send_long
from scripts.benches.traffic.long_trace import SPANS as LONG
from scripts.benches.traffic.peers import PEERS, Peer
from scripts.benches.traffic.sending import Sent, send
from scripts.benches.traffic.spans import SPANS_A_TRACE, vocabulary
from scripts.benches.traffic.visiting import visit
from workbench.bootstrap import Services, bootstrap
from workbench.core.actors import Role
from workbench.core.clock import now
from workbench.core.jobs import ProcessHeartbeat
from workbench.core.settings import Settings
from workbench.identity.service import local_administrator
from workbench.traces import queries
from workbench.traces.models import Trace, TracePending
from workbench.traces.queries import TraceFilter
from workbench.traces.search import fold

Say = Callable[[str], None]
SPANS = int(os.environ.get("WORKBENCH_BENCH_SPANS") or 1_000_000)
PACED_SECONDS, FLOOD_SECONDS = 10.0, 15.0
PATIENCE = 60.0
"""Seconds that a store gets to make readable what it has acknowledged."""


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


class Ours:
    """The workbench with all its processes over an empty home."""

    name = "workbench"
    path = "/v1/traces"

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(home=folder / "home", port=free_port())
        self.port = self.settings.api_port
        self.address = f"http://127.0.0.1:{self.settings.port}"
        self.headers: dict[str, str] = {}
        self.project = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """`workbench up` with a project and a key, once the machine has nothing else to do."""
        self.services: Services = bootstrap(settings=self.settings)
        with running(self.settings):
            admin = local_administrator()
            self.project = self.services.identity.add_project(
                admin,
                key="bench",
                name="Bench",
                languages=["en"],
                teams=[{"key": "general", "name": "General", "description": ""}],
            ).id  # fmt: skip
            key = self.services.identity.create_key(admin, project_id=self.project, name="bench", scopes=["ingest"])[1]
            self.headers = {"Authorization": f"Bearer {key}"}
            _until(self._is_settled, 600)
            yield

    def _is_settled(self) -> bool:
        """Whether the base model is converted, which takes a core for two minutes after a first start."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/v1/health", timeout=10).json()["runtime"] == "ok"
        except (httpx.HTTPError, ValueError):
            return False

    def count(self) -> int:
        with self.services.context.database.session() as session:
            return int(session.exec(select(func.count()).select_from(Trace)).one())

    def waiting(self) -> int:
        """Traces that cannot be read or searched whole yet."""
        with self.services.context.database.session() as session:
            changed = session.exec(select(func.count()).select_from(TracePending)).one()
            unsearched = session.exec(select(func.count()).select_from(Trace).where(col(Trace.indexed).is_(False))).one()
        return int(changed) + int(unsearched)

    def ask(self, filters: TraceFilter | None = None, sort: str = "newest") -> int:
        """What a visit of the list asks for: its first page with the number of hits."""
        with self.services.context.database.session() as session:
            found = queries.list_traces(session, self.project, filters, sort=sort, count=True)
        return len(found.rows)

    def newest(self) -> int:
        return self.ask()

    def failed(self) -> int:
        return self.ask(TraceFilter(status=("error",)))

    def search(self, word: str) -> int:
        return self.ask(TraceFilter(text=word))

    def prepare_search(self) -> None:
        _until(lambda: self.waiting() == 0, PATIENCE)

    def people(self, count: int) -> list[tuple[str, str]]:
        """Engineers with accounts: e-mail and password."""
        admin, password = local_administrator(), "a-password-for-the-bench"
        made = []
        for number in range(count):
            email = f"engineer-{number}@bench.example"
            person = self.services.identity.add_person(admin, email=email, name=f"Engineer {number}", password=password)
            self.services.identity.grant(admin, person.id, Role.ENGINEER, self.project)
            made.append((email, password))
        return made

    def web_memory(self) -> float:
        """Resident megabytes of the web process."""
        with self.services.context.database.session() as session:
            beat = session.get(ProcessHeartbeat, "web")
        assert beat is not None
        return float(psutil.Process(beat.process_id).memory_info().rss / 1e6)


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
            figures += _at_scale(ours, say)
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
    return Flood(sent.rate, 1e3 * _share(sent.waits, 0.99))


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
        _until(lambda: bool(seen) and seen[-1][1] >= wanted, PATIENCE)
    done.set()
    watcher.join()
    waits, total, place = [], 0, 0
    for answered, due, traces in sent.acknowledged:
        total += traces
        while place < len(seen) and (seen[place][1] < total or seen[place][0] < answered):
            place += 1
        waits.append(seen[place][0] - due if place < len(seen) else PATIENCE)
    return _share(waits, 0.95)


def _settled(store: Store) -> int:
    """The count once it no longer grows."""
    last, now_ = -1, store.count()
    while now_ != last:
        time.sleep(1.0)
        last, now_ = now_, store.count()
    return now_


def _at_scale(ours: Ours, say: Say) -> list[Figure]:
    have = ours.count() * SPANS_A_TRACE
    say(f"workbench: growing from {have:,} to {SPANS:,} spans")
    begun = time.monotonic()
    send(ours.port, ours.path, ours.headers, seconds=3600, senders=2, spans=max(0, SPANS - have))
    sent = time.monotonic() - begun
    _until(lambda: ours.count() * SPANS_A_TRACE >= SPANS and ours.waiting() == 0, 3600, every=3.0)
    readable = time.monotonic() - begun
    say(f"workbench: taken in {sent:.0f} s, readable and searchable after {readable:.0f} s; reads during 500 spans/s")
    result: list[Sent] = []
    with _coming_in(ours, result):
        chance = random.Random(11)
        list_waits = [_timed(ours.newest) for _ in range(40)]
        for sort in ("slowest", "costliest", "oldest"):
            list_waits.append(_timed(lambda sort=sort: ours.ask(sort=sort)))  # type: ignore[misc]
        pair_waits = [_timed(lambda: ours.ask(_two_filters(chance))) for _ in range(60)]
        words = [
            *chance.sample(vocabulary(), 16),
            *(word[1:6] for word in chance.sample(vocabulary(), 8)),
            "nothing-like-it",
            "ka lo",
        ]
        search_waits = [_timed(lambda word=word: ours.search(word)) for word in words]  # type: ignore[misc]
    people = ours.people(6)
    say("workbench: six people browse during 500 spans/s")
    with _coming_in(ours, result):
        visited = visit(ours.settings.port, people, seconds=60)
    say("workbench: one of them looks at it in Chromium, on these cores")
    with _coming_in(ours, result):
        seen = browse(ours.address, people[:1], seconds=40)
    _until(lambda: ours.waiting() == 0, 600, every=1.0)
    say(f"workbench: a trace of {LONG:,} spans is opened")
    send_long(ours.port, ours.path, ours.headers)
    _until(lambda: ours.waiting() == 0, 600, every=1.0)
    opened = open_found(ours.address, people[0], QUESTION)
    waits = [wait for one in result for wait in one.waits]
    wrong = sum(not _same_hits(ours, word) for word in (words[0], words[3], words[17], words[-1], words[-2]))
    return [
        Figure(f"at {SPANS:,} spans: taken in", sent, "s"),
        Figure(f"at {SPANS:,} spans: spans/s while growing", (SPANS - have) / sent, "spans/s"),
        Figure(f"at {SPANS:,} spans, 500 spans/s coming in: list, 95 of 100 within", 1e3 * _share(list_waits, 0.95), "ms", 300),
        Figure(f"at {SPANS:,} spans: two filters, 95 of 100 within", 1e3 * _share(pair_waits, 0.95), "ms", 300),
        Figure(f"at {SPANS:,} spans: substring search, 95 of 100 within", 1e3 * _share(search_waits, 0.95), "ms", 500),
        Figure("searches whose hits differ from a scan of all texts", wrong, "of 5", 0),
        Figure(
            "six people browsing, 500 spans/s coming in: page's answer, median", 1e3 * statistics.median(visited.waits), "ms"
        ),
        Figure("six people browsing: page's answer, 95 of 100 within", 1e3 * _share(visited.waits, 0.95), "ms", 400),
        Figure("interactions that showed nothing", visited.failed, f"of {visited.failed + len(visited.waits)}", 0),
        Figure("one in Chromium, drawing on these cores: interaction, median", 1e3 * statistics.median(seen.waits), "ms"),
        Figure("one in Chromium: interaction, 95 of 100 within", 1e3 * _share(seen.waits, 0.95), "ms"),
        Figure(
            f"a trace of {LONG:,} spans: waited for the conversation and for its bars, the longest of {len(opened)}",
            max(opened),
            "s",
            2,
        ),
        Figure("memory of the web process", ours.web_memory(), "MB", 1500),
        Figure("acknowledgement meanwhile, 99 of 100 within", 1e3 * _share(waits, 0.99), "ms", 250),
    ]


@contextmanager
def _coming_in(ours: Ours, sent: list[Sent]) -> Iterator[None]:
    """Within it, 500 spans a second come in."""
    stop = multiprocessing.get_context("spawn").Event()

    def go() -> None:
        sent.append(send(ours.port, ours.path, ours.headers, seconds=600, senders=1, traces=5, rate=500, stop=stop))

    sender = threading.Thread(target=go)
    sender.start()
    time.sleep(5)  # until bodies are made and the first are sent
    try:
        yield
    finally:
        stop.set()
        sender.join()


def _two_filters(chance: random.Random) -> TraceFilter:
    moment = now()
    made: dict[str, TraceFilter] = {
        "model": TraceFilter(model=(chance.choice(["assistant-small", "assistant-large"]),)),
        "release": TraceFilter(release=(chance.choice(["2.0.1", "2.3.0"]),)),
        "language": TraceFilter(language=(chance.choice(["es", "vi"]),)),
        "status": TraceFilter(status=("error",)),
        "session": TraceFilter(session=f"s-{chance.randrange(40_000)}"),
        "user": TraceFilter(user=f"u-{chance.randrange(9_000)}"),
        "since": TraceFilter(since=moment - timedelta(minutes=chance.randrange(1, 30))),
        "has_feedback": TraceFilter(has_feedback=False),
        "environment": TraceFilter(environment=("bench",)),
    }
    one, two = chance.sample(list(made), 2)
    return replace(made[one], **{two: getattr(made[two], two)})


def _same_hits(ours: Ours, word: str) -> bool:
    """Whether search finds the traces whose texts contain the word, and no others."""
    until = now()
    with ours.services.context.database.session() as session:
        found = set(queries.trace_ids(session, ours.project, TraceFilter(text=word, until=until), limit=10**9))
        mine = (Trace.project_id == ours.project, col(Trace.started_at) < until)
        texts = session.exec(select(Trace.trace_id, Trace.input, Trace.output).where(*mine))
        folded = fold(word)
        wanted = {trace_id for trace_id, asked, said in texts if folded in fold(f"{asked}\n{said}\nlookup")}
    return found == wanted


def _median_ms(*reads: Callable[[], int]) -> float:
    """Median of 20 reads, after one that does not count."""
    reads[0]()
    return 1e3 * statistics.median(_timed(reads[turn % len(reads)]) for turn in range(20))


def _timed(read: Callable[[], object]) -> float:
    begun = time.monotonic()
    read()
    return time.monotonic() - begun


def _share(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def _until(condition: Callable[[], bool], seconds: float, every: float = 0.1) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(every)
