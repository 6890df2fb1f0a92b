"""How SQLite goes about what was asked of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from workbench.core.database import Database


@contextmanager
def planned(database: Database, engines: Sequence[Engine]) -> Iterator[list[tuple[str, str]]]:
    """Behind it, the list holds each step of a plan and its statement, of all that was read, changed or removed within."""
    if database.dialect != "sqlite":
        pytest.skip("PostgreSQL plans by what it knows of the tables' sizes")
    said: set[tuple[str, Any]] = set()
    steps: list[tuple[str, str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            said.add((statement, tuple((parameters[0] if many else parameters) or ())))

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield steps
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
    with database.session() as session:
        connection = session.connection()
        for statement, parameters in sorted(said, key=str):
            explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps += [(step, statement) for *_, step in explained]
