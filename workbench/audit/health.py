"""Whether the ledger keeps up, as any process can tell."""

from __future__ import annotations

import json
from datetime import timedelta

from workbench.audit.outbox import Outbox
from workbench.audit.status import STATUS_FILE, SealerState
from workbench.core.clock import now
from workbench.core.unit_of_work import Context

LATE = timedelta(seconds=15)
"""An event that waits longer than this means that nobody seals."""


def ledger_health(context: Context) -> str:
    """`ok`, or the reason why it is not, as a sentence.

    The outbox is asked first: it tells the truth even when the web process died without a word.
    """
    count, oldest = Outbox(context.database).waiting()
    said = _what_the_sealer_said(context)
    if oldest is not None and now() - oldest > LATE:
        return f"{count:,} events wait to be sealed, the oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC. {said}".strip()
    return said or "ok"


def _what_the_sealer_said(context: Context) -> str:
    """The sealer's own words when it last failed; empty when it did not."""
    try:
        status = json.loads((context.settings.home / "run" / STATUS_FILE).read_text())
        return str(status["detail"]) if status["state"] == SealerState.FAILING else ""
    except (OSError, ValueError, KeyError):
        return ""
