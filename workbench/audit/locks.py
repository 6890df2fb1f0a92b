"""One at a time: who may seal, and who may be the web process of a home.

A lock that ends with its process needs no lease to run out: a killed holder is replaced at once, and one that was only
asleep still holds it when it wakes, so no two ever write.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from workbench.core.database import Database
from workbench.core.errors import Conflict
from workbench.core.settings import Settings

_ADVISORY_KEY = 0x6C65646765720001
"""The sealer's advisory lock in PostgreSQL; any number, as long as it stays the same."""


class FileLock:
    """An exclusive `flock` on a file that names its holder's process id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; returns whether this object holds it."""
        if self._file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return True

    def holder(self) -> str:
        """The process id that the holder wrote, or `unknown`."""
        try:
            return self.path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class SealerLock:
    """Held by the one sealer: over the ledger's folder, and over a PostgreSQL database too, which other folders may share."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._file = FileLock(folder / "sealer.lock")
        self._connection: Connection | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; returns whether this object holds it."""
        if not self._file.acquire():
            return False
        if self._database.dialect != "postgresql" or self.held():
            return True
        self._drop_connection()
        connection = self._database.writing.connect().execution_options(isolation_level="AUTOCOMMIT")
        if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_KEY}).scalar_one():
            self._connection = connection
            return True
        connection.close()
        self._file.release()
        return False

    def held(self) -> bool:
        """Whether the lock is still ours: a lost connection to PostgreSQL loses it."""
        if self._database.dialect != "postgresql":
            return self._file.acquire()
        if self._connection is None:
            return False
        try:
            self._connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            self._drop_connection()
            return False
        return True

    def holder(self) -> str:
        """The process id of the holder on this machine, or `unknown`."""
        return self._file.holder()

    def release(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_KEY})
            except SQLAlchemyError:
                self._connection.invalidate()
        self._drop_connection()
        self._file.release()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def hold_web_lock(settings: Settings) -> FileLock:
    """Make this the web process of the home until the lock is released or the process ends.

    With PostgreSQL several web processes are welcome, each on a machine of its own; a home still has one.

    Raises:
        Conflict: another web process already runs on this home.
    """
    lock = FileLock(settings.folder("run") / "web.lock")
    if not lock.acquire():
        raise Conflict(
            f"Another workbench already serves the pages of {settings.home} (process {lock.holder()}).",
            why="A home has one web process, since only one may write its ledger.",
            todo="Use that one, stop it first, or choose another folder with --home.",
        )
    return lock
