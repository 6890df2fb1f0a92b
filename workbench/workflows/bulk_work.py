"""Doing what is left of an act on many traces, or of its undo, and ending it; for a job's process and for a command."""

from pathlib import Path
from typing import Any

from sqlmodel import Session

from workbench.core.clock import now
from workbench.core.errors import InvalidInput, NotFound, WorkbenchError
from workbench.core.jobs import LostLease
from workbench.core.unit_of_work import Context
from workbench.identity.service import actor_of_person, local_administrator
from workbench.traces.act_models import ActState, TraceAct
from workbench.traces.hits import Hits, hash_of
from workbench.workflows.bulk_kinds import KINDS
from workbench.workflows.bulk_run import BulkRun, Halted, Kind, Port

_IDS = "ids.txt"


def get_act(session: Session, act_id: str, project_id: str | None = None) -> TraceAct:
    """The act of this id.

    Raises:
        NotFound: there is none, or not in the project.
    """
    act = session.get(TraceAct, act_id)
    if act is None or project_id not in (None, act.project_id):
        raise NotFound(f"There is no act {act_id[:64]!r} in this project.")
    return act


def carry_out(context: Context, act_id: str, port: Port) -> dict[str, Any]:
    """Do what is left of an act and end it.

    Returns:
        Counts; with "stopped" when it was asked to stop before the end.

    Raises:
        LostLease: another attempt has the job; WorkbenchError: it cannot go on, and has ended as failed.
    """
    with context.database.session() as session:
        act = get_act(session, act_id)
        if act.state != ActState.RUNNING:
            return _counts(act)
        ids = _kept_ids(port.folder, act)
        run_from = act.done if ids is not None else 0  # what was done is safe to repeat, and the order may be another
        if ids is None:
            ids = Hits.from_json(act.hits).ids(session, act.project_id)
    run = _run(context, act, ids, port, start=run_from)
    how, state, error = kind_of(act.kind), ActState.DONE, ""
    try:
        how.carry_out(run)
    except Halted:
        if not port.cancelled():
            return {**_counts(act), "stopped": True}
        state = ActState.STOPPED
    except LostLease:
        raise
    except WorkbenchError as failure:
        state, error = ActState.FAILED, str(failure)
        _end(run, state, error)
        raise
    act = _end(run, state, error)
    return {**_counts(act), "stopped": state == ActState.STOPPED}


def carry_out_undo(context: Context, act_id: str, port: Port) -> dict[str, Any]:
    """Do what is left of an undo and end it. See `carry_out`."""
    with context.database.session() as session:
        act = get_act(session, act_id)
    if act.state != ActState.UNDOING:
        return dict(act.undo)
    run, how = _run(context, act, [], port), kind_of(act.kind)
    there, taken = int(act.undo["there"]), 0
    while step := how.undo_some(run):
        taken += step
        port.report({"done": min(taken, there), "total": there, "unit": "traces", "message": ""})
        if port.should_stop():
            return {"taken": taken, "stopped": True}
    with run.writing() as work:
        act = work.get(TraceAct, act_id, lock=True)
        found, stay, why = how.undoable(work.session, act)
        left = found + stay
        act.state, act.undone_at = ActState.UNDONE.value, now()
        act.undo = {**act.undo, "taken": max(0, there - left), "stayed": left, "why": why}
        work.add(act)
        work.record(
            "traces.bulk_undone", subject=("trace_act", act.id), project_id=act.project_id, kind=act.kind,
            act_event=act.event_id, taken=act.undo["taken"], stayed=left,
        )  # fmt: skip
        return dict(act.undo)


def _end(run: BulkRun, state: ActState, error: str) -> TraceAct:
    with run.writing() as work:
        act = work.get(TraceAct, run.act.id, lock=True)
        kind_of(act.kind).count(work.session, act)
        act.state, act.error, act.ended_at = state.value, error, now()
        work.add(act)
        work.record(
            "traces.bulk_ended", subject=("trace_act", act.id), project_id=act.project_id, kind=act.kind, state=state.value,
            begun_event=act.event_id, count=act.total, done=act.done, changed=act.changed, skipped=act.skipped,
            ids_hash=act.ids_hash, result={k: v for k, v in act.result.items() if k in ("artifact", "golden_set_id")},
        )  # fmt: skip
        return act


def _counts(act: TraceAct) -> dict[str, Any]:
    return {"total": act.total, "done": act.done, "changed": act.changed, "skipped": act.skipped}


def _run(context: Context, act: TraceAct, ids: list[str], port: Port, *, start: int = 0) -> BulkRun:
    actor = port.actor
    if actor is None:
        person_id = str(act.undo["by"]) if act.state == ActState.UNDOING else act.created_by
        actor = local_administrator()
        if person_id != actor.id:
            with context.database.session() as session:
                actor = actor_of_person(session, person_id)
    return BulkRun(context, act, ids, port, actor, start)


def kind_of(name: str) -> Kind:
    if name not in KINDS:
        raise InvalidInput(f"There is no act {name!r}.", todo="Acts are " + ", ".join(KINDS) + ".")
    return KINDS[name]


def job_folder(context: Context, job_id: str) -> Path:
    """The folder that attempts at the job share; see `worker.job_run`."""
    path = context.artifacts.root / "tmp" / f"job-{job_id}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def keep_ids(folder: Path, ids: list[str]) -> None:
    (folder / _IDS).write_text("\n".join(ids), encoding="ascii")


def _kept_ids(folder: Path, act: TraceAct) -> list[str] | None:
    """The ids as they were at the click; None where the folder was lost, and the filter has to say it again."""
    try:
        ids = (folder / _IDS).read_text(encoding="ascii").split("\n")
    except FileNotFoundError:
        return None
    return ids if hash_of(ids) == act.ids_hash else None
