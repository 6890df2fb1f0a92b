"""The workbench with very many spans, while more come in: reads, six people browsing, one in Chromium, a very long trace."""

import multiprocessing
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from sqlmodel import col, select

from scripts.benches.figures import Figure
from scripts.benches.traffic.browsing import browse, open_found
from scripts.benches.traffic.long_trace import QUESTION, send_long
from scripts.benches.traffic.long_trace import SPANS as LONG
from scripts.benches.traffic.ours import Ours
from scripts.benches.traffic.sending import Sent, send
from scripts.benches.traffic.spans import SPANS_A_TRACE, vocabulary
from scripts.benches.traffic.visiting import visit
from scripts.benches.traffic.waits import share, timed, until
from workbench.core.clock import now
from workbench.traces import queries
from workbench.traces.models import Trace
from workbench.traces.queries import TraceFilter
from workbench.traces.search import fold


def at_scale(ours: Ours, spans: int, say: Callable[[str], None]) -> list[Figure]:
    """Grow the store to so many spans, then read it while 500 spans a second come in."""
    have = ours.count() * SPANS_A_TRACE
    say(f"workbench: growing from {have:,} to {spans:,} spans")
    begun = time.monotonic()
    send(ours.port, ours.path, ours.headers, seconds=3600, senders=2, spans=max(0, spans - have))
    sent = time.monotonic() - begun
    until(lambda: ours.count() * SPANS_A_TRACE >= spans and ours.waiting() == 0, 3600, every=3.0)
    readable = time.monotonic() - begun
    say(f"workbench: taken in {sent:.0f} s, readable and searchable after {readable:.0f} s; reads during 500 spans/s")
    result: list[Sent] = []
    with _coming_in(ours, result):
        chance = random.Random(11)
        list_waits = [timed(ours.newest) for _ in range(40)]
        middle = ours.middle()
        list_waits += [timed(lambda: ours.ask(after=middle)) for _ in range(20)]
        for sort in ("slowest", "costliest", "oldest"):
            list_waits.append(timed(lambda sort=sort: ours.ask(sort=sort)))  # type: ignore[misc]
        pair_waits = [timed(lambda: ours.ask(_two_filters(chance))) for _ in range(60)]
        words = [
            *chance.sample(vocabulary(), 16),
            *(word[1:6] for word in chance.sample(vocabulary(), 8)),
            "nothing-like-it",
            "ka lo",
        ]
        search_waits = [timed(lambda word=word: ours.search(word)) for word in words]  # type: ignore[misc]
    people = ours.people(6)
    say("workbench: six people browse during 500 spans/s")
    with _coming_in(ours, result):
        visited = visit(ours.settings.port, people, seconds=60)
    say("workbench: one of them looks at it in Chromium, on these cores")
    with _coming_in(ours, result):
        seen = browse(ours.address, people[:1], seconds=40)
    until(lambda: ours.waiting() == 0, 600, every=1.0)
    say(f"workbench: a trace of {LONG:,} spans is opened")
    send_long(ours.port, ours.path, ours.headers)
    until(lambda: ours.waiting() == 0, 600, every=1.0)
    opened = open_found(ours.address, people[0], QUESTION)
    waits = [wait for one in result for wait in one.waits]
    wrong = sum(not _same_hits(ours, word) for word in (words[0], words[3], words[17], words[-1], words[-2]))
    return [
        Figure(f"at {spans:,} spans: taken in", sent, "s"),
        Figure(f"at {spans:,} spans: spans/s while growing", max(0, spans - have) / sent, "spans/s"),
        Figure(f"at {spans:,} spans, 500 spans/s coming in: list, 95 of 100 within", 1e3 * share(list_waits, 0.95), "ms", 300),
        Figure(f"at {spans:,} spans: two filters, 95 of 100 within", 1e3 * share(pair_waits, 0.95), "ms", 300),
        Figure(f"at {spans:,} spans: substring search, 95 of 100 within", 1e3 * share(search_waits, 0.95), "ms", 500),
        Figure("searches whose hits differ from a scan of all texts", wrong, "of 5", 0),
        Figure(
            "six people browsing, 500 spans/s coming in: page's answer, median", 1e3 * statistics.median(visited.waits), "ms"
        ),
        Figure("six people browsing: page's answer, 95 of 100 within", 1e3 * share(visited.waits, 0.95), "ms", 400),
        Figure("interactions that showed nothing", visited.failed, f"of {visited.failed + len(visited.waits)}", 0),
        Figure("one in Chromium, drawing on these cores: interaction, median", 1e3 * statistics.median(seen.waits), "ms"),
        Figure("one in Chromium: interaction, 95 of 100 within", 1e3 * share(seen.waits, 0.95), "ms"),
        Figure(
            f"a trace of {LONG:,} spans: waited for the conversation and for its bars, the longest of {len(opened)}",
            max(opened),
            "s",
            2,
        ),
        Figure("memory of the web process", ours.web_memory(), "MB", 1500),
        Figure("acknowledgement meanwhile, 99 of 100 within", 1e3 * share(waits, 0.99), "ms", 250),
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
