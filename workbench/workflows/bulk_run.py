"""One attempt at an act on many traces, and what every kind of act has."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlmodel import Session

from workbench.core.actors import Actor, Permission
from workbench.core.jobs import Job, JobState, LostLease
from workbench.core.unit_of_work import Context, UnitOfWork
from workbench.traces.act_models import TraceAct
from workbench.traces.hits import Hits

BATCH = 500
"""Traces in one transaction: long enough to be quick, short enough that ingest and annotators do not wait for the lock."""
_BREATH = 0.03
"""Seconds between a job's batches, so that whoever polls for SQLite's lock gets it."""


class Halted(Exception):
    """It was asked to stop; the batches before are done."""


@dataclass
class Port:
    """How a job's process, or a command, lets an act write, report and stop."""

    write: Callable[[], AbstractContextManager[tuple[UnitOfWork, Any]]]
    folder: Path
    report: Callable[[dict[str, Any]], None] = field(default=lambda value: None)
    should_stop: Callable[[], bool] = field(default=lambda: False)
    cancelled: Callable[[], bool] = field(default=lambda: False)
    holder: tuple[str, int] | None = None
    """The job's id and the attempt's fence."""
    actor: Actor | None = None
    """Who acts; None: whoever asked for it, with the roles that they have by now."""


class Kind(Protocol):
    """One kind of act."""

    permission: Permission

    def check(self, session: Session, project_id: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The spec, cleaned. Raises WorkbenchError: it cannot be done like that."""
        ...

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        """What a list of jobs shows; no text from traces."""
        ...

    def for_ledger(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What the audit event says of the spec."""
        ...

    def is_quick(self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits) -> bool:
        """Whether a few hundred traces take a moment only."""
        ...

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        """Why → how many of the hits would be left as they are; and what else to say beforehand."""
        ...

    def carry_out(self, run: "BulkRun") -> None:
        """Do what is left. Raises Halted."""
        ...

    def count(self, session: Session, act: TraceAct) -> None:
        """Put into the act what it changed and skipped, counted from what is stored, so that a repeated batch counts once."""
        ...

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        """How much can be undone now, how much stays, and why it stays."""
        ...

    def undo_some(self, run: "BulkRun") -> int:
        """Undo a batch; 0 when nothing is left."""
        ...


@dataclass
class BulkRun:
    """An attempt."""

    context: Context
    act: TraceAct
    ids: list[str]
    """The traces, newest first."""
    port: Port
    actor: Actor
    start: int = 0
    """Traces that an earlier attempt dealt with."""

    @contextmanager
    def writing(self, permission: Permission | None = None) -> Iterator[UnitOfWork]:
        """A transaction over the operational tables, of whoever asked; a job's holds its fence."""
        with self.port.write() as (work, _):
            work.actor = self.actor
            if permission is not None:
                work.require(permission, self.act.project_id)
            yield work

    @contextmanager
    def writing_traces(self, permission: Permission) -> Iterator[UnitOfWork]:
        """The same over the traces."""
        with self.context.database.turns.writing(), self.context.trace_unit_of_work(self.actor) as work:
            work.require(permission, self.act.project_id)
            if self.port.holder is not None:
                job_id, fence = self.port.holder
                job = work.session.get(Job, job_id)
                if job is None or job.fence != fence or job.state != JobState.RUNNING:
                    raise LostLease(f"The job {job_id} is no longer held by this attempt.")
            yield work

    def batches(self) -> Iterator[tuple[int, list[str]]]:
        """The traces that are left: (how many are done after this batch, the batch).

        Raises:
            Halted
        """
        began, total = time.monotonic(), len(self.ids)
        for place in range(self.start, total, BATCH):
            if self.port.should_stop():
                raise Halted
            part = self.ids[place : place + BATCH]
            done = place + len(part)
            yield done, part
            if self.port.holder is not None:
                time.sleep(_BREATH)
            left = (time.monotonic() - began) / (done - self.start) * (total - done)
            self.port.report(
                {"done": done, "total": total, "unit": "traces", "message": "", "remaining_seconds": round(left, 1)}
            )

    def advance(self, work: UnitOfWork, done: int, gone: int) -> None:
        """Note in the batch's own transaction, or right after it, how far the act is."""
        row = work.get(TraceAct, self.act.id, lock=True)
        row.done, row.gone = done, row.gone + gone
        work.add(row)
