"""What the web process does besides pages: it beats, and it seals the ledger."""

import logging
import os
import threading
from types import TracebackType

from sqlalchemy.exc import SQLAlchemyError

from workbench.audit.locks import FileLock, hold_web_lock
from workbench.audit.sealer import Sealer
from workbench.bootstrap import Services
from workbench.core.clock import now
from workbench.core.errors import Conflict
from workbench.core.jobs import beat

log = logging.getLogger(__name__)

_BEAT_SECONDS = 3.0


class Background:
    """Starts the sealer and the heartbeat, and stops both in order."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = threading.Event()
        self._sealer = Sealer(services.context)
        services.context.extras["sealer"] = self._sealer  # the audit page reads the ledger through it
        self._thread = threading.Thread(target=self._beat, name="web-heartbeat", daemon=True)
        self._web_lock: FileLock | None = None

    def __enter__(self) -> "Background":
        try:
            self._web_lock = hold_web_lock(self._services.context.settings)
        except Conflict as error:
            raise SystemExit(str(error)) from None
        self._sealer.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)
        self._sealer.stop()
        if self._web_lock is not None:
            self._web_lock.release()

    def _beat(self) -> None:
        started = now()
        while True:
            try:
                beat(self._services.context, "web", os.getpid(), started)
            except SQLAlchemyError as error:
                # The database is busy or away; a missing beat is what the health page shows.
                log.warning("heartbeat not written: %s", type(error).__name__)
            if self._stopping.wait(_BEAT_SECONDS):
                return
