"""Who writes the traces, and when: one at a time, and senders before those who can wait."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock is polled
    fcntl = None  # type: ignore[assignment]

PATIENCE = 0.5
"""Seconds that who can wait lets senders go first."""

_GLANCE, _QUIET, _BURST = 0.004, 0.02, 1.0
"""Seconds between looks; without a queue until a burst is taken to be over; that a burst is remembered."""


class Turns:
    """The lock that writers of one process share, and the files on which processes wait for each other."""

    def __init__(self, folder: Path | None) -> None:
        """Args:
        folder: where the files lie; None with PostgreSQL, which lets several write.
        """
        self._lock = threading.Lock()
        self._file = _FileLock(folder / "traces.lock") if folder and fcntl else None
        self._queue = _FileLock(folder / "traces.hurry.lock") if folder and fcntl else None
        self._queueing, self._telling = False, threading.Lock()
        self._queued_at = -_BURST
        """When a look last found senders queueing."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One writer at a time over these traces, in turn, so that nobody polls SQLite for its lock.

        Threads of one process take turns by a lock, processes by a lock on a file; PostgreSQL needs neither.
        """
        with self._lock:
            if self._file is not None:
                self._file.take()
            try:
                yield
            finally:
                if self._file is not None:
                    self._file.give()

    def senders_queue(self, queueing: bool) -> None:
        """Say whether senders wait for each other's acknowledgement now; whoever takes spans in says it.

        As long as any process does, the file is locked for sharing; the system gives it back when that process ends.
        """
        with self._telling:
            if queueing != self._queueing and self._queue is not None:
                if queueing:
                    self._queue.take(shared=True)
                else:
                    self._queue.give()
            self._queueing = queueing

    def let_senders_go_first(self, patience: float = PATIENCE) -> bool:
        """Return when senders do not queue, or when patience ends.

        Who makes traces readable calls it before each piece of work, so that a burst is acknowledged at the speed of the
        machine and becomes readable a little later.

        Args:
            patience: seconds.

        Returns:
            Whether they do not queue.
        """
        until = time.monotonic() + patience
        quiet_since = None
        while (moment := time.monotonic()) < until:
            if self._is_queue():
                self._queued_at, quiet_since = moment, None
            elif moment - self._queued_at > _BURST:
                return True
            else:  # within a burst senders are often between two requests
                quiet_since = quiet_since or moment
                if moment - quiet_since >= _QUIET:
                    return True
            time.sleep(_GLANCE)
        return False

    def _is_queue(self) -> bool:
        with self._telling:
            return self._queueing or (self._queue is not None and not self._queue.is_free())


class _FileLock:
    """A lock on a file that the system gives back when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, *, shared: bool = False) -> None:
        fcntl.flock(self._open(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def give(self) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def is_free(self) -> bool:
        """Whether nobody else holds it now."""
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.give()
        return True

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file
