"""Which value has which number in a trace: given when it first comes, and kept."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, text
from sqlmodel import Session, col, select

from workbench.core.unit_of_work import Context
from workbench.traces.masking.draft import Draft
from workbench.traces.masking.marker import Marked
from workbench.traces.masking.models import MaskedValue, PersonKey
from workbench.traces.masking.originals import PersonKeys, seal

_AT_ONCE = 400


def settle(session: Session, context: Context, drafts: Iterable[Draft]) -> None:
    """Give every value of the drafts its number, known ones the one they have, and put the placeholders into the texts.

    Call it within the transaction that stores the texts, so that a number is taken if and only if it is used.
    """
    waiting: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        if draft.found:
            waiting[draft.project_id].append(draft)
    one_at_a_time(session, context, waiting)
    for project_id, found in waiting.items():
        for draft, names in zip(found, _names(session, context, project_id, found), strict=True):
            draft.fill(names)


def counts_of(session: Session, project_id: str, trace_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Trace id → type → how many different values were masked."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for start in range(0, len(trace_ids), _AT_ONCE):
        rows = session.exec(
            select(MaskedValue.scope, MaskedValue.kind, func.count())
            .where(MaskedValue.project_id == project_id, col(MaskedValue.scope).in_(trace_ids[start : start + _AT_ONCE]))
            .group_by(col(MaskedValue.scope), col(MaskedValue.kind))
            .order_by(col(MaskedValue.scope), col(MaskedValue.kind))
        )
        for scope, kind, count in rows:
            found[scope][kind] = count
    return found


def keeps_originals_of(session: Session, project_id: str, trace_id: str) -> bool:
    """Whether an original of this trace can still be read."""
    kept = (
        select(MaskedValue.number)
        .join(PersonKey, col(PersonKey.id) == col(MaskedValue.key_id))
        .where(MaskedValue.project_id == project_id, MaskedValue.scope == trace_id, col(PersonKey.wrapped).is_not(None))
    )
    return session.exec(kept.limit(1)).first() is not None


def one_at_a_time(session: Session, context: Context, project_ids: Iterable[str]) -> None:
    """With PostgreSQL several processes may write; whoever numbers a project's values waits for the one before."""
    if context.database.dialect == "postgresql":
        for project_id in sorted(project_ids):
            session.connection().execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"masking:{project_id}"}
            )


def _names(session: Session, context: Context, project_id: str, drafts: Sequence[Draft]) -> list[list[str]]:
    """Of each draft the placeholders of what it found; values that have no number yet get one."""
    scopes = list(dict.fromkeys(one.scope for draft in drafts for one in draft.found))
    numbers: dict[tuple[str, str, str], int] = {}
    last: dict[tuple[str, str], int] = defaultdict(int)
    for start in range(0, len(scopes), _AT_ONCE):
        for scope, kind, digest, number in session.exec(
            select(MaskedValue.scope, MaskedValue.kind, MaskedValue.digest, MaskedValue.number).where(
                MaskedValue.project_id == project_id, col(MaskedValue.scope).in_(scopes[start : start + _AT_ONCE])
            )
        ):
            numbers[(scope, kind, digest)] = number
            last[(scope, kind)] = max(last[(scope, kind)], number)
    keys = PersonKeys(session, context.settings, project_id) if any(draft.policy.keeps_originals for draft in drafts) else None
    rows: list[dict[str, Any]] = []
    names = []
    for draft in drafts:
        for one in draft.found:
            place = (one.scope, one.kind, one.digest)
            if place not in numbers:
                last[place[:2]] += 1
                numbers[place] = last[place[:2]]
                rows.append(_row(project_id, one, numbers[place], keys if draft.policy.keeps_originals else None))
        names.append([f"<{one.kind}_{numbers[(one.scope, one.kind, one.digest)]}>" for one in draft.found])
    if rows:
        session.connection().execute(MaskedValue.__table__.insert(), rows)  # type: ignore[attr-defined]
    return names


def _row(project_id: str, one: Marked, number: int, keys: PersonKeys | None) -> dict[str, Any]:
    """A MaskedValue, as the dict that a bulk insert takes."""
    columns = {"project_id": project_id, "scope": one.scope, "kind": one.kind, "digest": one.digest, "number": number}
    if keys is None or one.original is None:
        return {**columns, "original": None, "key_id": None}
    row = MaskedValue.model_validate(columns)
    seal(keys, row, one.original, one.person)
    return row.model_dump()
