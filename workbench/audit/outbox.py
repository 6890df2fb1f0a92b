"""The outboxes as the sealer and whoever waits for it see them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, update
from sqlmodel import col, select

from workbench.core.clock import now
from workbench.core.database import Database
from workbench.core.errors import NotFound, Unavailable
from workbench.core.recording import AuditOutbox, OutboxColumns, TraceOutbox

KEEP_AFTER_CHECKPOINT = timedelta(days=7)
"""How long a row stays after a checkpoint covers its event: long enough to answer whoever still waits for it."""

_POLL_SECONDS = 0.05

Table = type[AuditOutbox] | type[TraceOutbox]
TABLES: tuple[Table, ...] = (AuditOutbox, TraceOutbox)


class Outbox:
    """Both outbox tables of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unsealed(self, limit: int) -> list[OutboxColumns]:
        """Up to `limit` rows that are not in the ledger yet, oldest act first.

        It asks for rows without a seq and never for ids above the last one: transactions do not commit in the order in
        which their ids were made.
        """
        rows: list[OutboxColumns] = []
        with self._database.session() as session:
            for table in TABLES:
                rows += session.exec(
                    select(table).where(col(table.sealed_seq).is_(None)).order_by(col(table.at), col(table.id)).limit(limit)
                ).all()
        rows.sort(key=lambda row: (row.at, row.id))
        return rows[:limit]

    def waiting(self) -> tuple[int, datetime | None]:
        """How many events wait to be sealed, and the moment of the oldest."""
        count, oldest = 0, None
        with self._database.session() as session:
            for table in TABLES:
                statement = select(func.count(), func.min(col(table.at))).where(col(table.sealed_seq).is_(None))
                number, moment = session.exec(statement).one()
                count += number
                oldest = min(filter(None, (oldest, moment)), default=None)
        return count, oldest

    def last_sealed(self) -> int:
        """The largest seq that the outboxes know of; 0 when none."""
        with self._database.session() as session:
            return max(session.exec(select(func.max(col(table.sealed_seq)))).one() or 0 for table in TABLES)

    def mark_sealed(self, rows: list[OutboxColumns], seqs: Mapping[str, int]) -> None:
        """Write each row's seq. Repeating it changes nothing."""
        moment = now()
        for table in TABLES:
            values = [{"row": row.id, "seq": seqs[row.id], "moment": moment} for row in rows if isinstance(row, table)]
            if values:
                statement = (
                    update(table)
                    .where(col(table.id) == bindparam("row"), col(table.sealed_seq).is_(None))
                    .values(sealed_seq=bindparam("seq"), sealed_at=bindparam("moment"))
                )
                with self._changing(table) as connection:
                    connection.execute(statement, values)

    def mark_checkpoint(self, size: int, *, after: int) -> None:
        """Note that a kept checkpoint covers the events `after` < seq ≤ `size`."""
        if size <= after:
            return
        for table in TABLES:
            seq = col(table.sealed_seq)
            statement = update(table).where(seq > after, seq <= size, col(table.checkpoint_size).is_(None))
            with self._changing(table) as connection:
                connection.execute(statement.values(checkpoint_size=size))

    def prune(self) -> int:
        """Remove rows whose event has long been under a checkpoint; returns how many."""
        removed = 0
        for table in TABLES:
            old = col(table.sealed_at) < now() - KEEP_AFTER_CHECKPOINT
            with self._changing(table) as connection:
                removed += connection.execute(delete(table).where(col(table.checkpoint_size).is_not(None), old)).rowcount
        return removed

    def sealed_seq(self, event_id: str) -> int | None:
        """The event's seq, or None while it waits.

        Raises:
            NotFound: neither outbox has such an event.
        """
        with self._database.session() as session:
            for table in TABLES:
                found: Any = session.exec(select(table.id, table.sealed_seq).where(table.id == event_id)).first()
                if found is not None:
                    return None if found[1] is None else int(found[1])
        raise NotFound(f"No audit event has the id {event_id!r}.")

    @contextmanager
    def _changing(self, table: Table) -> Iterator[Connection]:
        """A transaction over an outbox. What the sealer writes there the ledger can tell again, so no sender waits for it."""
        if table is not TraceOutbox:
            with self._database.writing.begin() as connection:
                yield connection
            return
        self._database.turns.let_senders_go_first()
        with self._database.turns.writing(), self._database.deriving.begin() as connection:
            yield connection


def wait_sealed(database: Database, event_id: str, timeout: float = 15.0) -> int:
    """Wait until the event is in the ledger; returns its seq. Works in any process.

    What must not happen unrecorded (an approval, a promotion) waits for this before it takes effect.

    Args:
        event_id: as `work.record` returned it. Call this after its transaction has committed.
        timeout: seconds.

    Raises:
        NotFound: no such event: its transaction did not commit.
        Unavailable: it was not sealed in time. The event stays in the outbox and will be sealed.
    """
    outbox = Outbox(database)
    deadline = time.monotonic() + timeout
    while (seq := outbox.sealed_seq(event_id)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The audit ledger did not seal this act within {timeout:g} seconds.",
                why="The sealer runs in the web process; it may be stopped, or the disk may be full.",
                todo="Look at the Audit page or `workbench doctor`, then try again: the act is kept and nothing is done twice.",
            )
        time.sleep(_POLL_SECONDS)
    return seq
