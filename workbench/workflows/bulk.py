"""Acts on many traces at once: asked for with a fixed set, carried out at once or by a job, recorded, and undone once.

The set of traces is fixed when the act is asked for: its ids lie in the job's folder, and their hash in the audit event. Work
goes in batches that are safe to repeat: a job that is killed goes on where it was and doubles nothing.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import hash_file
from workbench.core.errors import Conflict, InvalidInput, NotFound
from workbench.core.ids import new_id
from workbench.core.jobs import Job, enqueue
from workbench.core.unit_of_work import Service, UnitOfWork
from workbench.traces.act_models import ActState, TraceAct
from workbench.traces.exporting import Export, write_export
from workbench.traces.hits import Hits, filter_for_ledger, hash_of
from workbench.workflows.bulk_kinds import EXPORT
from workbench.workflows.bulk_run import Port
from workbench.workflows.bulk_work import carry_out, carry_out_undo, get_act, job_folder, keep_ids, kind_of

AT_ONCE = 300
"""An act on more traces than this is a job of the worker."""
MOST = 1_000_000
"""Traces that one act may take."""
ACT_JOB, UNDO_JOB = "trace_act", "trace_undo"


@dataclass(frozen=True)
class Preview:
    """What an act would do, before it is done."""

    total: int
    skipped: dict[str, int]
    """Why → how many of them would be left as they are."""
    note: str = ""
    examples: tuple[str, ...] = ()
    """Trace ids, the newest first."""

    @property
    def changes(self) -> int:
        return max(0, self.total - sum(self.skipped.values()))


class BulkActs(Service):
    """Commands over many traces."""

    def preview(self, actor: Actor, project_id: str, kind: str, spec: Mapping[str, Any], hits: Hits) -> Preview:
        """Count exactly, and say what would be skipped and why.

        Raises:
            InvalidInput, NotFound: the act makes no sense as it is; NotAllowed.
        """
        how = kind_of(kind)
        with self.context.database.session() as session:
            self.context.authorizer.require(actor, how.permission, project_id)
            checked = how.check(session, project_id, spec)
            total = hits.count(session, project_id)
            skipped, note = how.skips(session, project_id, checked, hits, total)
            missing = len(hits.chosen) - total if hits.chosen else 0
            if missing > 0:
                note = f"{missing:,} of the selected traces are not there any more. {note}".strip()
            return Preview(
                total,
                {why: count for why, count in skipped.items() if count},
                note,
                tuple(hits.ids(session, project_id, limit=3)),
            )

    def begin(
        self, actor: Actor, project_id: str, kind: str, spec: Mapping[str, Any], hits: Hits, *, command_id: str | None = None
    ) -> TraceAct:
        """Carry out an act: at once on a few traces, else as a job of the worker. See `bulk_kinds` for what kinds need.

        Returns:
            The act; ended, or with the id of its job.

        Raises:
            InvalidInput: no trace is hit, or too many, or the act makes no sense.
            NotAllowed, NotFound, Conflict: as of the act on one trace.
        """
        how = kind_of(kind)
        with self.context.database.session() as session:
            self.context.authorizer.require(actor, how.permission, project_id)
            checked = how.check(session, project_id, spec)
            ids = hits.ids(session, project_id, limit=MOST + 1)
            title = how.title(session, checked, len(ids))
            at_once = len(ids) <= AT_ONCE and how.is_quick(session, project_id, checked, hits)
        if not ids:
            raise InvalidInput("No trace is like that any more.", todo="Reload the page or change the filter.")
        if len(ids) > MOST:
            raise InvalidInput(f"That is more than {MOST:,} traces.", todo="Narrow the filter.")
        with self.context.unit_of_work(actor) as work:
            if (before := work.once(command_id)) is not None:
                act = work.get(TraceAct, before["act_id"])
            else:
                work.require(how.permission, project_id)
                act = TraceAct(
                    project_id=project_id, kind=kind, spec=checked, hits=hits.as_json(), total=len(ids), ids_hash=hash_of(ids),
                    created_by=actor.id, created_by_name=actor.name,
                )  # fmt: skip
                if not at_once:
                    job = enqueue(work, kind=ACT_JOB, title=title, spec={"act_id": act.id}, project_id=project_id)
                    act.job_id = job.id
                    keep_ids(job_folder(self.context, job.id), ids)
                act.event_id = work.record(
                    "traces.bulk_begun", subject=("trace_act", act.id), project_id=project_id, kind=kind,
                    filter=None if hits.chosen else filter_for_ledger(hits.filters, act.salt), up_to=hits.up_to or None,
                    count=act.total, ids_hash=act.ids_hash, job=act.job_id, **how.for_ledger(checked),
                )  # fmt: skip
                work.add(act)
                work.remember(act_id=act.id)
        if act.job_id is None and act.state == ActState.RUNNING:  # a repeated command finishes what a crash cut short
            with self._here(actor) as port:
                keep_ids(port.folder, ids)
                carry_out(self.context, act.id, port)
            act = self._read(act.id)
        return act

    def undo(self, actor: Actor, act_id: str, *, command_id: str | None = None) -> TraceAct:
        """Take an act back, as far as nobody has worked on what it made.

        Raises:
            Conflict: it still runs, was undone, or it is too late; it says why.
            NotAllowed: it takes the permission of the act itself.
        """
        act = self._read(act_id)
        how = kind_of(act.kind)
        with self.context.unit_of_work(actor) as work:
            work.require(how.permission, act.project_id)
            if work.once(command_id) is not None:
                return work.get(TraceAct, act_id)
            act = work.get(TraceAct, act_id, lock=True)
            check_undoable(work.session, act)
            found, stay, why = how.undoable(work.session, act)
            if not found:
                raise Conflict("There is nothing left to undo.", why=why)
            act.state, act.undo = ActState.UNDOING.value, {"there": found + stay, "by": actor.id, "by_name": actor.name}
            if found > AT_ONCE:
                title = f"Undo: {how.title(work.session, act.spec, found)}"
                job = enqueue(work, kind=UNDO_JOB, title=title, spec={"act_id": act.id}, project_id=act.project_id)
                act.undo_job_id = job.id
            else:
                act.undo_job_id = None
            work.record(
                "traces.bulk_undo_begun", subject=("trace_act", act.id), project_id=act.project_id, kind=act.kind,
                act_event=act.event_id, count=found, stays=stay, ids_hash=act.ids_hash, job=act.undo_job_id,
            )  # fmt: skip
            work.add(act)
            work.remember(act_id=act.id)
        if act.undo_job_id is None:
            with self._here(actor) as port:
                carry_out_undo(self.context, act_id, port)
        return self._read(act_id)

    def open_export(self, actor: Actor, act_id: str) -> tuple[Path, str]:
        """The file that an export made, and the name to save it under; each opening is recorded.

        Raises:
            NotFound: there is no such export, or its file was removed; NotAllowed.
        """
        act = self._read(act_id)
        with self.context.unit_of_work(actor) as work:
            work.require(Permission.EXPORT_TRACES, act.project_id)
            artifact = act.result.get("artifact")
            if act.kind != EXPORT or not artifact:
                raise NotFound("There is no such file.", why="It was not finished, or was removed.", todo="Export again.")
            path = self.context.artifacts.path(artifact)
            work.record(
                "traces.export_downloaded", subject=("trace_act", act.id), project_id=act.project_id, artifact=artifact,
                act_event=act.event_id, count=act.changed,
            )  # fmt: skip
        return path, str(act.result["name"])

    def export_to(
        self,
        actor: Actor,
        project_id: str,
        hits: Hits,
        format: str,
        path: Path,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> Export:
        """Write the hits into a file of one's own, which is there when it is whole and recorded.

        Raises:
            InvalidInput: nothing is hit, the file exists, or cannot be written; NotAllowed.
        """
        with self.context.database.session() as session:
            self.context.authorizer.require(actor, Permission.EXPORT_TRACES, project_id)
            ids = hits.ids(session, project_id)
        if not ids:
            raise InvalidInput("No trace is like that.", todo="Change the filter.")
        if path.exists():
            raise InvalidInput(f"{path} exists already.", todo="Choose another name.")
        part = path.with_name(path.name + ".part")
        try:
            export = write_export(self.context, project_id, ids, format, part, progress=progress)
            with self.context.unit_of_work(actor) as work:
                work.require(Permission.EXPORT_TRACES, project_id)
                salt = secrets.token_hex(16)
                work.record(
                    "traces.exported", subject=("trace_export", new_id()), project_id=project_id, format=format,
                    filter=filter_for_ledger(hits.filters, salt), count=export.traces, ids_hash=hash_of(ids),
                    content_hash=hash_file(part),
                )  # fmt: skip
            part.rename(path)
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written.", why=str(error.strerror or error)) from error
        finally:
            part.unlink(missing_ok=True)
        return export

    def _read(self, act_id: str) -> TraceAct:
        with self.context.database.session() as session:
            return get_act(session, act_id)

    @contextmanager
    def _here(self, actor: Actor) -> Iterator[Port]:
        """A port for doing it in this process."""

        @contextmanager
        def write() -> Iterator[tuple[UnitOfWork, Any]]:
            with self.context.unit_of_work(actor) as work:
                yield work, None

        folder = self.context.artifacts.temporary_folder("act")
        try:
            yield Port(write, folder, actor=actor)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def recent_acts(session: Session, project_id: str, *, limit: int = 10) -> list[tuple[TraceAct, Job | None]]:
    """The newest acts of a project, each with the job that carries it out, or undoes it, where there is one."""
    statement = select(TraceAct).where(TraceAct.project_id == project_id)
    acts = session.exec(statement.order_by(col(TraceAct.created_at).desc(), col(TraceAct.id).desc()).limit(limit))
    return [(act, job_of(session, act)) for act in acts]


def is_running(act: TraceAct, job: Job | None) -> bool:
    """Whether a job still works on the act or its undo."""
    return act.state in (ActState.RUNNING, ActState.UNDOING) and job is not None and not job.status.is_terminal


def check_undoable(session: Session, act: TraceAct) -> None:
    """Return when the act has ended and was not undone.

    Raises:
        Conflict
    """
    if act.state == ActState.UNDONE:
        raise Conflict("This was undone already.")
    if is_running(act, job_of(session, act)):
        words = "being undone" if act.state == ActState.UNDOING else "still going on"
        raise Conflict(f"This is {words}.", todo="Wait for its end, or stop its job first.")


def job_of(session: Session, act: TraceAct) -> Job | None:
    """The job that carries the act out, or undoes it, where there is one."""
    job_id = act.undo_job_id if act.state in (ActState.UNDOING, ActState.UNDONE) else act.job_id
    return session.get(Job, job_id) if job_id else None
