"""What the list of traces shows, as the page's address says it: a link reopens the view."""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import streamlit as st

from workbench.annotation.disagreement import MOST_DISAGREEMENT, ranking
from workbench.core.clock import now
from workbench.traces.filters import HAS, RANGES, TraceFilter, bounded
from workbench.traces.queries import SORTS, Sort

PERIODS = {
    "1d": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "all": "All time",
    "dates": "Dates",
}
DEFAULT_PERIOD = "90d"
ORDERS = (*SORTS, MOST_DISAGREEMENT)
"""Names of orders."""
CHOICES = {
    "model": "Model", "release": "Release", "language": "Language", "status": "Status", "triage_label": "Triage label",
    "intent": "Intent", "tag": "Tag", "tag_any": "Any of the tags", "tag_none": "None of the tags", "tool": "Tool",
    "environment": "Environment", "dialect": "Dialect", "provider": "Provider", "operation": "Operation",
    "prompt_version": "Prompt version", "corpus_commit": "Corpus commit", "has": "Has", "lacks": "Has not",
}  # fmt: skip
"""Filter field and query parameter → its name on the page."""
NUMBERS = {
    "cost": "Cost", "latency": "Latency (ms)", "tokens": "Tokens", "spans": "Spans",
    "uncertainty": "Triage uncertainty (0 to 1)",
}  # fmt: skip
"""Ranges of the filter, but for the rating → name on the page."""
FLAGS = {
    "errors": ("has_error", "Failed spans", "some", "none"),
    "machine": ("machine_written", "Answer written by", "a machine", "a person"),
}
"""Query parameter → field, its name on the page, and what true and false are called there."""
ENDS = tuple(f"{name}_{end}" for name in RANGES for end in ("min", "max"))
_YES_NO = {"yes": True, "no": False}
_SAVED = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")


@dataclass(frozen=True)
class View:
    """What the list shows."""

    filters: TraceFilter
    period: str
    sort: str
    after: str | None
    saved: str | None = None
    """The saved view that it began as; its filters may have been changed since."""
    by_meaning: bool = False
    """Whether the search text is to be near in meaning, rather than contained."""
    similar: str | None = None
    """Id of a trace whose like are shown."""

    @property
    def is_nearest(self) -> bool:
        """Whether the list is of what is near in meaning, which no filter alone describes."""
        return bool(self.similar or (self.by_meaning and self.filters.text.strip()))

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the period filters."""
        return bool(self.similar) or not replace(self.filters, since=None, until=None).is_empty


def read(query: Mapping[str, Any], *, moment: datetime | None = None) -> View:
    """The view that an address describes; what makes no sense in it is passed over.

    Args:
        query: query parameters, with `get` for one value and, on Streamlit's, `get_all` for several.
    """
    moment = moment or now()
    period = _one(query, "period") or DEFAULT_PERIOD
    since, until = _day(_one(query, "since")), _day(_one(query, "until"))
    if since or until:
        period = "dates"
    elif period not in PERIODS or period == "dates":
        period = DEFAULT_PERIOD
    if period.endswith("d"):
        since = (moment - timedelta(days=int(period[:-1]))).replace(second=0, microsecond=0)
    heard = _one(query, "feedback")
    values: dict[str, Any] = {
        **{end: bounded(end[:-4], _one(query, end)) for end in ENDS},
        **{flag: _YES_NO.get(_one(query, name) or "") for name, (flag, *_) in FLAGS.items()},
        **{name: _several(query, name, HAS if name in ("has", "lacks") else None) for name in CHOICES},
    }
    filters = TraceFilter(
        since=since,
        until=until + timedelta(days=1) if until else None,
        text=(_one(query, "q") or "")[:200],
        session=_one(query, "session"),
        user=_one(query, "user"),
        cluster=_one(query, "cluster"),
        has_feedback=_YES_NO.get(heard or ""),
        has_correction=True if heard == "correction" else None,
        **values,
    )
    sort = _one(query, "sort") or "newest"
    return View(
        filters, period, sort if sort in ORDERS else "newest", _one(query, "after"), saved_id(query),
        _one(query, "by") == "meaning", _one(query, "similar"),
    )  # fmt: skip


def write(view: View) -> dict[str, Any]:
    """The query parameters of a view, without those that say nothing.

    A saved view's id alone stands for its filters, so beside it the period is always said.
    """
    filters = view.filters
    query: dict[str, Any] = {
        "view": view.saved,
        "by": "meaning" if view.by_meaning else None,
        "similar": view.similar,
        "period": view.period if view.saved or view.period != DEFAULT_PERIOD else None,
        "q": filters.text,
        "session": filters.session,
        "user": filters.user,
        "cluster": filters.cluster,
        "feedback": signal(filters) or None,
        **{end: spelled(getattr(filters, end)) for end in ENDS},
        **{name: {True: "yes", False: "no"}.get(getattr(filters, flag)) for name, (flag, *_) in FLAGS.items()},
        "sort": view.sort if view.sort != "newest" else None,
        "after": view.after,
        **{name: list(getattr(filters, name)) for name in CHOICES},
    }
    if view.period == "dates":
        query["period"] = None
        query["since"] = filters.since.date().isoformat() if filters.since else None
        query["until"] = (filters.until - timedelta(days=1)).date().isoformat() if filters.until else None
    return {name: value for name, value in query.items() if value}


def go(view: View, *, trace: str | None = None) -> None:
    """Put a view into the address. It is never left empty: that would mean the view that this person begins with."""
    query = {**write(view), **({"trace": trace} if trace else {})}
    st.query_params.from_dict(query or {"period": DEFAULT_PERIOD})


def order_of(view: View, project_id: str) -> Sort:
    """The view's order as queries take it."""
    return ranking(project_id) if view.sort == MOST_DISAGREEMENT else view.sort


def saved_id(query: Mapping[str, Any]) -> str | None:
    """The saved view that an address names; other values of `view` are pages of their own."""
    name = _one(query, "view") or ""
    return name if _SAVED.fullmatch(name) else None


def spelled(number: float | None) -> str | None:
    """A bound as addresses and people write it: `12`, `0.05`."""
    if number is None:
        return None
    return str(int(number)) if number == int(number) else repr(number)


def signal(filters: TraceFilter) -> str:
    """What is asked of feedback: yes, no, correction, or nothing."""
    if filters.has_correction:
        return "correction"
    return {True: "yes", False: "no", None: ""}[filters.has_feedback]


def _one(query: Mapping[str, Any], name: str) -> str | None:
    value = query.get(name)
    if isinstance(value, list | tuple):
        value = value[-1] if value else None
    return str(value) if value else None


def _several(query: Mapping[str, Any], name: str, known: Container[str] | None = None) -> tuple[str, ...]:
    values = query.get_all(name) if hasattr(query, "get_all") else query.get(name, [])
    values = [values] if isinstance(values, str) else values
    found = dict.fromkeys(str(value)[:200] for value in values if value)
    return tuple(value for value in found if known is None or value in known)[:50]


def _day(text: str | None) -> datetime | None:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        return None
    return datetime(found.year, found.month, found.day, tzinfo=UTC)
