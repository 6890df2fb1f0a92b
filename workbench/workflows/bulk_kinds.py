"""The kinds of acts on many traces: send to a queue, tag, untag, add to a golden set, export."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import exists, func, select
from sqlmodel import Session, col

from workbench.annotation.models import Queue, QueueItem
from workbench.annotation.queries import get_queue
from workbench.annotation.queues import fill, take_out, untouched
from workbench.core.actors import Permission
from workbench.core.errors import Conflict
from workbench.core.unit_of_work import UnitOfWork
from workbench.traces import tagging
from workbench.traces.act_models import TraceAct, TraceTagTaken
from workbench.traces.hits import Hits, hash_of
from workbench.traces.models import Trace, TraceTag
from workbench.traces.store import table
from workbench.workflows.bulk_export import ExportTraces
from workbench.workflows.bulk_golden import AddToGolden
from workbench.workflows.bulk_run import BATCH, BulkRun, Kind

SEND, TAG, UNTAG, GOLDEN, EXPORT = "send", "tag", "untag", "golden", "export"

_TRACE, _TAG = table(Trace).c, table(TraceTag).c


class Send:
    """Into an annotation queue: {"queue_id"}."""

    permission = Permission.MANAGE_QUEUES

    def check(self, session: Session, project_id: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        queue = get_queue(session, project_id, str(spec.get("queue_id") or ""))
        if queue.closed_at is not None:
            raise Conflict(f"The queue {queue.name!r} is closed.", todo="Choose an open queue.")
        return {"queue_id": queue.id}

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        queue = session.get(Queue, spec["queue_id"])
        return f"Send {count:,} traces to {queue.name if queue else 'a queue'}"

    def for_ledger(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return dict(spec)

    def is_quick(self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits) -> bool:
        return True

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        item = select(col(QueueItem.id)).where(
            col(QueueItem.queue_id) == spec["queue_id"], col(QueueItem.trace_id) == _TRACE.trace_id
        )
        return {"in the queue already": hits.count(session, project_id, exists(item.correlate(table(Trace))))}, ""

    def carry_out(self, run: BulkRun) -> None:
        for done, part in run.batches():
            with run.writing(self.permission) as work:
                queue = work.get(Queue, run.act.spec["queue_id"], lock=True)
                if queue.closed_at is not None:
                    raise Conflict(f"The queue {queue.name!r} was closed meanwhile.", why="What was sent before stays in it.")
                items, missing = fill(work, queue, part, act_id=run.act.id)
                if items:
                    work.record("annotation.items_added", subject=queue, count=len(items), priority=0, act=run.act.id)
                run.advance(work, done, len(missing))

    def count(self, session: Session, act: TraceAct) -> None:
        act.changed = sum(self._there(session, act))
        act.skipped = _rest(act, "in the queue already")

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        free, begun = self._there(session, act)
        return free, begun, f"People have begun {begun:,} of the items; these stay in the queue." if begun else ""

    def undo_some(self, run: BulkRun) -> int:
        with run.writing(self.permission) as work:
            return take_out(work, run.act.spec["queue_id"], run.act.id, limit=BATCH)

    @staticmethod
    def _there(session: Session, act: TraceAct) -> tuple[int, int]:
        """Items that the act put there: those nobody has begun, and the others."""
        mine = (col(QueueItem.queue_id) == act.spec["queue_id"], col(QueueItem.act_id) == act.id)
        every = int(session.execute(select(func.count()).select_from(QueueItem).where(*mine)).scalar_one())
        free = int(session.execute(select(func.count()).select_from(QueueItem).where(*mine, untouched(act.id))).scalar_one())
        return free, every - free


class Tag:
    """A tag put on: {"tag"}."""

    permission = Permission.TAG_TRACES

    def check(self, session: Session, project_id: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {"tag": tagging.clean(str(spec.get("tag") or ""))}

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        return f"Tag {count:,} traces"

    def for_ledger(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return dict(spec)

    def is_quick(self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits) -> bool:
        return True

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        return {"tagged so already": hits.count(session, project_id, _tagged(project_id, spec["tag"]))}, ""

    def carry_out(self, run: BulkRun) -> None:
        self._batches(run, tagging.put, "traces.tagged", "added")

    def count(self, session: Session, act: TraceAct) -> None:
        act.changed = self._there(session, act)
        act.skipped = _rest(act, "tagged so already")

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        return self._there(session, act), 0, "Somebody has taken the tag off all of them already."

    def undo_some(self, run: BulkRun) -> int:
        return self._undo_batch(run, tagging.take_back, "traces.untagged", "taken")

    def _batches(self, run: BulkRun, change: Callable[..., tagging.Tagged], event: str, counted_as: str) -> None:
        word = run.act.spec["tag"]
        for done, part in run.batches():
            with run.writing_traces(self.permission) as work:
                found = change(work, run.context, run.act.project_id, part, word, act_id=run.act.id)
                if found.changed:
                    self._record(run, work, event, **{counted_as: found.changed}, ids_hash=hash_of(part))
            with run.writing() as work:
                run.advance(work, done, found.missing)

    def _undo_batch(self, run: BulkRun, change: Callable[..., int], event: str, counted_as: str) -> int:
        with run.writing_traces(self.permission) as work:
            changed = change(work, run.context, run.act.project_id, run.act.spec["tag"], act_id=run.act.id, limit=BATCH)
            if changed:
                self._record(run, work, event, **{counted_as: changed})
        return changed

    @staticmethod
    def _record(run: BulkRun, work: UnitOfWork, event: str, **what: Any) -> None:
        word, project_id = run.act.spec["tag"], run.act.project_id
        work.record(event, subject=("trace_tag", word), project_id=project_id, tag=word, act=run.act.id, **what)

    @staticmethod
    def _there(session: Session, act: TraceAct) -> int:
        mine = (_TAG.project_id == act.project_id, _TAG.tag == act.spec["tag"], _TAG.act_id == act.id)
        return int(session.execute(select(func.count()).select_from(table(TraceTag)).where(*mine)).scalar_one())


class Untag(Tag):
    """A tag taken off, where a person put it: {"tag"}."""

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        return f"Take a tag off {count:,} traces"

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        tagged = hits.count(session, project_id, _tagged(project_id, spec["tag"]))
        sent = hits.count(session, project_id, _tagged(project_id, spec["tag"], _TAG.added_by.is_(None)))
        return {"without this tag": total - tagged, "came with the tag": sent}, ""

    def carry_out(self, run: BulkRun) -> None:
        self._batches(run, tagging.take, "traces.untagged", "taken")

    def count(self, session: Session, act: TraceAct) -> None:
        act.changed = self._there(session, act)
        act.skipped = _rest(act, "without this tag, or it came with them")

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        return self._there(session, act), 0, "There is no tag left to put back."

    def undo_some(self, run: BulkRun) -> int:
        return self._undo_batch(run, tagging.put_back, "traces.tagged", "added")

    @staticmethod
    def _there(session: Session, act: TraceAct) -> int:
        mine = select(func.count()).select_from(TraceTagTaken).where(col(TraceTagTaken.act_id) == act.id)
        return int(session.execute(mine).scalar_one())


def _tagged(project_id: str, tag: str, *more: Any) -> Any:
    """A condition on the trace table: it has the tag."""
    found = select(_TAG.trace_id).where(_TAG.project_id == project_id, _TAG.tag == tag, _TAG.trace_id == _TRACE.trace_id, *more)
    return exists(found.correlate(table(Trace)))


def _rest(act: TraceAct, why: str) -> dict[str, int]:
    """Why → how many of those dealt with were left as they were."""
    rest = {why: act.done - act.changed - act.gone, "not there any more": act.gone}
    return {reason: count for reason, count in rest.items() if count > 0}


KINDS: dict[str, Kind] = {SEND: Send(), TAG: Tag(), UNTAG: Untag(), GOLDEN: AddToGolden(), EXPORT: ExportTraces()}
"""Kind → how it is done."""
