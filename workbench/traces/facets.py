"""The values of columns with counts, for choosing among them."""

from typing import Any

from sqlalchemy import Select, func, select
from sqlmodel import Session

from workbench.traces.filters import FACETS, TraceFilter, conditions_of
from workbench.traces.models import Trace, TraceTag
from workbench.traces.store import table

_TRACE = table(Trace)


def facets(
    session: Session, project_id: str, filters: TraceFilter | None = None, *, limit: int = 50
) -> dict[str, list[tuple[str, int]]]:
    """For each of FACETS and `tag`: its values with counts, the commonest first, within the filter."""
    conditions = conditions_of(session, project_id, filters or TraceFilter())
    found: dict[str, list[tuple[str, int]]] = {}
    for name in FACETS:
        column = _TRACE.c[name]
        statement = select(column, func.count()).where(*conditions, column.is_not(None)).group_by(column)
        found[name] = _counted(session, statement, limit)
    tag = table(TraceTag).c
    joined = (_TRACE.c.project_id == tag.project_id) & (_TRACE.c.trace_id == tag.trace_id)
    statement = (
        select(tag.tag, func.count()).select_from(table(TraceTag).join(_TRACE, joined)).where(*conditions).group_by(tag.tag)
    )
    found["tag"] = _counted(session, statement, limit)
    return found


def _counted(session: Session, statement: Select[Any], limit: int) -> list[tuple[str, int]]:
    rows = session.execute(statement.order_by(func.count().desc()).limit(limit)).all()
    return [(str(value), int(count)) for value, count in rows]
