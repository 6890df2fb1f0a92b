"""Acts and ledgers for the tests of the audit package."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workbench.audit.journal import Journal
from workbench.core.recording import AuditOutbox, OutboxColumns

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def an_act(number: int = 0, **changes: Any) -> AuditOutbox:
    values: dict[str, Any] = {
        "type": "responses.submitted",
        "at": START + timedelta(minutes=number),
        "actor_id": "person-ana",
        "actor_name": "Ana Annotator",
        "actor_kind": "person",
        "subject_kind": "item",
        "subject_id": f"item-{number}",
        "project_id": "project-bank",
        "reason": f"Reason {number}: ñ, “quoted” and\nbroken",
        "details": {"old": 3, "new": 5, "score": 0.5},
    }
    return AuditOutbox(**{**values, **changes})


def acts(count: int, first: int = 0) -> list[OutboxColumns]:
    return [an_act(number) for number in range(first, first + count)]


def a_ledger(
    folder: Path, *, groups: tuple[int, ...] = (4, 3, 5), events_per_segment: int = 5, keep_at: int | None = 7
) -> None:
    """A ledger of several groups; by default 12 events in two closed segments and an open one, with one kept checkpoint."""
    journal = Journal(folder, KEY, events_per_segment=events_per_segment)
    for size in groups:
        journal.append(acts(size, journal.size))
        if journal.size == keep_at:
            journal.keep_checkpoint()
    journal.close()
