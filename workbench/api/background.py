"""What the api process does besides answering: it sees to it that new traces become readable, and it beats."""

import contextlib
import logging
import os
import subprocess
import threading
from collections.abc import Callable
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from workbench.api import children
from workbench.api.indexing import index_on
from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.jobs import beat

log = logging.getLogger(__name__)

_BEAT_SECONDS = 3.0


class Background:
    """The indexer and the heartbeat thread, from `with` to its end."""

    def __init__(self, services: Services, *, own_process: bool = False, trouble: Callable[[], str] = str) -> None:
        """Args:
        own_process: run the indexer in a process of its own, as the api does, rather than in a thread.
        trouble: what else to tell with each heartbeat; empty when all is well.
        """
        self._trouble = trouble
        self._services = services
        self._stopping = threading.Event()
        self._work = threading.Event()
        self._indexer = _IndexerProcess(services) if own_process else None
        self._threads = [threading.Thread(target=self._beat, name="api-heartbeat", daemon=True)]
        if self._indexer is None:
            self._threads.append(threading.Thread(target=self._index, name="api-indexer", daemon=True))

    def __enter__(self) -> "Background":
        if self._indexer is not None:
            self._indexer.keep_alive()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._work.set()
        for thread in self._threads:
            thread.join(timeout=children.STOP_SECONDS)
        if self._indexer is not None:
            self._indexer.stop()

    def wake(self) -> None:
        """Say that spans were stored."""
        if self._indexer is not None:
            self._indexer.wake()
        else:
            self._work.set()

    def _index(self) -> None:
        def wait(seconds: float) -> None:
            self._work.wait(seconds)
            self._work.clear()

        index_on(self._services, self._stopping, wait)

    def _beat(self) -> None:
        started = now()
        while True:
            try:
                told = [self._indexer.keep_alive() if self._indexer is not None else "", self._trouble()]
                detail = " ".join(one for one in told if one)
                beat(self._services.context, "api", os.getpid(), started, detail=detail)
            except SQLAlchemyError as error:
                # The database is busy or away; a missing beat is what the admin page shows.
                log.warning("heartbeat not written: %s", type(error).__name__)
            if self._stopping.wait(_BEAT_SECONDS):
                return


class _IndexerProcess:
    """`workbench.api.indexing` as a child that ends with us."""

    def __init__(self, services: Services) -> None:
        self._settings = services.context.settings
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0

    def keep_alive(self) -> str:
        """Start it when it does not run; returns what to tell about it, empty when all is well."""
        process = self._process
        if process is not None and process.poll() is None:
            return ""
        if process is not None:
            self._restarts += 1
            log.error("the indexer ended with code %s and is started again", process.returncode)
        self._process = children.start("workbench.api.indexing", self._settings, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        return f"The indexer of traces was started again, {self._restarts} times so far." if self._restarts else ""

    def wake(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A full pipe means that it has not looked yet, a broken one that it is started again with the next beat.
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ValueError):
            os.write(process.stdin.fileno(), b"+")

    def stop(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        children.end(process)
