"""Who writes the traces, and when: one at a time, and senders before those who can wait."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.core.unit_of_work import Context

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock is polled
    fcntl = None  # type: ignore[assignment]

_LOCK = "traces.write_lock"


@contextmanager
def writing(context: Context) -> Iterator[None]:
    """One writer at a time over these traces, in turn, so that nobody polls SQLite for its lock.

    Threads of one process take turns by a lock, processes by a lock on a file; PostgreSQL needs neither.
    """
    turn = _turn(context)
    with turn.lock:
        turn.take()
        try:
            yield
        finally:
            turn.give()


@contextmanager
def in_a_hurry(context: Context) -> Iterator[None]:
    """While a sender waits for an acknowledgement; see `let_senders_go_first`."""
    turn = _turn(context)
    turn.hurry(+1)
    try:
        yield
    finally:
        turn.hurry(-1)


def let_senders_go_first(context: Context) -> None:
    """Return when no sender waits for an acknowledgement, or when we have waited for half a second.

    Who makes traces readable calls it before each piece of work, so that a burst is acknowledged at the speed of the
    machine and becomes readable a little later.
    """
    _turn(context).wait_for_senders()


def _turn(context: Context) -> "_Turn":
    turn: _Turn = context.extras.setdefault(_LOCK, _Turn(context))
    return turn


_PATIENCE, _GLANCE = 0.5, 0.002
"""Seconds: how long patience lasts, and between looks."""


class _Turn:
    """The lock that writers of one process share, and the files on which processes wait for each other."""

    def __init__(self, context: Context) -> None:
        self.lock = threading.Lock()
        home = context.settings.home if context.database.dialect == "sqlite" and fcntl else None
        self._turns = _FileLock(home / "traces.lock") if home else None
        self._hurry = _FileLock(home / "traces.hurry.lock") if home else None
        self._hurrying, self._counting = 0, threading.Lock()

    def take(self) -> None:
        if self._turns is not None:
            self._turns.take()

    def give(self) -> None:
        if self._turns is not None:
            self._turns.give()

    def hurry(self, by: int) -> None:
        """One more sender waits, or one fewer. As long as any does, the file is locked for sharing."""
        with self._counting:
            if self._hurry is not None and not self._hurrying:
                self._hurry.take(shared=True)
            self._hurrying += by
            if self._hurry is not None and not self._hurrying:
                self._hurry.give()

    def wait_for_senders(self) -> None:
        """Until no sender of any process waits, or patience ends."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with self._counting:
                if not self._hurrying and (self._hurry is None or self._hurry.is_free()):
                    return
            time.sleep(_GLANCE)


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
