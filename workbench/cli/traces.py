"""`workbench traces`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.common import AsJson, Home, ProjectKey, emit, open_home, pick_project
from workbench.cli.where import parse_where
from workbench.core.errors import InvalidInput
from workbench.identity.service import local_administrator
from workbench.traces import cli_views, queries

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
        report = services.traces.import_file(local_administrator(), project_id, path, progress=_progress)
        print(f"{path.name}: {report.traces:,} traces, {report.new:,} new spans of {report.spans:,}")
        for line, why in report.bad_lines + report.rejected:
            print(f"{path.name}, line {line}: {why}", file=sys.stderr)
            failed = True
    if failed:
        raise InvalidInput("Some lines were not imported; they are named above, and the others are in.")


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
    chosen = pick_project(services, project)
    project_id, key = chosen.id, chosen.key
    with services.context.reading(local_administrator(), project_id) as session:
        rows = cli_views.traces_as_json(session, project_id, parse_where(where or []), limit=limit, project=key)
        for row in rows:
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
    chosen = pick_project(services, project)
    project_id, key = chosen.id, chosen.key
    with services.context.reading(local_administrator(), project_id) as session:
        row = cli_views.trace_as_json(session, project_id, trace_id, project=key)
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
        for row in map(cli_views.rejected_as_json, queries.rejected_spans(session, project_id)):
            if as_json:
                emit(row)
            else:
                print(f"{row['received_at']}  {row['reason']}")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{100 * done // max(total, 1)} %", err=True, nl=done >= total)
