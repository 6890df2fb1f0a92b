"""`workbench traces`."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import AsJson, Home, ProjectKey, emit, open_home, pick_project
from workbench.core.errors import InvalidInput
from workbench.identity.service import local_administrator
from workbench.traces import cli_views, importing

app = typer.Typer(help="Traces: import, list and show them.", no_args_is_help=True)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="OTLP JSON or JSONL files.", exists=True, dir_okay=False)],
    home: Home = None,
    project: ProjectKey = None,
) -> None:
    """Import traces from files. A bad line is reported by its number; the rest goes in."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    failed = False
    for path in files:
        report = importing.import_file(services.context, local_administrator(), project_id, path, progress=_progress)
        print(report.summary(path.name))
        failed = failed or bool(report.errors)
    if failed:
        raise InvalidInput("Some lines were not imported; see above.")


@app.command("list")
def list_(
    home: Home = None,
    project: ProjectKey = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(help="How many at most, newest first.")] = 20,
    where: Annotated[
        list[str] | None, typer.Option(help="Filter `field=value`, such as language=es or rating<=2; repeat to combine.")
    ] = None,
) -> None:
    """List traces, newest first."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.reading(local_administrator(), project_id) as session:
        for row in cli_views.list_as_json(session, project_id, limit=limit, where=where or []):
            if as_json:
                emit(row)
            else:
                print(f"{row['trace_id']}  {row['started_at']}  {str(row['input'])[:80]!r}")


@app.command("show")
def show(
    trace_id: Annotated[str, typer.Argument(help="32 hexadecimal digits.")],
    home: Home = None,
    project: ProjectKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one trace with spans, documents, tool calls and feedback."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.reading(local_administrator(), project_id) as session:
        row = cli_views.trace_as_json(session, project_id, trace_id)
    if as_json:
        emit(row)
    else:
        for name, value in row.items():
            print(f"{name}: {value}")


@app.command("rejected")
def rejected(home: Home = None, project: ProjectKey = None, as_json: AsJson = False) -> None:
    """List spans that were refused, with the reason: senders never see it."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.reading(local_administrator(), project_id) as session:
        for row in cli_views.rejected_as_json(session, project_id):
            if as_json:
                emit(row)
            else:
                print(f"{row['at']}  {row['reason']}")


def _progress(done: int, total: int) -> None:
    typer.echo(f"\r{done} of {total} lines", err=True, nl=done == total)
