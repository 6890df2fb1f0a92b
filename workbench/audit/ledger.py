"""The ledger as a DuckDB table: what the audit page asks.

It is an index over the segments, not the truth: when the file is missing, older, of another shape or damaged, it is
made again from the segments. Only the web process opens it, since DuckDB lets one process in.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from workbench.audit.columns import COLUMNS
from workbench.audit.events import Event
from workbench.audit.journal import Journal
from workbench.core.errors import Unavailable

log = logging.getLogger(__name__)

FILE = "ledger.duckdb"

THREADS = 1
MEMORY = "256MB"
"""What DuckDB may take of the web process: its queries are small, and annotators share the machine."""

_ROWS_PER_INSERT = 20_000

_ARROW = pa.schema(
    [
        pa.field(name, {"BIGINT": pa.int64(), "TIMESTAMP": pa.timestamp("us"), "BLOB": pa.binary()}.get(kind, pa.string()))
        for name, kind in COLUMNS.items()
    ]
)

_CREATE = "CREATE TABLE events ({}, PRIMARY KEY (event_id))".format(", ".join(f'"{n}" {k}' for n, k in COLUMNS.items()))


class Ledger:
    """The events in DuckDB. Any thread may query; the sealer's thread is the only one that adds."""

    def __init__(self, folder: Path) -> None:
        """Open `ledger.duckdb` in the ledger's folder, or make an empty one in place of what cannot be used.

        Raises:
            Unavailable: another program holds the file.
        """
        self.path = folder / FILE
        self._lock = threading.Lock()
        self.broken = False
        """Whether a query met damage: the sealer then opens the ledger anew, which makes it again."""
        self._connection = self._open()

    def follow(self, journal: Journal) -> int:
        """Make the table hold exactly the journal's events; returns how many had to be added.

        Rows that differ from the segments in any hash are not kept: the table is made again.
        """
        try:
            held = self._held_leaves()
        except duckdb.Error as error:
            self._start_over(f"it cannot be read ({error})")
            held = []
        if held != journal.leaves(min(len(held), journal.size)):
            self._start_over("it does not hold the events of the segments")
            held = []
        missing = journal.size - len(held)
        group: list[Event] = []
        for _, line in journal.lines(len(held) + 1):
            group.append(Event.from_bytes(line))
            if len(group) == _ROWS_PER_INSERT:
                self.add(group)
                group = []
        self.add(group)
        return missing

    def add(self, events: Sequence[Event]) -> None:
        """Insert events in one transaction, as one Arrow table.

        Raises:
            duckdb.Error: nothing was inserted.
        """
        if not events:
            return
        with self._cursor() as cursor:
            cursor.register("incoming", to_arrow(events))
            cursor.execute("INSERT INTO events SELECT * FROM incoming")
            cursor.unregister("incoming")

    def known(self, event_ids: Sequence[str]) -> dict[str, int]:
        """Event id → seq of those that the ledger already holds."""
        rows = self.query("SELECT event_id, seq FROM events WHERE event_id IN (SELECT unnest(?))", [list(event_ids)])
        return dict(rows)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a read.

        Raises:
            Unavailable: the file is damaged; the sealer makes it again within seconds.
        """
        try:
            with self._cursor() as cursor:
                return list(cursor.execute(sql, list(parameters)).fetchall())
        except (duckdb.IOException, duckdb.InternalException, duckdb.FatalException, duckdb.ConnectionException) as error:
            self.broken = True
            log.warning("The ledger's DuckDB file cannot be read: %s", error)
            raise Unavailable(
                "The ledger's index cannot be read and is being made again from the segments.",
                todo="Try again in a few seconds.",
            ) from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _cursor(self) -> Any:
        with self._lock:
            return self._connection.cursor()

    def _held_leaves(self) -> list[bytes]:
        with self._cursor() as cursor:
            rows = cursor.execute("SELECT seq, leaf_hash FROM events ORDER BY seq").fetchall()
        if [seq for seq, _ in rows] != list(range(1, len(rows) + 1)):
            raise duckdb.IntegrityError("its events are not numbered without a gap")
        return [leaf for _, leaf in rows]

    def _open(self) -> Any:
        if self.path.exists():
            try:
                connection = _connect(self.path)
                described = connection.execute(
                    "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'events' ORDER BY column_index"
                ).fetchall()
                if dict(described) == COLUMNS:
                    return connection
                connection.close()
                why = "its table has another shape"
            except duckdb.Error as error:
                if "lock" in str(error).lower():
                    raise Unavailable(
                        "Another program holds the ledger's DuckDB file.", why=str(error), todo="Close that program."
                    ) from error
                why = str(error)
            self._set_aside(why)
        connection = _connect(self.path)
        connection.execute(_CREATE)
        return connection

    def _start_over(self, why: str) -> None:
        with self._lock:
            self._connection.close()
            self._set_aside(why)
            self._connection = _connect(self.path)
            self._connection.execute(_CREATE)

    def _set_aside(self, why: str) -> None:
        log.warning("The ledger's DuckDB file is made again from the segments, since %s.", why)
        self.path.replace(self.path.with_name(FILE + ".set-aside"))
        self.path.with_name(FILE + ".wal").unlink(missing_ok=True)


def _connect(path: Path) -> Any:
    return duckdb.connect(
        str(path),
        config={
            "threads": THREADS,
            "memory_limit": MEMORY,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )


def to_arrow(events: Sequence[Event]) -> pa.Table:
    """The events as one Arrow table with the columns of the DuckDB table; times are UTC without a zone."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for event in events:
        for name in COLUMNS:
            match name:
                case "at":
                    columns[name].append(event.at.astimezone(UTC).replace(tzinfo=None))
                case "details":
                    columns[name].append(json.dumps(event.details, ensure_ascii=False))
                case "leaf_hash":
                    columns[name].append(event.leaf)
                case _:
                    columns[name].append(getattr(event, name))
    return pa.table(columns, schema=_ARROW)
