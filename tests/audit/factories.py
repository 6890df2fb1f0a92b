"""Acts and ledgers for the tests of the audit package."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel import SQLModel

from workbench.audit.events import Event
from workbench.audit.journal import Journal
from workbench.audit.sealer import Sealer, SealerOptions
from workbench.audit.segments import read_lines
from workbench.core.actors import Actor, ActorKind, Permission
from workbench.core.artifacts import ArtifactStore
from workbench.core.database import Database
from workbench.core.recording import AuditOutbox, OutboxColumns, OutboxRecorder
from workbench.core.settings import Settings
from workbench.core.unit_of_work import Context

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


class Everybody:
    """An authorizer for tests that are not about permission."""

    def require(self, actor: Actor, permission: Permission, project_id: str | None) -> None:
        return None


def a_context(home: Path, **settings: Any) -> Context:
    """A context over a home of its own, with the outbox tables."""
    made = Settings(home=home, **settings)
    database = Database(made)
    with database.migrating() as engine:
        SQLModel.metadata.create_all(
            engine, tables=[SQLModel.metadata.tables[name] for name in ("audit_outbox", "traces.trace_outbox")]
        )
    return Context(made, database, Everybody(), OutboxRecorder(), ArtifactStore(made.folder("artifacts")))


def act(context: Context, number: int = 0, *, traces: bool = False, **details: Any) -> str:
    """Carry out one act, as a service would; returns the event id."""
    actor = Actor("person-ana", "Ana Annotator", ActorKind.PERSON)
    unit_of_work = context.trace_unit_of_work if traces else context.unit_of_work
    with unit_of_work(actor) as work:
        return work.record(
            "traces.tagged" if traces else "responses.submitted",
            subject=("trace" if traces else "item", f"thing-{number}"),
            project_id="project-bank",
            reason=f"Reason {number}",
            **(details or {"old": 3, "new": 5}),
        )


def quick_sealer(context: Context, **options: Any) -> Sealer:
    """A sealer that polls often, closes segments early and retries at once."""
    return Sealer(
        context,
        SealerOptions(
            **{
                "poll_seconds": 0.01,
                "events_per_segment": 7,
                "checkpoint_events": 5,
                "group": 4,
                "retry_seconds": 0.05,
                **options,
            }
        ),
    )


def sealed_ids(context: Context) -> list[str]:
    """Event ids in the ledger's segments, in order."""
    return [Event.from_bytes(line).event_id for _, line in read_lines(context.settings.home / "ledger" / "segments")]
