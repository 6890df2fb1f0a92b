"""`workbench jobs`."""

from typing import Annotated

import typer

from workbench.cli.common import AsJson, Home, emit, open_home
from workbench.core.jobs import list_jobs
from workbench.identity.service import local_administrator

app = typer.Typer(help="Fine-tunes, comparisons and other long work.", no_args_is_help=True)


@app.command("list")
def list_(
    home: Home = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(help="How many at most, newest first.")] = 50,
) -> None:
    """List jobs with their state and progress."""
    services = open_home(home)
    with services.context.database.session() as session:
        rows = list_jobs(session, limit=limit)
    for job in rows:
        if as_json:
            emit(job.model_dump(mode="json"))
        else:
            done, total = job.progress.get("done"), job.progress.get("total")
            progress = f"{done} of {total} {job.progress.get('unit', '')}" if total else ""
            print(f"{job.id}  {job.state:<11} {job.kind:<14} {progress:<20} {job.title}")


@app.command("cancel")
def cancel(
    job_id: Annotated[str, typer.Argument(help="Id of the job, from `workbench jobs list`.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit record.")] = "",
    home: Home = None,
) -> None:
    """Ask a job to stop. It stops at its next step and keeps what it has finished."""
    job = open_home(home).jobs.cancel(local_administrator(), job_id, reason=reason)
    print(f"{job.title}: {'cancelled' if job.status.is_terminal else 'asked to stop'}.")
