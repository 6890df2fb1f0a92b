"""Sessions and users as the JSON that the command line prints."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sqlmodel import Session

from workbench.traces import journeys, sessions
from workbench.traces.filters import TraceFilter
from workbench.traces.groups import Tally

_AT_ONCE = 200


def sessions_as_json(session: Session, project_id: str, filters: TraceFilter, *, limit: int) -> Iterator[dict[str, Any]]:
    """Sessions as `sessions.list_sessions` orders them."""
    for row in _rows(partial(sessions.list_sessions, session, project_id, filters), limit):
        yield {
            "session_id": row.session_id, **_counted(row.tally), "users": row.names.users, "languages": row.names.languages,
            "releases": row.names.releases, "question": row.question, "answer": row.answer,
        }  # fmt: skip


def users_as_json(session: Session, project_id: str, filters: TraceFilter, *, limit: int) -> Iterator[dict[str, Any]]:
    """Users as `journeys.list_users` orders them."""
    for row in _rows(partial(journeys.list_users, session, project_id, filters), limit):
        weeks = [{"week": monday.isoformat(), "traces": traces, "low": low} for monday, traces, low in row.weeks]
        yield {"user_id": row.user_id, "sessions": row.tally.groups, **_counted(row.tally), "weeks": weeks}


def _rows(page_of: Callable[..., Any], limit: int) -> Iterator[Any]:
    """The first rows of a list that comes in pages."""
    after: str | None = None
    while limit > 0:
        page = page_of(after=after, limit=min(limit, _AT_ONCE))
        yield from page.rows
        limit, after = limit - len(page.rows), page.next
        if after is None:
            return


def _counted(tally: Tally) -> dict[str, Any]:
    return {
        "traces": tally.traces, "rated": tally.rated, "low": tally.low, "lowest_rating": tally.lowest, "failed": tally.failed,
        "first_at": tally.first_at.isoformat(), "last_at": tally.last_at.isoformat(),
    }  # fmt: skip
