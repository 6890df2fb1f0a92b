"""What the api process does besides answering: it makes new traces readable, and it beats."""

import logging
import os
import threading
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.jobs import beat
from workbench.traces.indexer import index_pending

log = logging.getLogger(__name__)

_BEAT_SECONDS = 3.0
_IDLE_SECONDS = 1.0
"""How often to look for traces that another process stored, such as an import."""
_TROUBLE_SECONDS = 2.0
_MAKE_WAY_SECONDS = 0.1


class Background:
    """The indexing thread and the heartbeat thread, from `with` to its end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.is_busy: Callable[[], bool] = lambda: False
        """Whether senders wait right now; indexing then makes way."""
        self._stopping = threading.Event()
        self._work = threading.Event()
        self._threads = [
            threading.Thread(target=self._index, name="api-indexer", daemon=True),
            threading.Thread(target=self._beat, name="api-heartbeat", daemon=True),
        ]

    def __enter__(self) -> "Background":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._work.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def wake(self) -> None:
        """Say that spans were stored."""
        self._work.set()

    def _index(self) -> None:
        while not self._stopping.is_set():
            self._work.clear()
            try:
                while index_pending(self._services.context, 100) and not self._stopping.is_set():
                    if self.is_busy():
                        self._stopping.wait(_MAKE_WAY_SECONDS)
                self._work.wait(_IDLE_SECONDS)
            except SQLAlchemyError as error:
                log.warning("traces not indexed yet: %s", error)
                self._stopping.wait(_TROUBLE_SECONDS)
            except Exception:  # one bad trace must not end the thread; the log names it
                log.exception("traces not indexed")
                self._stopping.wait(_TROUBLE_SECONDS)

    def _beat(self) -> None:
        started = now()
        while True:
            try:
                beat(self._services.context, "api", os.getpid(), started)
            except SQLAlchemyError as error:
                # The database is busy or away; a missing beat is what the admin page shows.
                log.warning("heartbeat not written: %s", type(error).__name__)
            if self._stopping.wait(_BEAT_SECONDS):
                return
