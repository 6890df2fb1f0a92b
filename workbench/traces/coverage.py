"""What comes in and how much of it our tables read, counted while traces are assembled.

Each span counts once, and of attributes only names are kept, never values.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session, col

from workbench.core.clock import now
from workbench.core.unit_of_work import Context
from workbench.traces.annotations import PREFIXES
from workbench.traces.assemble import StoredSpan
from workbench.traces.coverage_models import SpanIntake, UnmappedAttribute
from workbench.traces.dialects import DIALECTS, PLAIN, Dialect, dialects_of
from workbench.traces.extract import dialect_name
from workbench.traces.models import Trace
from workbench.traces.own_mapping import OwnMapping, own_mappings
from workbench.traces.store import among, table, upsert

MOST_NAMES = 3000
"""Attribute names kept for a project; whatever comes beyond is counted under OTHERS."""
OTHERS = "(others)"

_PART = re.compile(r"\d+|[0-9a-fA-F]{8,}|(?=\w*\d)[\w-]{24,}")
"""A part of a name that is a number or an id rather than a word."""

Key = tuple[str, str]


def folded(name: str) -> str:
    """An attribute's name with its numbered parts as `N`, so that families count as one."""
    return ".".join("N" if _PART.fullmatch(part) else part for part in name[:200].split("."))


@lru_cache(maxsize=4096)
def reading(names: frozenset[str], event_names: frozenset[str], own: Dialect | None) -> tuple[str, tuple[str, ...]]:
    """The dialect of spans with these attributes, and the folded names of those that no table reads."""
    spoken = dialects_of(dict.fromkeys(names), event_names)
    tables = (*spoken, own) if own is not None else spoken
    missing = {folded(name) for name in names if not any(_reads(dialect, name) for dialect in tables)}
    return dialect_name(spoken), tuple(sorted(missing))


def _reads(dialect: Dialect, name: str) -> bool:
    exact, families = _known(dialect)
    return name in exact or name.startswith(families)


@lru_cache(maxsize=64)
def _known(dialect: Dialect) -> tuple[frozenset[str], tuple[str, ...]]:
    listed = [name for names in dialect.columns.values() for name in names]
    families = tuple(name[:-1] for name in listed if name.endswith(".*"))
    return frozenset([*listed, *dialect.kinds]), (*families, *PREFIXES)


def count(session: Session, context: Context, found: Mapping[Key, Sequence[StoredSpan]], own: Mapping[str, OwnMapping]) -> None:
    """Count the spans that were not counted yet, in the transaction that stores their traces."""
    shown = table(Trace).c
    rows = session.execute(select(shown.project_id, shown.trace_id, shown.counted_span_id).where(among(shown, found)))
    counted = {(row[0], row[1]): row[2] for row in rows}
    intake: Counter[tuple[str, str, str, str, str]] = Counter()
    unmapped: Counter[tuple[str, str, str, str]] = Counter()
    latest: dict[tuple[str, ...], datetime] = {}
    examples: dict[tuple[str, ...], str] = {}
    for key, spans in found.items():
        mapping = own.get(key[0])
        for span in spans:
            if span.id <= counted.get(key, 0):
                continue
            events = frozenset(event["name"] for event in span.events)
            dialect, missing = reading(frozenset(span.attributes), events, mapping.dialect if mapping else None)
            at = span.received_at or now()
            scope = span.scope[:200]
            sender = str(span.resource.get("service.name") or "")[:200]
            came = (key[0], at.date().isoformat(), dialect, scope, sender)
            intake[came] += 1
            latest[came] = max(at, latest.get(came, at))
            for name in missing:
                attribute = (key[0], dialect, scope, name)
                unmapped[attribute] += 1
                latest[attribute] = max(at, latest.get(attribute, at))
                examples.setdefault(attribute, key[1])
    _write(session, context, intake, unmapped, latest, examples)


def _write(
    session: Session,
    context: Context,
    intake: Counter[Any],
    unmapped: Counter[Any],
    latest: dict[Any, datetime],
    examples: dict[Any, str],
) -> None:
    connection = session.connection()
    if intake:
        names = ("project_id", "day", "dialect", "scope", "sender")
        statement = upsert(context, SpanIntake, names, _more_spans)
        connection.execute(
            statement,
            [
                {**dict(zip(names, key, strict=True)), "spans": number, "last_at": latest[key]}
                for key, number in sorted(intake.items())
            ],
        )
    if unmapped:
        kept = _within_bounds(session, unmapped)
        statement = upsert(context, UnmappedAttribute, ("project_id", "dialect", "scope", "name"), _more_of_it)
        rows: dict[tuple[str, ...], dict[str, Any]] = {}
        for key, number in sorted(unmapped.items()):
            project_id, dialect, scope, name = key
            place = (project_id, dialect, scope, name) if key in kept else (project_id, "", "", OTHERS)
            row = rows.setdefault(
                place,
                {
                    "project_id": place[0],
                    "dialect": place[1],
                    "scope": place[2],
                    "name": place[3],
                    "count": 0,
                    "first_at": latest[key],
                    "last_at": latest[key],
                    "example_trace_id": examples[key],
                },
            )
            row["count"] += number
            row["last_at"] = max(row["last_at"], latest[key])
        connection.execute(statement, list(rows.values()))


def _more_spans(old: Any, new: Any) -> dict[str, Any]:
    return {"spans": old.spans + new.spans, "last_at": new.last_at}


def _more_of_it(old: Any, new: Any) -> dict[str, Any]:
    return {"count": old["count"] + new["count"], "last_at": new.last_at, "example_trace_id": new.example_trace_id}


def _within_bounds(session: Session, unmapped: Counter[Any]) -> set[Any]:
    """The attributes that have a row of their own or may get one: a sender that invents names must not fill the table."""
    kept: set[Any] = set()
    stored = table(UnmappedAttribute).c
    for project_id in {key[0] for key in unmapped}:
        mine = [key for key in unmapped if key[0] == project_id]
        known = set()
        for start in range(0, len(mine), 400):
            part = [key[3] for key in mine[start : start + 400]]
            rows = session.execute(
                select(stored.dialect, stored.scope, stored.name).where(stored.project_id == project_id, stored.name.in_(part))
            )
            known |= {(project_id, *row) for row in rows}
        fresh = [key for key in mine if key not in known]
        kept |= known
        if fresh:
            total = session.execute(select(func.count()).where(stored.project_id == project_id)).scalar_one()
            kept.update(sorted(fresh)[: max(0, MOST_NAMES - int(total))])
    return kept


# --------------------------------------------------------------------------------------------------------------------- reads


@dataclass(frozen=True)
class Sender:
    """An application that sends spans, and when it last did."""

    sender: str
    dialect: str
    scope: str
    spans: int
    """In the period asked for."""
    last_at: datetime


def spans_by_day(session: Session, project_id: str, *, days: int = 30) -> list[tuple[str, str, int]]:
    """(UTC day, dialect, spans) of the last days, oldest first."""
    first = (now() - timedelta(days=days - 1)).date().isoformat()
    kept = table(SpanIntake).c
    statement = (
        select(kept.day, kept.dialect, func.sum(kept.spans))
        .where(kept.project_id == project_id, kept.day >= first)
        .group_by(kept.day, kept.dialect)
        .order_by(kept.day, kept.dialect)
    )
    return [(row[0], row[1], int(row[2])) for row in session.execute(statement)]


def senders(session: Session, project_id: str, *, days: int = 90) -> list[Sender]:
    """Who sent spans, the latest first."""
    first = (now() - timedelta(days=days - 1)).date().isoformat()
    kept = table(SpanIntake).c
    statement = (
        select(kept.sender, kept.dialect, kept.scope, func.sum(kept.spans), func.max(kept.last_at))
        .where(kept.project_id == project_id, kept.day >= first)
        .group_by(kept.sender, kept.dialect, kept.scope)
    )
    found = [Sender(row[0], row[1], row[2], int(row[3]), row[4]) for row in session.execute(statement)]
    return sorted(found, key=lambda one: one.last_at, reverse=True)


def unmapped_attributes(session: Session, project_id: str, *, limit: int = 1000) -> list[UnmappedAttribute]:
    """What no table reads, the commonest first; what has been mapped since it was counted is left out."""
    own = own_mappings(session, [project_id]).get(project_id)
    statement = (
        select(UnmappedAttribute)
        .where(col(UnmappedAttribute.project_id) == project_id)
        .order_by(col(UnmappedAttribute.count).desc(), col(UnmappedAttribute.name))
        .limit(MOST_NAMES + 1)
    )
    rows = [row for row in session.execute(statement).scalars() if not _read_now(row, own)]
    return rows[:limit]


def _read_now(row: UnmappedAttribute, own: OwnMapping | None) -> bool:
    spoken = [dialect for dialect in DIALECTS if dialect.name == row.dialect] + [PLAIN]
    if own is not None:
        spoken.append(own.dialect)
    return any(_reads(dialect, row.name) for dialect in spoken)
