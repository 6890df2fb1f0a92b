"""How the sealer is, as it says itself and as other processes read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

STATUS_FILE = "sealer.json"
"""In `home/run`: what other processes (health, doctor) read about the sealer."""


class SealerState(StrEnum):
    STOPPED = "stopped"
    PASSIVE = "passive"
    """Another sealer holds the lock; this one takes over when that one is gone."""
    SEALING = "sealing"
    FAILING = "failing"
    """Something is wrong and said in `detail`. Events wait in the outbox, none is lost."""


@dataclass(frozen=True)
class SealerStatus:
    """How the sealer is."""

    state: SealerState
    detail: str = ""
    """Why it is passive or failing, as a sentence."""
    size: int = 0
    """Events in the ledger."""
    checkpoint_size: int = 0
    """Events under the latest kept checkpoint."""
    at: datetime | None = None
    """When this was so."""
