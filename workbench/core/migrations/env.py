"""Alembic's entry: migrations run on the connection that `core.migrate` hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, BigInteger
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from workbench.core.clock import UtcDateTime
from workbench.core.database import TRACES

connection = context.config.attributes["connection"]


def _ours(name: str | None, kind: str, parents: Any) -> bool:
    """Autogenerate compares only our two schemas, and not the tables of a search index."""
    if kind == "schema":
        return name in (None, TRACES)
    return not (kind == "table" and name is not None and "_fts" in name)


def _render(kind: str, item: Any, autogenerate: Any) -> str | Literal[False]:
    """Our own column types by their short names, so that a migration reads well."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "UtcDateTime()"
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    if kind == "type" and isinstance(item, JSON):
        return "JsonColumn"
    if kind == "type" and isinstance(item, BigInteger) and item._variant_mapping:
        return "RowId"
    return False


context.configure(
    render_item=_render,
    connection=connection,
    target_metadata=SQLModel.metadata,
    include_schemas=True,
    include_name=_ours,
    render_as_batch=False,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
