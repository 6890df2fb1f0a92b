"""What readers see, made from what was stored: assembled traces and the text index. Runs off the acknowledgement path."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, delete, update
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from workbench.core.clock import now
from workbench.core.unit_of_work import Context
from workbench.traces import coverage, facets, remapping, search
from workbench.traces.annotations import feedback_carried, is_evaluation
from workbench.traces.assemble import StoredSpan, assemble, sent_tags, tools_of, trace_text
from workbench.traces.masking.numbering import counts_of
from workbench.traces.models import Feedback, Span, SpanSource, Trace, TracePending, TraceTag, TraceTool
from workbench.traces.own_mapping import OwnMapping, own_mappings
from workbench.traces.store import among, insert_new, table, touch, upsert

_LOG = logging.getLogger(__name__)

_AT_ONCE = 25
"""Traces or texts stored under one hold of the write lock, for which ingest waits."""

_LATE = timedelta(seconds=20)
"""A trace that was sent so long ago no longer lets senders go first: they might never end."""

Key = tuple[str, str]
"""Project id and trace id."""


def index_pending(context: Context, limit: int = 200) -> int:
    """Assemble up to `limit` changed traces and put up to as many into the text index.

    Returns:
        How many traces were looked at; 0 when nothing is left to do.
    """
    assembled = assemble_pending(context, limit)
    if not assembled:
        assembled = remapping.go_on(context, limit)
    return assembled + index_texts(context, limit)


def index_all(context: Context) -> int:
    """Everything that is pending, such as after an import; returns the count."""
    total = 0
    while done := index_pending(context, 400):
        total += done
    return total


def assemble_pending(context: Context, limit: int = 200, *, keys: Sequence[Key] | None = None) -> int:
    """Assemble traces that changed, oldest change first, or just those of `keys`, for which somebody waits."""
    facets.prepare(context)
    with context.database.session() as session:
        statement = select(TracePending).order_by(col(TracePending.at)).limit(limit)
        if keys is not None:
            statement = statement.where(among(TracePending, keys))
        pending = list(session.exec(statement))
        if not pending:
            return 0
        wanted = [(row.project_id, row.trace_id) for row in pending]
        spans = _spans(session, wanted)
        feedback, tags = _feedback(session, wanted), _tags(session, wanted)
        own = own_mappings(session, {project_id for project_id, _ in wanted})
        masked = _masked(session, wanted)
    for start in range(0, len(pending), _AT_ONCE):
        part = pending[start : start + _AT_ONCE]
        if keys is None:
            _give_way(context, part[0].at)
        _settle(
            context, part, {key: _Stored(spans[key], feedback[key], tags[key], masked[key]) for key in map(_key, part)}, own
        )
    return len(pending)


def _give_way(context: Context, since: datetime) -> None:
    """Let senders go first, unless what is to be done has waited for too long itself."""
    if since > now() - _LATE:
        context.database.turns.let_senders_go_first()


@dataclass(slots=True)
class _Stored:
    """What is stored of one trace."""

    spans: list[StoredSpan]
    feedback: list[Feedback]
    tags: list[str]
    masked: dict[str, int]


def _key(row: TracePending) -> Key:
    return row.project_id, row.trace_id


def _settle(context: Context, pending: Sequence[TracePending], stored: dict[Key, _Stored], own: dict[str, OwnMapping]) -> None:
    """Make these traces readable and forget that they changed."""
    # Feedback may come first; the trace is assembled when its spans are here.
    read = {key: _read(key, one.spans, one.feedback, one.tags, own.get(key[0])) for key, one in stored.items() if one.spans}
    with context.database.turns.writing(), Session(context.database.deriving) as session, session.begin():
        facets.one_at_a_time(session.connection())
        unsettled = _unsettled(session, pending)
        rows, heard, tagged, judging = [], [], [], []
        elsewhere: set[str] = set()
        for key, (said, columns) in read.items():
            if key not in unsettled:
                continue
            one = stored[key]
            elsewhere |= {signal.id for signal in said if signal.trace_id and signal.trace_id != key[1]}
            heard += said
            if is_evaluation(key[1], one.spans):
                judging.append(key)  # work about other traces: what it said is theirs, and it is none of the application's
                continue
            rows.append({"project_id": key[0], "trace_id": key[1], "assembled_at": now(), **columns, "mask_counts": one.masked})
            tagged += [
                {"project_id": key[0], "trace_id": key[1], "tag": tag, "at": now()} for tag in sent_tags(columns, one.tags)
            ]
        coverage.count(session, context, {key: stored[key].spans for key in read if key in unsettled}, own)
        fresh = _new(session, heard)
        changed = [*((row["project_id"], row["trace_id"]) for row in rows), *judging]
        before = facets.counts_of(session.connection(), changed)
        _store(session, context, rows, fresh, tagged)
        for project_id in {project_id for project_id, _ in stored}:  # what a span says of another trace counts there
            judged = {one.trace_id for one in fresh if one.project_id == project_id and one.trace_id and one.id in elsewhere}
            touch(session, context, project_id, judged)
        _remove(session, context, judging)
        facets.move(session.connection(), context, before, facets.counts_of(session.connection(), changed))
        # A change since we read has raised `touched`, and keeps its row.
        kept = table(TracePending).c
        settled = delete(TracePending).where(
            kept.project_id == bindparam("project"), kept.trace_id == bindparam("trace"),
            kept.touched == bindparam("seen"), kept.at == bindparam("since"),
        )  # fmt: skip
        session.connection().execute(
            settled,
            [{"project": row.project_id, "trace": row.trace_id, "seen": row.touched, "since": row.at} for row in pending],
        )


def _unsettled(session: Session, pending: Sequence[TracePending]) -> set[Key]:
    """The traces that nobody else has settled since `pending` was read.

    The api assembles its gateway's answers at once, beside the indexer. Who comes second read less of the trace, maybe, and
    must leave it alone; where the row is another one, younger, that trace is assembled again soon.
    """
    kept = table(TracePending).c
    rows = session.connection().execute(
        sql_select(kept.project_id, kept.trace_id, kept.at).where(among(kept, [_key(row) for row in pending]))
    )
    found = {(row.project_id, row.trace_id): row.at for row in rows}
    return {_key(row) for row in pending if found.get(_key(row)) == row.at}


def _read(
    key: Key, spans: list[StoredSpan], feedback: list[Feedback], tags: list[str], own: OwnMapping | None
) -> tuple[list[Feedback], dict[str, Any]]:
    """Feedback that the spans carry and is not stored yet, and the columns of the trace.

    Attributes that our own reading stumbles over must not keep the trace from people, nor other traces waiting: it is then
    shown by its spans' names and times, with mapping version 0, until a better mapping reads it again.
    """
    try:
        known = {one.id for one in feedback}
        said = [one for one in feedback_carried(*key, spans) if one.id not in known]
        return said, assemble(spans, [*feedback, *(one for one in said if one.trace_id == key[1])], tags, own)
    except Exception:
        _LOG.exception("the attributes of trace %s cannot be read", key[1])
        bare = [replace(span, attributes={}, events=[], resource={}) for span in spans]
        return [], {**assemble(bare, feedback, tags), "mapping_version": 0}


def _new(session: Session, heard: list[Feedback]) -> list[Feedback]:
    """Those that are not stored yet."""
    ids = [one.id for one in heard]
    known: set[str] = set()
    for start in range(0, len(ids), 500):
        known.update(session.exec(select(Feedback.id).where(col(Feedback.id).in_(ids[start : start + 500]))))
    return [one for one in heard if one.id not in known]


def _remove(session: Session, context: Context, keys: Sequence[Key]) -> None:
    """Take traces out of what people see; their spans stay. Such a trace was shown while its root was on its way."""
    connection, shown = session.connection(), table(Trace).c
    for project_id, trace_id in keys:
        mine = (shown.project_id == project_id) & (shown.trace_id == trace_id)
        row_id = connection.execute(sql_select(shown.id).where(mine)).scalar()
        if row_id is None:
            continue
        if context.database.dialect == "sqlite":
            search.ensure(connection)
            search.remove(connection, [row_id])
        connection.execute(delete(table(Trace)).where(mine))
        tag = table(TraceTag).c
        connection.execute(delete(table(TraceTag)).where((tag.project_id == project_id) & (tag.trace_id == trace_id)))
        tool = table(TraceTool).c
        connection.execute(delete(table(TraceTool)).where((tool.project_id == project_id) & (tool.trace_id == trace_id)))


def _store(
    session: Session, context: Context, rows: list[dict[str, Any]], heard: list[Feedback], tagged: list[dict[str, Any]]
) -> None:
    connection = session.connection()
    if heard:
        connection.execute(insert_new(context, Feedback), [one.model_dump() for one in heard])
    _store_tools(connection, rows)
    if tagged:
        connection.execute(insert_new(context, TraceTag), tagged)
    if rows:
        connection.execute(upsert(context, Trace, ("project_id", "trace_id"), _assembled_again), rows)


_KEYS = ("id", "project_id", "trace_id")


def _assembled_again(old: Any, new: Any) -> dict[str, Any]:
    """Every column as it was assembled anew, but for the keys; a text that stayed the same stays in the text index."""
    changes: dict[str, Any] = {one.name: new[one.name] for one in table(Trace).c if one.name not in _KEYS}
    same_text = and_(*(new[name] == old[name] for name in ("input", "output", "tool_count")))
    changes["indexed"] = case((same_text, old.indexed), else_=new.indexed)
    changes["counted_span_id"] = case(
        (old.counted_span_id > new.counted_span_id, old.counted_span_id), else_=new.counted_span_id
    )
    return changes


def _store_tools(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Make the tools of these traces what they call now."""
    kept = table(TraceTool).c
    wanted = {(row["project_id"], tool, row["trace_id"]) for row in rows for tool in tools_of(row)}
    mine = among(kept, [(row["project_id"], row["trace_id"]) for row in rows])
    known = {tuple(one) for one in connection.execute(sql_select(kept.project_id, kept.tool, kept.trace_id).where(mine))}
    names = ("project", "named", "trace")
    if gone := known - wanted:
        exactly = (
            (kept.project_id == bindparam("project"))
            & (kept.tool == bindparam("named"))
            & (kept.trace_id == bindparam("trace"))
        )
        connection.execute(
            delete(table(TraceTool)).where(exactly), [dict(zip(names, one, strict=True)) for one in sorted(gone)]
        )
    if new := wanted - known:
        columns = ("project_id", "tool", "trace_id")
        connection.execute(table(TraceTool).insert(), [dict(zip(columns, one, strict=True)) for one in sorted(new)])


def index_texts(context: Context, limit: int = 200) -> int:
    """Put assembled traces into the text index; with PostgreSQL there is none to keep."""
    engine = context.database.deriving
    if engine.dialect.name != "sqlite":
        return 0
    with context.database.session() as session:
        columns = (Trace.id, Trace.assembled_at, Trace.input, Trace.output, Trace.tool_calls)
        statement = select(*columns).where(col(Trace.indexed).is_(False)).order_by(col(Trace.id)).limit(limit)  # type: ignore[call-overload]
        waiting = session.exec(statement).all()
    for start in range(0, len(waiting), _AT_ONCE):
        part = waiting[start : start + _AT_ONCE]
        _give_way(context, part[0].assembled_at)
        texts = {row.id: trace_text(row) for row in part}
        with context.database.turns.writing(), engine.begin() as connection:
            search.ensure(connection)
            # Whoever else indexes may have been quicker, and may have read a later text.
            shown = table(Trace).c
            unread = sql_select(shown.id, shown.assembled_at).where(shown.id.in_(texts), shown.indexed.is_(False))
            found = {(row.id, row.assembled_at) for row in connection.execute(unread)}
            mine = [row.id for row in part if (row.id, row.assembled_at) in found]
            if not mine:
                continue
            search.write(connection, [(row_id, texts[row_id]) for row_id in mine])
            connection.execute(update(table(Trace)).where(shown.id.in_(mine)).values(indexed=True))
    return len(waiting)


def _spans(session: Session, keys: Sequence[Key]) -> dict[Key, list[StoredSpan]]:
    found: dict[Key, list[StoredSpan]] = defaultdict(list)
    sources: dict[str, SpanSource] = {}
    columns = (
        Span.project_id, Span.trace_id, Span.span_id, Span.parent_span_id, Span.name, Span.started_ns, Span.ended_ns,
        Span.status, Span.status_message, Span.attributes, Span.events, Span.source_id, Span.links, Span.id, Span.received_at,
        Span.mask_policy,
    )  # fmt: skip
    statement = select(*columns).where(among(Span, keys))  # type: ignore[call-overload]
    rows = session.exec(statement).all()
    wanted_sources = {row.source_id for row in rows}
    nobody = SpanSource(id="", resource={}, scope={})
    for source in session.exec(select(SpanSource).where(col(SpanSource.id).in_(wanted_sources))):
        sources[source.id] = source
    for row in rows:
        source = sources.get(row.source_id, nobody)
        read = StoredSpan(
            span_id=row.span_id, parent_span_id=row.parent_span_id, name=row.name, started_ns=row.started_ns,
            ended_ns=row.ended_ns, status=row.status, status_message=row.status_message, attributes=row.attributes,
            events=row.events, resource=source.resource, links=row.links, scope=str(source.scope.get("name") or ""),
            id=row.id, received_at=row.received_at, mask_policy=row.mask_policy,
        )  # fmt: skip
        found[(row.project_id, row.trace_id)].append(read)
    return found


def _masked(session: Session, keys: Sequence[Key]) -> dict[Key, dict[str, int]]:
    found: dict[Key, dict[str, int]] = defaultdict(dict)
    for project_id in {project_id for project_id, _ in keys}:
        counts = counts_of(session, project_id, [trace_id for project, trace_id in keys if project == project_id])
        found.update({(project_id, trace_id): types for trace_id, types in counts.items()})
    return found


def _feedback(session: Session, keys: Sequence[Key]) -> dict[Key, list[Feedback]]:
    found: dict[Key, list[Feedback]] = defaultdict(list)
    for one in session.exec(select(Feedback).where(among(Feedback, keys))):
        found[(one.project_id, one.trace_id or "")].append(one)
    return found


def _tags(session: Session, keys: Sequence[Key]) -> dict[Key, list[str]]:
    found: dict[Key, list[str]] = defaultdict(list)
    for row in session.exec(select(TraceTag).where(among(TraceTag, keys), col(TraceTag.added_by).is_not(None))):
        found[(row.project_id, row.trace_id)].append(row.tag)
    return found
