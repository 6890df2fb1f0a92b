"""Sessions and users as the JSON that the command line prints."""

from collections.abc import Iterator
from typing import Any

from sqlmodel import Session

from workbench.traces import journeys, sessions
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import Tally

_AT_ONCE = 200


def sessions_as_json(session: Session, project_id: str, filters: TraceFilter, *, limit: int) -> Iterator[dict[str, Any]]:
    """Sessions as `sessions.list_sessions` orders them."""
    after: str | None = None
    while limit > 0:
        page = sessions.list_sessions(session, project_id, filters, after=after, limit=min(limit, _AT_ONCE))
        for row in page.rows:
            yield {
                "session_id": row.session_id, **_counted(row.tally), "users": row.names.users, "languages": row.names.languages,
                "releases": row.names.releases, "question": row.question, "answer": row.answer,
            }  # fmt: skip
        limit, after = limit - len(page.rows), page.next
        if after is None:
            return


def users_as_json(session: Session, project_id: str, filters: TraceFilter, *, limit: int) -> Iterator[dict[str, Any]]:
    """Users as `journeys.list_users` orders them."""
    after: str | None = None
    while limit > 0:
        page = journeys.list_users(session, project_id, filters, after=after, limit=min(limit, _AT_ONCE))
        for row in page.rows:
            weeks = [{"week": monday.isoformat(), "traces": traces, "low": low} for monday, traces, low in row.weeks]
            yield {"user_id": row.user_id, "sessions": row.tally.groups, **_counted(row.tally), "weeks": weeks}
        limit, after = limit - len(page.rows), page.next
        if after is None:
            return


def _counted(tally: Tally) -> dict[str, Any]:
    return {
        "traces": tally.traces, "rated": tally.rated, "low": tally.low, "lowest_rating": tally.lowest, "failed": tally.failed,
        "first_at": tally.first_at.isoformat(), "last_at": tally.last_at.isoformat(),
    }  # fmt: skip
