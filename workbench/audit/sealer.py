"""The sealer: moves committed events from the outboxes into the ledger, once each, whatever dies in between.

One group goes: segment (fsync) → signed head → DuckDB → outbox rows marked. A crash between any two leaves events that
the ledger holds and the outbox shows as waiting; the next group finds their ids in the ledger and only marks them. After any
error everything is opened anew from the disk, so what memory believed never outlives what was written.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass

from workbench.audit.journal import LEDGER_FOLDER, Journal, LedgerDamaged
from workbench.audit.ledger import Ledger
from workbench.audit.locks import SealerLock
from workbench.audit.mirror import Mirror
from workbench.audit.outbox import Outbox
from workbench.audit.segments import write_whole
from workbench.audit.status import STATUS_FILE, SealerState, SealerStatus
from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.keys import signing_key
from workbench.core.unit_of_work import Context

log = logging.getLogger(__name__)

KEY_NAME = "ledger"

_PRUNE_EVERY = 3600.0


@dataclass(frozen=True)
class SealerOptions:
    """How often the sealer does what."""

    poll_seconds: float = 0.2
    """Pause between looks at the outboxes, unless a whole group waits: sealing one event costs as much as sealing many."""
    group: int = 500
    """Most events in one group commit."""
    checkpoint_events: int = 500
    """Keep a checkpoint when so many events came since the last one."""
    checkpoint_seconds: float = 60.0
    """Or so long after the first event that none covers."""
    events_per_segment: int = 1000
    retry_seconds: float = 1.0
    """First pause after an error; doubles up to `retry_limit`."""
    retry_limit: float = 30.0


class Sealer:
    """A thread of the web process. `start` and `stop` it once; pages read `ledger`, `journal` and `status`."""

    def __init__(self, context: Context, options: SealerOptions | None = None) -> None:
        self.options = options or SealerOptions()
        self._context = context
        self.folder = context.settings.folder(LEDGER_FOLDER)
        self.outbox = Outbox(context.database)
        self.journal: Journal | None = None
        """The chain, while this sealer is the active one."""
        self.ledger: Ledger | None = None
        """The DuckDB table, while this sealer is the active one."""
        self._lock = SealerLock(context.database, self.folder)
        self._mirror = Mirror(self.folder, context.settings.ledger_url)
        self._status = SealerStatus(SealerState.STOPPED)
        self._active = False
        self._ending = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._uncovered_since: float | None = None
        self._pruned_at = time.monotonic()

    def start(self) -> None:
        """Begin sealing in a thread of its own; returns at once."""
        if self._thread is None:
            self._ending.clear()
            self._thread = threading.Thread(target=self._run, name="audit-sealer", daemon=True)
            self._thread.start()

    def stop(self, timeout: float = 20.0) -> None:
        """Seal what waits, keep a checkpoint over it, and end the thread."""
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None

    def nudge(self) -> None:
        """Look at the outboxes now rather than at the next poll."""
        self._wake.set()

    @property
    def status(self) -> SealerStatus:
        return self._status

    def seal_waiting(self) -> int:
        """Take the lock, seal everything that waits, keep a checkpoint, let go; for a home whose web process is not running.

        Returns:
            How many events were sealed.

        Raises:
            WorkbenchError: another sealer is at work, or the ledger is damaged.
        """
        if not self._lock.acquire():
            raise WorkbenchError(f"Another process ({self._lock.holder()}) seals this ledger.", todo="It will seal what waits.")
        try:
            self._open()
            sealed = self._drain()
            self._keep_checkpoint()
            return sealed
        finally:
            self._close()

    def _run(self) -> None:
        pause = self.options.retry_seconds
        while not self._ending.is_set():
            try:
                if not self._lock.acquire():
                    self._say(
                        SealerState.PASSIVE, f"Process {self._lock.holder()} seals this ledger; this one takes over after it."
                    )
                    self._sleep(self.options.retry_seconds)
                    continue
                self._open()
                self._say(SealerState.SEALING)
                pause = self.options.retry_seconds
                self._seal_until_stopped()
            except WorkbenchError as error:
                log.error("The sealer: %s", error)
                self._say(SealerState.FAILING, str(error))
                self._close()
                self._sleep(self.options.retry_limit if isinstance(error, LedgerDamaged) else pause)
                pause = min(pause * 2, self.options.retry_limit)
            except Exception as error:  # whatever it is, the thread must try again: events wait
                log.exception("The sealer failed and opens the ledger anew")
                self._say(SealerState.FAILING, f"The sealer failed and tries again: {error}")
                self._close()
                self._sleep(pause)
                pause = min(pause * 2, self.options.retry_limit)
        self._close()
        self._say(SealerState.STOPPED)

    def _seal_until_stopped(self) -> None:
        while not self._ending.is_set():
            if not self._lock.held():
                raise WorkbenchError("The sealer lost its lock in the database.", todo="It tries to get it back.")
            if self.ledger is not None and self.ledger.broken:
                raise WorkbenchError("The ledger's index is damaged.", todo="It is being made again from the segments.")
            if self._seal_group() < self.options.group:
                self._sleep(self.options.poll_seconds)
            self._checkpoint_when_due()
            self._prune_when_due()
        self._drain()
        self._keep_checkpoint()

    def _open(self) -> None:
        if self.journal is not None and self.ledger is not None:
            return
        key = signing_key(self._context.settings, KEY_NAME)
        journal = Journal(self.folder, key, events_per_segment=self.options.events_per_segment)
        if journal.torn_bytes:
            log.warning("A half-written event of %d bytes was cut off; it is still in the outbox.", journal.torn_bytes)
        if (marked := self.outbox.last_sealed()) > journal.size:
            raise LedgerDamaged(
                "The database knows more sealed events than the ledger holds.",
                why=f"Event {marked:,} was sealed and the ledger in {self.folder} ends with {journal.size:,}.",
                todo="Restore the newer ledger folder from a backup. Until then no event is sealed; all wait in the outbox.",
            )
        ledger = Ledger(self.folder)
        try:
            ledger.follow(journal)
        except BaseException:
            ledger.close()
            raise
        self.journal, self.ledger = journal, ledger
        self.outbox.mark_checkpoint(journal.checkpoint_size, after=0)
        self._uncovered_since = time.monotonic() if journal.size > journal.checkpoint_size else None
        self._mirror.update()

    def _close(self) -> None:
        journal, ledger = self.journal, self.ledger
        self.journal = self.ledger = None
        if journal is not None:
            journal.close()
        if ledger is not None:
            ledger.close()
        self._lock.release()

    def _drain(self) -> int:
        total = 0
        while sealed := self._seal_group():
            total += sealed
        return total

    def _seal_group(self) -> int:
        """Seal one group; returns how many rows were marked, 0 when none waited."""
        journal, ledger = self._opened()
        rows = self.outbox.unsealed(self.options.group)
        if not rows:
            return 0
        seqs = ledger.known([row.id for row in rows])
        fresh = [row for row in rows if row.id not in seqs]
        if fresh:
            events = journal.append(fresh)
            ledger.add(events)
            seqs |= {event.event_id: event.seq for event in events}
            if self._uncovered_since is None:
                self._uncovered_since = time.monotonic()
        self.outbox.mark_sealed(rows, seqs)
        self._status = SealerStatus(SealerState.SEALING, "", journal.size, journal.checkpoint_size, now())
        return len(rows)

    def _checkpoint_when_due(self) -> None:
        journal, _ = self._opened()
        if self._uncovered_since is None:
            return
        waited = time.monotonic() - self._uncovered_since
        many = journal.size - journal.checkpoint_size >= self.options.checkpoint_events
        if many or waited >= self.options.checkpoint_seconds:
            self._keep_checkpoint()

    def _keep_checkpoint(self) -> None:
        journal, _ = self._opened()
        before = journal.checkpoint_size
        checkpoint = journal.keep_checkpoint()
        self._uncovered_since = None
        if checkpoint is not None:
            self.outbox.mark_checkpoint(checkpoint.size, after=before)
            self._say(SealerState.SEALING)
            self._mirror.update()

    def _prune_when_due(self) -> None:
        if time.monotonic() - self._pruned_at >= _PRUNE_EVERY:
            self._pruned_at = time.monotonic()
            self.outbox.prune()

    def _opened(self) -> tuple[Journal, Ledger]:
        if self.journal is None or self.ledger is None:
            raise WorkbenchError("The ledger is not open.")
        return self.journal, self.ledger

    def _sleep(self, seconds: float) -> None:
        if not self._ending.is_set():
            self._wake.wait(seconds)
            self._wake.clear()

    def _say(self, state: SealerState, detail: str = "") -> None:
        journal = self.journal
        sizes = (journal.size, journal.checkpoint_size) if journal else (self._status.size, self._status.checkpoint_size)
        changed = (state, detail) != (self._status.state, self._status.detail)
        self._status = SealerStatus(state, detail, *sizes, now())
        self._active = state in (SealerState.SEALING, SealerState.FAILING) or (self._active and state is SealerState.STOPPED)
        if changed and self._active:  # a passive sealer must not speak for the one at work
            values = {**asdict(self._status), "at": now().isoformat()}
            try:
                write_whole(self._context.settings.folder("run") / STATUS_FILE, json.dumps(values).encode())
            except OSError as error:
                log.error("The sealer's state could not be written: %s", error)
