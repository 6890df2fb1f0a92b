"""Commands around the ledger: verify it now, hand it out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.audit import verify
from workbench.audit.outbox import wait_sealed
from workbench.audit.queries import AuditQueries
from workbench.core.actors import Actor, Permission
from workbench.core.clock import now
from workbench.core.errors import Unavailable, WorkbenchError
from workbench.core.unit_of_work import Context, Service

if TYPE_CHECKING:
    from workbench.audit.export import Exported

_VERIFY_TIMEOUT = 900


class AuditService(Service):
    """What a person may do with the ledger; nothing here changes an event."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.queries = AuditQueries(context)

    def verify(self, actor: Actor) -> verify.Report:
        """Verify the whole ledger from its segments, in a process of its own so that pages stay quick.

        Raises:
            NotAllowed: the actor may read no audit events.
            Unavailable: the verifier could not run.
        """
        self.queries.visible_projects(actor)
        command = [sys.executable, "-I", str(verify.__file__), str(self.context.settings.home), "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_VERIFY_TIMEOUT, check=False)
            return verify.Report(**json.loads(done.stdout))
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            raise Unavailable(
                "The verifier could not run.", why=str(error), todo="Run `workbench audit verify` on the machine itself."
            ) from error

    def export_archive(self, actor: Actor, *, reason: str) -> tuple[Path, Exported]:
        """Export the whole ledger as a zip file below the home, and record who took it and why.

        Returns:
            The zip file, which the caller removes after handing it out, and what was exported.

        Raises:
            NotAllowed: the ledger holds every project's events, so it takes the permission to read them all.
            WorkbenchError: no reason was given.
        """
        if not reason.strip():
            raise WorkbenchError("An export needs a reason.", todo="Say in a few words who it is for.")
        # Imported here: every process has this service, and only an export needs Arrow.
        from workbench.audit.export import export

        with self.unit_of_work(actor) as work:
            work.require(Permission.READ_AUDIT, None)
            event_id = work.record("audit.exported", subject=("audit", "ledger"), reason=reason.strip())
        # The export shows itself: whoever reads it sees when and for whom it was made.
        wait_sealed(self.context.database, event_id)
        folder = self.context.artifacts.temporary_folder("ledger-export")
        try:
            exported = export(self.context.settings.home, folder / f"ledger-{now():%Y%m%d-%H%M%S}")
            archive = shutil.make_archive(
                str(folder.with_name(exported.folder.name)), "zip", root_dir=folder, base_dir=exported.folder.name
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return Path(archive), exported
