"""Putting tags on traces and taking them off, many at once.

`Trace.tags`, which lists show, is brought in step in the same transaction: to have thousands of traces assembled again would
make new ones wait. Only a trace that waits to be assembled anyway is marked once more, since whoever assembles it may have
read its tags before.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, update

from workbench.core.clock import now
from workbench.core.errors import InvalidInput
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.traces import facets
from workbench.traces.act_models import TraceTagTaken
from workbench.traces.models import Trace, TracePending, TraceTag
from workbench.traces.store import insert_new, table

_TRACE, _TAG, _TAKEN, _PENDING = table(Trace).c, table(TraceTag).c, table(TraceTagTaken).c, table(TracePending).c

MAX_TAG = 60
_AT_ONCE = 500


@dataclass
class Tagged:
    """What became of a batch."""

    changed: int = 0
    missing: int = 0
    """Traces that do not exist."""
    sent: int = 0
    """Traces whose tag came with them; it would come back."""


def clean(tag: str) -> str:
    """The tag as it is stored.

    Raises:
        InvalidInput: it is empty or long.
    """
    word = " ".join(tag.split())
    if not word or len(word) > MAX_TAG:
        raise InvalidInput(f"A tag has 1 to {MAX_TAG} characters.")
    return word


def put(
    work: UnitOfWork, context: Context, project_id: str, trace_ids: Sequence[str], word: str, *, act_id: str | None = None
) -> Tagged:
    """Put a tag on those of the traces that exist and lack it."""
    rows = [{"trace_id": one, "added_by": work.actor.id, "at": now(), "act_id": act_id} for one in trace_ids]
    return _put(work, context, project_id, rows, word)


def take(work: UnitOfWork, context: Context, project_id: str, trace_ids: Sequence[str], word: str, *, act_id: str) -> Tagged:
    """Take a tag off those of the traces that have it from a person, remembering what it was for `put_back`."""
    found = Tagged()
    for part in _parts(trace_ids):
        known = _locked(work, context, project_id, part)
        found.missing += len(part) - len(known)
        mine = (_TAG.project_id == project_id, _TAG.tag == word, _TAG.trace_id.in_(part))
        rows = work.session.connection().execute(select(_TAG.trace_id, _TAG.added_by, _TAG.at, _TAG.act_id).where(*mine)).all()
        ours = [row for row in rows if row.added_by is not None and row.trace_id in known]
        found.sent += len(rows) - len(ours)
        if ours:
            taken = [
                {"act_id": act_id, "trace_id": row[0], "added_by": row[1], "at": row[2], "tag_act_id": row[3]} for row in ours
            ]
            work.session.connection().execute(insert_new(context, TraceTagTaken), taken)
            _remove(work, context, project_id, word, {row.trace_id: known[row.trace_id] for row in ours})
        found.changed += len(ours)
    return found


def take_back(work: UnitOfWork, context: Context, project_id: str, word: str, *, act_id: str, limit: int) -> int:
    """Take off up to `limit` of the tags that an act put there; those put there anew since stay."""
    mine = select(_TAG.trace_id).where(_TAG.project_id == project_id, _TAG.tag == word, _TAG.act_id == act_id).limit(limit)
    trace_ids = list(work.session.connection().execute(mine).scalars())
    for part in _parts(trace_ids):
        tags = _locked(work, context, project_id, part)
        _remove(work, context, project_id, word, {one: tags.get(one) for one in part})
    return len(trace_ids)


def put_back(work: UnitOfWork, context: Context, project_id: str, word: str, *, act_id: str, limit: int) -> int:
    """Put back up to `limit` of the tags that an act took off, as they were."""
    connection = work.session.connection()
    rows = connection.execute(
        select(_TAKEN.trace_id, _TAKEN.added_by, _TAKEN.at, _TAKEN.tag_act_id).where(_TAKEN.act_id == act_id).limit(limit)
    ).all()
    back = [{"trace_id": row[0], "added_by": row[1], "at": row[2], "act_id": row[3]} for row in rows]
    _put(work, context, project_id, back, word)
    for part in _parts([row.trace_id for row in rows]):
        connection.execute(delete(table(TraceTagTaken)).where(_TAKEN.act_id == act_id, _TAKEN.trace_id.in_(part)))
    return len(rows)


def _put(work: UnitOfWork, context: Context, project_id: str, rows: Sequence[dict[str, Any]], word: str) -> Tagged:
    found = Tagged()
    connection = work.session.connection()
    for start in range(0, len(rows), _AT_ONCE):
        part = {row["trace_id"]: row for row in rows[start : start + _AT_ONCE]}
        known = _locked(work, context, project_id, list(part))
        found.missing += len(part) - len(known)
        here = select(_TAG.trace_id).where(_TAG.project_id == project_id, _TAG.tag == word, _TAG.trace_id.in_(list(known)))
        have = set(connection.execute(here).scalars())
        new = [one for one in known if one not in have]
        if new:
            stored = [{"project_id": project_id, "tag": word, **part[one]} for one in new]
            found.changed += connection.execute(insert_new(context, TraceTag), stored).rowcount
            _show(work, context, project_id, {one: sorted({*known[one], word}) for one in new})
    return found


def _remove(work: UnitOfWork, context: Context, project_id: str, word: str, tags: dict[str, list[str] | None]) -> None:
    mine = (_TAG.project_id == project_id, _TAG.tag == word, _TAG.trace_id.in_(list(tags)))
    work.session.connection().execute(delete(table(TraceTag)).where(*mine))
    _show(work, context, project_id, {one: [tag for tag in had if tag != word] for one, had in tags.items() if had is not None})


def _locked(work: UnitOfWork, context: Context, project_id: str, trace_ids: Sequence[str]) -> dict[str, list[str]]:
    """Trace id → its tags, for those that exist."""
    facets.one_at_a_time(work.session.connection())  # before any row, as assembly does
    statement = select(_TRACE.trace_id, _TRACE.tags).where(_TRACE.project_id == project_id, _TRACE.trace_id.in_(trace_ids))
    if context.database.dialect == "postgresql":
        statement = statement.order_by(_TRACE.id).with_for_update()
    return {row[0]: list(row[1]) for row in work.session.connection().execute(statement)}


def _show(work: UnitOfWork, context: Context, project_id: str, tags: dict[str, list[str]]) -> None:
    if not tags:
        return
    connection = work.session.connection()
    keys = [(project_id, trace_id) for trace_id in tags]
    counted = facets.are_kept(connection)
    before = facets.counts_of(connection, keys, ["tag"]) if counted else None
    row = update(table(Trace)).where(_TRACE.project_id == project_id, _TRACE.trace_id == bindparam("of_trace"))
    connection.execute(row.values(tags=bindparam("shown")), [{"of_trace": one, "shown": shown} for one, shown in tags.items()])
    if before is not None:
        facets.move(connection, context, before, facets.counts_of(connection, keys, ["tag"]))
    waiting = (_PENDING.project_id == project_id, _PENDING.trace_id.in_(list(tags)))
    connection.execute(update(table(TracePending)).where(*waiting).values(touched=_PENDING.touched + 1))


def _parts(trace_ids: Iterable[str]) -> Iterator[list[str]]:
    every = list(trace_ids)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]
