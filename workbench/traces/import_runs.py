"""Imports that a page began: each on a thread of its own, so that it goes on when the browser is closed.

They live as long as the process. What was stored before it ends stays, and importing the file again adds only the rest.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from workbench.core.clock import now
from workbench.core.errors import WorkbenchError
from workbench.core.ids import new_id
from workbench.core.unit_of_work import Context
from workbench.traces.imports import ImportReport

_LOG = logging.getLogger(__name__)
_RUNS = "traces.import_runs"
_KEPT = 20


class Cancelled(WorkbenchError):
    """A person stopped the import; what was stored stays."""


@dataclass
class ImportRun:
    """One import and how far it is."""

    project_id: str
    actor_id: str
    name: str
    """The file's name."""
    id: str = field(default_factory=new_id)
    began_at: datetime = field(default_factory=now)
    done: int = 0
    total: int = 0
    report: ImportReport | None = None
    error: WorkbenchError | None = None
    ended: bool = False
    cancelling: bool = False

    @property
    def share(self) -> float:
        """How much of the file has been read, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


def begin(
    context: Context, run: ImportRun, path: Path, work: Callable[[Callable[[int, int], None]], ImportReport]
) -> ImportRun:
    """Start `work(progress)` on a thread; the file is removed at its end.

    Raises:
        WorkbenchError: never; failures are in the run.
    """
    runs: dict[str, ImportRun] = context.extras.setdefault(_RUNS, {})
    for old in list(runs.values())[: max(0, len(runs) - _KEPT)]:
        if old.ended:
            runs.pop(old.id, None)
    runs[run.id] = run

    def progress(done: int, total: int) -> None:
        run.done, run.total = done, total
        if run.cancelling:
            raise Cancelled(
                "The import was stopped.", why="What was stored until then stays.", todo="Import the file again for the rest."
            )

    def act() -> None:
        try:
            run.report = work(progress)
        except WorkbenchError as error:
            run.error = error
        except Exception as error:
            _LOG.exception("an import failed")
            run.error = WorkbenchError(
                "The import failed.",
                why=type(error).__name__,
                todo="What was stored stays; try again, and see the web process's log.",
            )
        finally:
            path.unlink(missing_ok=True)
            run.ended = True

    threading.Thread(target=act, name=f"import-{run.id[-6:]}", daemon=True).start()
    return run


def last_of(context: Context, project_id: str, actor_id: str) -> ImportRun | None:
    """The newest import that this person began in this project, since the process started."""
    runs: dict[str, ImportRun] = context.extras.get(_RUNS, {})
    mine = [run for run in runs.values() if (run.project_id, run.actor_id) == (project_id, actor_id)]
    return mine[-1] if mine else None
