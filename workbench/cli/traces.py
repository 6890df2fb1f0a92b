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
from workbench.traces.masking import preview
from workbench.traces.masking_store import policy_of

_MAX_CHECKED = 16 << 20

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


@app.command("mask-check")
def mask_check(
    file: Annotated[str, typer.Argument(help="A text file, or - for standard input.")],
    home: Home = None,
    project: ProjectKey = None,
) -> None:
    """Print what a text would become under the project's masking rules; counts go to standard error. Nothing is stored."""
    services = open_home(home)
    with services.context.database.session() as session:
        policy = policy_of(session, pick_project(services, project).id)
    try:
        data = sys.stdin.buffer.read(_MAX_CHECKED + 1) if file == "-" else _first_bytes(Path(file))
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read.", why=str(error.strerror)) from error
    if len(data) > _MAX_CHECKED:
        raise InvalidInput(f"The text is longer than {_MAX_CHECKED:,} bytes.", todo="Check a piece of it.")
    masked, counts = preview(policy, data.decode("utf-8", "replace"))
    print(masked, end="" if masked.endswith("\n") else "\n")
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
    print(f"masked: {said} (rules version {policy.version})", file=sys.stderr)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(_MAX_CHECKED + 1)
