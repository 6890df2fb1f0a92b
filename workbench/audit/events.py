"""The ledger's event and its one byte form."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from workbench.audit.merkle import leaf_hash
from workbench.core.canonical import canonical_bytes
from workbench.core.recording import OutboxColumns

FORMAT = 1
"""Version of the byte form, in every event, so that a later one can be told apart."""

FIRST_PREV_HASH = "0" * 64
"""What the first event names as its predecessor."""

_LARGEST_INTEGER = 2**53 - 1
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Event:
    """One sealed act: who did what to what, when and why."""

    seq: int
    """Place in the ledger, from 1."""
    prev_hash: str
    """Leaf hash of the event before, 64 hexadecimal digits; zeros for the first."""
    event_id: str
    type: str
    at: datetime
    """UTC."""
    actor_id: str
    actor_name: str
    actor_kind: str
    subject_kind: str
    subject_id: str
    project_id: str | None
    reason: str
    details: dict[str, Any]
    command_id: str | None = None

    def to_bytes(self) -> bytes:
        """The canonical bytes that are stored and hashed; never with a line break inside.

        Source: RFC 8785.
        """
        data = canonical_bytes(
            {
                "format": FORMAT,
                "seq": self.seq,
                "prev_hash": self.prev_hash,
                "event_id": self.event_id,
                "type": self.type,
                "at": self.at.astimezone(UTC).strftime(_TIME),
                "actor": {"id": self.actor_id, "name": self.actor_name, "kind": self.actor_kind},
                "subject": {"kind": self.subject_kind, "id": self.subject_id},
                "project_id": self.project_id,
                "reason": self.reason,
                "details": plain(self.details),
                "command_id": self.command_id,
            }
        )
        self.__dict__["leaf"] = leaf_hash(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Event:
        """The event that these bytes say.

        Raises:
            ValueError: they are no event of a known format.
        """
        value = json.loads(data)
        try:
            if value["format"] != FORMAT:
                raise ValueError(f"event format {value['format']!r} is not known to this version")
            event = cls(
                seq=value["seq"],
                prev_hash=value["prev_hash"],
                event_id=value["event_id"],
                type=value["type"],
                at=datetime.strptime(value["at"], _TIME).replace(tzinfo=UTC),
                actor_id=value["actor"]["id"],
                actor_name=value["actor"]["name"],
                actor_kind=value["actor"]["kind"],
                subject_kind=value["subject"]["kind"],
                subject_id=value["subject"]["id"],
                project_id=value["project_id"],
                reason=value["reason"],
                details=value["details"],
                command_id=value["command_id"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a ledger event: {error!r}") from error
        event.__dict__["leaf"] = leaf_hash(data)
        return event

    @cached_property
    def leaf(self) -> bytes:
        """This event's leaf in the Merkle tree, 32 bytes: over the bytes it was read from, or else those it has."""
        return leaf_hash(self.to_bytes())


def seal(row: OutboxColumns, seq: int, prev_hash: str) -> Event:
    """The event of an outbox row at its place in the chain."""
    return Event(
        seq=seq,
        prev_hash=prev_hash,
        event_id=row.id,
        type=row.type,
        at=row.at,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        actor_kind=row.actor_kind,
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        project_id=row.project_id,
        reason=row.reason,
        details=row.details,
        command_id=row.command_id,
    )


def plain(value: Any) -> Any:
    """`value` with every number that RFC 8785 has no form for as text.

    The recorder refuses such numbers, but one that came in another way must not stop the sealer for everybody.
    """
    match value:
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | None | str():
            return value
        case int():
            return value if abs(value) <= _LARGEST_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case _:
            return str(value)
