"""Waiting until the ledger holds an act."""

import json

from workbench.audit.journal import SEGMENTS
from workbench.audit.outbox import wait_sealed
from workbench.audit.segments import SegmentsDamaged, read_lines
from workbench.core.errors import NotFound
from workbench.core.unit_of_work import Context

SECONDS = 10.0
"""How long a promotion waits for the ledger before it gives up."""


def require_sealed(context: Context, event_id: str, *, seconds: float = SECONDS) -> int:
    """The event's place in the ledger, once it is there.

    The outbox forgets an event some days after a checkpoint covers it; then the ledger's segments are read.

    Raises:
        Unavailable: it was not sealed in time.
        NotFound: neither outbox nor ledger knows it.
    """
    try:
        return wait_sealed(context.database, event_id, seconds)
    except NotFound:
        found = _in_segments(context, event_id)
        if found is None:
            raise
        return found


def _in_segments(context: Context, event_id: str) -> int | None:
    wanted = f'"event_id":"{event_id}"'.encode()
    try:
        for seq, line in read_lines(context.settings.home / "ledger" / SEGMENTS):
            if wanted in line and json.loads(line)["event_id"] == event_id:
                return seq
    except SegmentsDamaged:
        return None
    return None
