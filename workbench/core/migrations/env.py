"""Alembic's entry: migrations run on the connection that `core.migrate` hands over."""

from typing import Any

from alembic import context
from sqlmodel import SQLModel

from workbench.core.database import TRACES

connection = context.config.attributes["connection"]


def _ours(name: str | None, kind: str, parents: Any) -> bool:
    """Autogenerate compares only our two schemas, and not the tables of a search index."""
    if kind == "schema":
        return name in (None, TRACES)
    return not (kind == "table" and name is not None and "_fts" in name)


context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    include_schemas=True,
    include_name=_ours,
    render_as_batch=False,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
