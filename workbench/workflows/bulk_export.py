"""Exporting many traces to a file among the artifacts, and to a file of one's own."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlmodel import Session
from sqlmodel import select as select_rows

from workbench.core.actors import Permission
from workbench.core.clock import now
from workbench.core.errors import InvalidInput
from workbench.identity.models import Project
from workbench.traces.act_models import ActState, TraceAct
from workbench.traces.exporting import ENDINGS, FORMATS, write_export
from workbench.traces.hits import Hits
from workbench.traces.models import Trace
from workbench.traces.store import table
from workbench.workflows.bulk_run import BulkRun, Halted

_QUICK_SPANS = 3000


class ExportTraces:
    """A file among the artifacts, named by its hash: {"format"}. Its undo removes the file."""

    permission = Permission.EXPORT_TRACES

    def check(self, session: Session, project_id: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        format = str(spec.get("format") or "")
        if format not in FORMATS:
            raise InvalidInput(f"There is no export format {format!r}.", todo="Formats are " + ", ".join(FORMATS) + ".")
        return {"format": format}

    def title(self, session: Session, spec: Mapping[str, Any], count: int) -> str:
        return f"Export {count:,} traces ({spec['format']})"

    def for_ledger(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return dict(spec)

    def is_quick(self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits) -> bool:
        spans = select(func.sum(table(Trace).c.span_count)).where(*hits.conditions(session, project_id))
        return int(session.execute(spans).scalar() or 0) <= _QUICK_SPANS

    def skips(
        self, session: Session, project_id: str, spec: Mapping[str, Any], hits: Hits, total: int
    ) -> tuple[dict[str, int], str]:
        return {}, "Texts are exported as they are stored: masked."

    def carry_out(self, run: BulkRun) -> None:
        act, total = run.act, len(run.ids)
        file = run.port.folder / "export.part"  # begun anew by each attempt: half a file is none

        def progress(done: int, of: int) -> None:
            run.port.report({"done": done, "total": of, "unit": "traces", "message": ""})
            if run.port.should_stop():
                raise Halted

        try:
            export = write_export(run.context, act.project_id, run.ids, act.spec["format"], file, progress=progress)
            size = file.stat().st_size
            artifact = run.context.artifacts.put_file(file)
        finally:
            file.unlink(missing_ok=True)
        with run.writing(self.permission) as work:
            row = work.get(TraceAct, act.id, lock=True)
            project = work.get(Project, act.project_id)
            name = f"traces-{project.key}-{now():%Y%m%d-%H%M}{ENDINGS[act.spec['format']]}"
            row.done, row.gone = total, export.missing
            row.result = {
                "artifact": artifact, "bytes": size, "name": name, "traces": export.traces, "spans": export.spans,
            }  # fmt: skip
            work.add(row)

    def count(self, session: Session, act: TraceAct) -> None:
        act.changed = int(act.result.get("traces", 0))
        act.skipped = {"not there any more": act.gone} if act.gone else {}

    def undoable(self, session: Session, act: TraceAct) -> tuple[int, int, str]:
        return int("artifact" in act.result), 0, "There is no file."

    def undo_some(self, run: BulkRun) -> int:
        with run.writing(self.permission) as work:
            row = work.get(TraceAct, run.act.id, lock=True)
            artifact = row.result.get("artifact")
            if artifact is None:
                return 0
            others = select_rows(TraceAct).where(
                TraceAct.kind == "export", TraceAct.id != row.id, TraceAct.state != ActState.UNDONE.value
            )
            shared = any(other.result.get("artifact") == artifact for other in work.session.exec(others))
            if not shared:
                run.context.artifacts.location(artifact).unlink(missing_ok=True)
            row.result = {name: value for name, value in row.result.items() if name != "artifact"} | {"removed": artifact}
            work.add(row)
        return 1
