"""The columns of an event as a row: in DuckDB, in Parquet, in a query's answer. Imports neither."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from workbench.audit.events import Event

COLUMNS = {
    "seq": "BIGINT",
    "event_id": "VARCHAR",
    "at": "TIMESTAMP",
    "type": "VARCHAR",
    "actor_id": "VARCHAR",
    "actor_name": "VARCHAR",
    "actor_kind": "VARCHAR",
    "subject_kind": "VARCHAR",
    "subject_id": "VARCHAR",
    "project_id": "VARCHAR",
    "reason": "VARCHAR",
    "details": "VARCHAR",
    "command_id": "VARCHAR",
    "prev_hash": "VARCHAR",
    "leaf_hash": "BLOB",
}
"""Name → DuckDB type, in order. Times are UTC without a zone; details are JSON text."""


def from_row(row: Sequence[Any]) -> Event:
    """The event of a row with all columns."""
    value = dict(zip(COLUMNS, row, strict=True))
    del value["leaf_hash"]
    value["at"] = value["at"].replace(tzinfo=UTC)
    value["details"] = json.loads(value["details"])
    return Event(**value)
