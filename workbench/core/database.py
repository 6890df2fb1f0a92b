"""The operational database and the traces beside it, embedded or for a team.

Embedded, there are two SQLite files in WAL mode, so that ingest and annotation never wait for each other. Four engines
open them:

- `reading`: both files, deferred begin, query-only; what pages use.
- `writing`: `workbench.sqlite` read-write with the traces attached read-only; every begin is IMMEDIATE.
- `ingesting`: `traces.sqlite` read-write (schema `traces`) with the operational file attached read-only.
- `deriving`: the same for what can be made again from what `ingesting` wrote: a commit does not wait for the disk, and a
  power cut loses the latest such commits whole, what says that they are still to be made among them.

`BEGIN IMMEDIATE` takes the write lock of every attached file that is writable; attaching the other one read-only is
what keeps the two writers independent. With PostgreSQL the four are one engine and `traces` is a schema.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Engine, Integer, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.pool import NullPool, QueuePool
from sqlmodel import Session, SQLModel

from workbench.core.settings import Settings
from workbench.core.turns import Turns

TRACES = "traces"
"""Schema of the trace tables."""

JsonColumn = JSON().with_variant(JSONB(), "postgresql")
"""Column type for JSON values. Assign a new value to change it; changes inside the value are not tracked."""

RowId = BigInteger().with_variant(Integer(), "sqlite")
"""Column type for row numbers; SQLite numbers rows by itself only in an INTEGER primary key."""

_BUSY_MILLISECONDS = 15_000
_CHECKPOINT_PAGES = 160_000
"""When a commit of traces copies the write-ahead log into the file itself; mostly the indexer did that before."""

_LOG_BYTES = 64 << 20
"""What is left of a write-ahead log's file once all of it was copied."""


class Database:
    """Engines over the operational tables and the traces."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.turns = Turns(settings.home if settings.uses_sqlite else None)
        """Whoever writes the traces takes one."""
        if settings.uses_sqlite:
            settings.home.mkdir(parents=True, exist_ok=True)
            self.operations_file = settings.home / "workbench.sqlite"
            self.traces_file = settings.home / "traces.sqlite"
            for path in (self.operations_file, self.traces_file):
                _make_wal_file(path)
            self.reading = self._sqlite(self.operations_file, "main", attach=self.traces_file, mode="read")
            self.writing = self._sqlite(self.operations_file, "main", attach=self.traces_file, mode="write")
            self.ingesting = self._sqlite(self.traces_file, TRACES, attach=self.operations_file, mode="write")
            self.deriving = self._sqlite(self.traces_file, TRACES, attach=self.operations_file, mode="write", durable=False)
        else:
            engine = create_engine(
                settings.database_url,
                pool_size=5,
                max_overflow=10,
                pool_pre_ping=True,
                json_serializer=_dumps,
            )
            self.writing = self.ingesting = self.deriving = engine
            # As with SQLite: what is read in one session is of one moment, and nothing is written by the way.
            self.reading = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def dialect(self) -> str:
        return self.reading.dialect.name

    def _sqlite(self, own: Path, schema: str, *, attach: Path, mode: str, durable: bool = True) -> Engine:
        def connect() -> sqlite3.Connection:
            if schema == "main":
                connection = sqlite3.connect(
                    f"file:{own}", uri=True, check_same_thread=False, timeout=_BUSY_MILLISECONDS / 1000
                )
                connection.execute("ATTACH DATABASE ? AS traces", (f"file:{attach}?mode={'rw' if mode == 'all' else 'ro'}",))
            else:
                connection = sqlite3.connect(
                    "file::memory:", uri=True, check_same_thread=False, timeout=_BUSY_MILLISECONDS / 1000
                )
                connection.execute(f"ATTACH DATABASE ? AS {schema}", (f"file:{own}?mode=rw",))
                connection.execute("ATTACH DATABASE ? AS operations", (f"file:{attach}?mode=ro",))
            connection.isolation_level = None
            connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA temp_store=MEMORY")
            # An acknowledged trace or decision must survive a power cut.
            connection.execute(f"PRAGMA {schema}.synchronous={'FULL' if durable else 'NORMAL'}")
            if schema == TRACES:
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                connection.execute(f"PRAGMA {schema}.journal_size_limit={_LOG_BYTES}")
            if mode == "read":
                connection.execute("PRAGMA query_only=ON")
            return connection

        engine = create_engine(
            "sqlite://",
            creator=connect,
            poolclass=NullPool if mode == "all" else QueuePool,
            json_serializer=_dumps,
            **({} if mode == "all" else {"pool_size": 8, "max_overflow": 24}),
        )
        begin = "BEGIN" if mode == "read" else "BEGIN IMMEDIATE"

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        return engine

    @contextmanager
    def migrating(self) -> Iterator[Engine]:
        """An engine that may change both schemas; for migrations and tests only."""
        if self.settings.uses_sqlite:
            engine = self._sqlite(self.operations_file, "main", attach=self.traces_file, mode="all")
            try:
                yield engine
            finally:
                engine.dispose()
        else:
            with self.writing.begin() as connection:
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {TRACES}"))
            yield self.writing

    def create_all(self) -> None:
        """Create every table that is known; tests use it, a real home is migrated."""
        with self.migrating() as engine:
            SQLModel.metadata.create_all(engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A read-only session for pages and queries. Rows stay usable after its end."""
        # Closing ends the transaction; a rollback here would expire the rows that the caller keeps.
        with Session(self.reading, expire_on_commit=False) as session:
            yield session

    def checkpoint_traces(self) -> None:
        """Copy what readers no longer need of the traces' write-ahead log into their file. It holds up nobody (SQLite)."""
        if self.dialect == "sqlite":
            with self.deriving.connect() as connection:
                connection.connection.driver_connection.execute(f"PRAGMA {TRACES}.wal_checkpoint(PASSIVE)")  # type: ignore[union-attr]

    def traces_log_bytes(self) -> int:
        """The size of the traces' write-ahead log; 0 where there is none."""
        if self.dialect != "sqlite":
            return 0
        log = self.traces_file.with_name(f"{self.traces_file.name}-wal")
        return log.stat().st_size if log.exists() else 0

    def dispose(self) -> None:
        for engine in {self.reading, self.writing, self.ingesting, self.deriving}:
            engine.dispose()


def _make_wal_file(path: Path) -> None:
    """Create the file in WAL mode, since a read-only attachment cannot."""
    connection = sqlite3.connect(path, timeout=_BUSY_MILLISECONDS / 1000)
    try:
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    path.chmod(0o600)


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # what it does not take: integers beyond 64 bits, lone surrogates, keys that are no text
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
