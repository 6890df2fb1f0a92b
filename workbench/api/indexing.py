"""`python -m workbench.api.indexing`: makes new traces readable, beside the api and in an interpreter of its own.

Assembling traces and indexing their texts is work for the processor; in the api's process it would hold up every span that
wants to be acknowledged. The api starts this and holds the other end of its standard input: a byte means that spans were
stored, the end that the api is gone, however it went.
"""

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from workbench.api import children
from workbench.bootstrap import Services
from workbench.traces.indexer import index_pending

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""How often to look for traces that another process stored, such as an import."""
_AT_ONCE = 100
_GATHER_SECONDS = 0.2
"""How long traces gather from one round to the next while they trickle in: a round of three costs as much as one of twenty."""
_TROUBLE_SECONDS = 2.0
_TIDY_SECONDS = 2.0
_LONGEST_LOG = 512 << 20
"""Bytes of the write-ahead log above which it is copied even while senders queue, who wait longer meanwhile."""
_NICENESS = 5


def index_on(services: Services, stopping: threading.Event, wait: Callable[[float], object]) -> None:
    """Index what is pending until told to stop.

    Args:
        wait: sleeps for so many seconds, or less when there is something new.
    """
    tidied = time.monotonic()
    while not stopping.is_set():
        try:
            begun = time.monotonic()
            while (done := index_pending(services.context, _AT_ONCE)) and not stopping.is_set():
                tidied = _tidy(services, tidied)
                if done < _AT_ONCE:
                    stopping.wait(max(0.0, begun + _GATHER_SECONDS - time.monotonic()))
                begun = time.monotonic()
            wait(IDLE_SECONDS)
        except SQLAlchemyError as error:
            log.warning("traces not indexed yet: %s", error)
            stopping.wait(_TROUBLE_SECONDS)
        except Exception:  # one bad trace must not end it; the log names it
            log.exception("traces not indexed")
            stopping.wait(_TROUBLE_SECONDS)


def _tidy(services: Services, last: float) -> float:
    """Copy the write-ahead log into the traces' file now and then, so that no sender's commit has to."""
    database = services.context.database
    if time.monotonic() - last < _TIDY_SECONDS:
        return last
    if not database.turns.let_senders_go_first() and database.traces_log_bytes() < _LONGEST_LOG:
        return last
    database.checkpoint_traces()
    return time.monotonic()


def main() -> None:
    """Index until standard input ends."""
    services = children.begin()
    if hasattr(os, "nice"):
        os.nice(_NICENESS)  # who sends goes before who reads
    stopping = threading.Event()
    channel = sys.stdin.fileno()

    def wait(seconds: float) -> None:
        ready, _, _ = select.select([channel], [], [], seconds)
        if ready and not os.read(channel, 65_536):
            stopping.set()

    index_on(services, stopping, wait)
    services.context.database.dispose()


if __name__ == "__main__":
    main()
