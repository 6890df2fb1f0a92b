"""What a home holds after everything, read as an outsider would: tables, outboxes, ledger."""

import json
from collections import Counter
from pathlib import Path

from sqlalchemy import text
from sqlmodel import SQLModel, select

from tests.browser.walking import wait_for
from workbench.audit.journal import LEDGER_FOLDER, SEGMENTS
from workbench.audit.outbox import TABLES, Outbox
from workbench.audit.segments import read_lines
from workbench.core.unit_of_work import Context

Rows = dict[str, frozenset[str]]
"""Table → its rows as text."""

_UNGOVERNED = {"process_heartbeat", "trace_pending"}
"""Signs of life, and the list of traces that the text index has yet to read."""
_SEALING = {"sealed_seq", "sealed_at", "checkpoint_size"}
"""What the sealer writes into the outboxes while everything else stands still."""
RECEIPTS = ("command_receipt", "traces.trace_command_receipt")
OUTBOXES = ("audit_outbox", "traces.trace_outbox")
DRAINED_WITHIN = 60.0
"""Seconds. An idle machine needs less than one."""


def rows_of(context: Context) -> Rows:
    """Every row of every table, but for what is not governed and the sealer's marks."""
    found: Rows = {}
    with context.database.reading.connect() as connection:
        for table in SQLModel.metadata.sorted_tables:
            if table.name in _UNGOVERNED:
                continue
            columns = ", ".join(f'"{column.name}"' for column in table.columns if column.name not in _SEALING)
            rows = connection.execute(text(f"SELECT {columns} FROM {table.fullname}")).all()
            found[table.fullname] = frozenset(repr(tuple(row)) for row in rows)
            assert len(found[table.fullname]) == len(rows)
    return found


def grown(before: Rows, after: Rows) -> dict[str, int]:
    """How many rows each table has more than before; only tables that grew."""
    return {name: len(rows) - len(before[name]) for name, rows in after.items() if len(rows) != len(before[name])}


def has_receipt(context: Context, command_id: str) -> bool:
    """Whether the command was carried out."""
    with context.database.session() as session:
        return any(
            session.connection().execute(text(f"SELECT 1 FROM {table} WHERE id = :id"), {"id": command_id}).first()
            for table in RECEIPTS
        )


def events_of_command(context: Context, command_id: str) -> list[str]:
    """Types of the audit events that the command wrote into the outboxes."""
    with context.database.session() as session:
        return [
            str(kind)
            for table in OUTBOXES
            for (kind,) in session.connection().execute(
                text(f"SELECT type FROM {table} WHERE command_id = :id"), {"id": command_id}
            )
        ]  # fmt: skip


def committed_events(context: Context) -> set[str]:
    """Ids of all events in the outboxes; nothing is pruned within a week."""
    with context.database.session() as session:
        return {row_id for table in TABLES for row_id in session.exec(select(table.id))}


def ledger(home: Path) -> list[dict[str, object]]:
    """Every event of the ledger's segments, in order."""
    return [json.loads(line) for _seq, line in read_lines(home / LEDGER_FOLDER / SEGMENTS)]


def assert_everything_is_recorded_once(context: Context) -> None:
    """The running web drains the outboxes; then the ledger holds each committed event once, and nothing else."""
    outbox = Outbox(context.database)
    wait_for(lambda: outbox.waiting()[0] == 0, DRAINED_WITHIN, what="an empty outbox")
    sealed = Counter(str(event["event_id"]) for event in ledger(context.settings.home))
    assert [event_id for event_id, times in sealed.items() if times > 1] == []
    assert set(sealed) == committed_events(context)
