"""Knowledge as lines of JSON: reading, reporting bad lines by number, and writing.

One line an entry: `{"key", "title", "kind", "text", "language", "tags", "risk_tier", "source", "review_in_days"}`; key,
title and text are required. `review_in_days` may be negative: an entry taken over from elsewhere whose review is overdue.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from workbench.core.clock import now
from workbench.core.errors import InvalidInput, TooLarge
from workbench.knowledge.content import EntryContent, checked_key, content_from_line
from workbench.knowledge.models import KnowledgeEntryVersion

MAX_BYTES = 20_000_000
MAX_REVIEW_DAYS = 3_650


@dataclass(frozen=True)
class ImportLine:
    """One good line."""

    number: int
    key: str
    content: EntryContent
    review_at: datetime | None


@dataclass
class ImportReport:
    """What an import did, by key."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)
    """Among added and changed: those that wait for a certification."""
    errors: list[tuple[int, str]] = field(default_factory=list)
    """(line number, what is wrong with it)"""
    commit_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def parse(text: str) -> tuple[list[ImportLine], list[tuple[int, str]]]:
    """The good lines, and the bad ones as (line number, reason). Blank lines are passed over.

    Raises:
        TooLarge: over 20 MB.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise TooLarge("The file has more than 20 MB.", todo="Import it in parts.")
    lines: list[ImportLine] = []
    errors: list[tuple[int, str]] = []
    first_seen: dict[str, int] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            parsed = _parse_line(number, line)
            if parsed.key in first_seen:
                raise InvalidInput(f"The key {parsed.key!r} is on line {first_seen[parsed.key]} already.")
            first_seen[parsed.key] = number
            lines.append(parsed)
        except InvalidInput as error:
            errors.append((number, str(error)))
    return lines, errors


def _parse_line(number: int, line: str) -> ImportLine:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        detail = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(f"The line is not JSON{detail}.") from None
    if not isinstance(value, dict):
        raise InvalidInput("The line is no JSON object.")
    if not isinstance(value.get("key"), str):
        raise InvalidInput("The line has no key.", todo="Every line needs key, title and text as strings.")
    days = value.get("review_in_days")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float) or abs(days) > MAX_REVIEW_DAYS):
        raise InvalidInput(f"`review_in_days` must be a number of days up to {MAX_REVIEW_DAYS}.")
    review_at = None if days is None else now() + timedelta(days=days)
    return ImportLine(number, checked_key(value["key"]), content_from_line(value), review_at)


def export_jsonl(versions: Iterable[KnowledgeEntryVersion]) -> str:
    """The versions as lines that `parse` reads, by key, with their hash and certification added."""
    moment = now()
    return "".join(
        json.dumps(
            {
                "key": version.key,
                "title": version.title,
                "kind": version.kind,
                "text": version.text,
                "language": version.language,
                "tags": version.tags,
                "risk_tier": version.risk_tier,
                "source": version.source,
                "review_in_days": (version.review_at - moment).days if version.review_at else None,
                "content_hash": version.content_hash,
                "certified_by": version.certified_by_name,
                "review_at": version.review_at.isoformat() if version.review_at else None,
            },
            ensure_ascii=False,
        )
        + "\n"
        for version in sorted(versions, key=lambda version: version.key)
    )
