"""`workbench traces`."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.common import AsJson, Home, ProjectKey, emit, open_home, pick_project
from workbench.cli.progress import Progress
from workbench.cli.where import parse_where
from workbench.core.errors import InvalidInput
from workbench.identity.service import local_administrator
from workbench.traces import cli_views, people_views, queries, remapping
from workbench.traces.hits import all_hits
from workbench.traces.imports import FORMAT_WORDS, ImportReport, reader_for, recognise
from workbench.traces.indexer import index_pending
from workbench.traces.masking.preview import preview
from workbench.traces.masking.rules import policy_of
from workbench.traces.masking.service import Forgetting

_MAX_CHECKED = 16 << 20

_Limit = Annotated[int, typer.Option(help="How many at most, newest first.")]
_Where = Annotated[
    list[str] | None, typer.Option(help="Filter `field=value`, such as language=es or rating<=2; repeat to combine.")
]

app = typer.Typer(help="Traces: import, list and show them.", no_args_is_help=True)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="Files, one or several of one format.", exists=True, dir_okay=False)],
    home: Home = None,
    project: ProjectKey = None,
    format: Annotated[
        str, typer.Option(help="auto, otlp, chat, csv, langfuse or phoenix; auto looks at the content.")
    ] = "auto",
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="Of a table: our column = its column, such as input=question; repeat. Guessed when left out."
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="Of a table: lowest and highest rating.")] = "1-5",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read, and say what would be imported.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import traces from files. A bad line is reported by its number; the rest goes in, and importing again adds nothing."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    columns, rated = _pairs(map_ or []), _scale(scale)
    failed, reader, read_as = False, None, ""
    for place, path in enumerate(files):
        found = recognise(path) if format == "auto" else format
        if found != read_as or found == "csv":  # chat requests and their results, spans and annotations: one reader
            reader = reader_for(found, columns=columns, scale=rated, find_trace=services.traces.trace_finder(project_id))
            read_as = found
        last = place == len(files) - 1 or found == "csv"
        with Progress(path.name) as progress:
            report = services.traces.import_file(
                local_administrator(),
                project_id,
                path,
                format=found,
                reader=reader,
                last=last,
                dry_run=dry_run,
                progress=progress,
            )
        if as_json:
            emit({"file": path.name, **asdict(report), "dry_run": dry_run})
        else:
            print(_summary(path, report, dry_run))
        for line, why in report.bad_lines + report.rejected:
            print(f"{path.name}, line {line}: {why}", file=sys.stderr)
            failed = True
        if report.unnamed:
            print(f"{path.name}: and {report.unnamed:,} more lines.", file=sys.stderr)
    if failed:
        raise InvalidInput("Some lines were not imported; they are named above, and the others are in.")


def _summary(path: Path, report: ImportReport, dry_run: bool) -> str:
    words = f"{path.name} ({FORMAT_WORDS.get(report.format, report.format)}): {report.traces:,} traces, "
    words += f"{report.spans:,} spans" if dry_run else f"{report.new:,} new spans of {report.spans:,}"
    words += f", {report.feedback:,} feedback" if report.feedback else ""
    return words + (" would be imported" if dry_run else "")


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for one in given:
        ours, equals, theirs = one.partition("=")
        if not equals or not ours.strip() or not theirs.strip():
            raise typer.BadParameter(f"--map takes OURS=THEIRS, not {one!r}.")
        pairs[ours.strip()] = theirs.strip()
    return pairs


def _scale(given: str) -> tuple[float, float]:
    low, dash, high = given.partition("-")
    try:
        found = float(low), float(high)
    except ValueError:
        dash = ""
        found = 0.0, 0.0
    if not dash or found[0] >= found[1]:
        raise typer.BadParameter(f"--scale takes LOW-HIGH, such as 1-5, not {given!r}.")
    return found


@app.command("list")
def list_(
    home: Home = None,
    project: ProjectKey = None,
    as_json: AsJson = False,
    limit: _Limit = 20,
    where: _Where = None,
) -> None:
    """List traces, newest first."""
    services = open_home(home)
    chosen = pick_project(services, project)
    project_id, key = chosen.id, chosen.key
    with services.context.reading(local_administrator(), project_id) as session:
        _print(
            cli_views.traces_as_json(session, project_id, parse_where(where or []), limit=limit, project=key), as_json,
            lambda row: f"{row['trace_id']}  {row['started_at']}  {str(row['input'])[:80]!r}",
        )  # fmt: skip


def _print(rows: Iterable[dict[str, Any]], as_json: bool, words: Callable[[dict[str, Any]], str]) -> None:
    for row in rows:
        if as_json:
            emit(row)
        else:
            print(words(row))


@app.command("sessions")
def sessions_(
    home: Home = None, project: ProjectKey = None, as_json: AsJson = False, limit: _Limit = 20, where: _Where = None
) -> None:
    """List sessions of which the filter hits a turn, the newest first."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.reading(local_administrator(), project_id) as session:
        _print(
            people_views.sessions_as_json(session, project_id, parse_where(where or []), limit=limit), as_json,
            lambda row: f"{row['session_id']}  {row['last_at']}  {row['traces']} turns  {str(row['question'])[:80]!r}",
        )  # fmt: skip


@app.command("users")
def users(
    home: Home = None, project: ProjectKey = None, as_json: AsJson = False, limit: _Limit = 20, where: _Where = None
) -> None:
    """List end users of whom the filter hits a trace, the newest first."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.reading(local_administrator(), project_id) as session:
        _print(
            people_views.users_as_json(session, project_id, parse_where(where or []), limit=limit), as_json,
            lambda row: f"{row['user_id']}  {row['last_at']}  {row['traces']} traces, {row['low']} of {row['rated']} rated low",
        )  # fmt: skip


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


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist yet.")],
    home: Home = None,
    project: ProjectKey = None,
    format: Annotated[
        str, typer.Option(help="parquet or jsonl: a row a trace; otlp: all spans, which `traces import` reads again.")
    ] = "parquet",
    where: Annotated[
        list[str] | None,
        typer.Option(help="Filter `field=value`, as of `traces list`; repeat to combine. Default: all traces."),
    ] = None,
) -> None:
    """Write the traces that a filter hits into a file. Texts are masked, as they are stored."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    with services.context.database.session() as session:
        hits = all_hits(session, project_id, parse_where(where or []))
    with Progress(out.name) as progress:
        written = services.bulk.export_to(local_administrator(), project_id, hits, format, out, progress=progress)
    spans = f", {written.spans:,} spans" if format == "otlp" else ""
    print(f"{out}: {written.traces:,} traces{spans}")


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


@app.command("remap")
def remap(home: Home = None, project: ProjectKey = None) -> None:
    """Read stored traces again that were read with an older mapping, and wait until they are."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    services.traces.remap(local_administrator(), project_id)
    with Progress("remap") as progress:
        while index_pending(services.context, 400):
            with services.context.database.session() as session:
                found = remapping.state(session, project_id)
            if found is not None:
                progress(found.remap.looked_at - min(found.waiting, found.remap.looked_at), max(1, found.remap.total))
    with services.context.database.session() as session:
        found = remapping.state(session, project_id)
    if found is not None:
        print(f"{found.remap.touched:,} of {found.remap.looked_at:,} traces had an older mapping and were read again.")


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


@app.command("forget-person")
def forget_person(
    user_id: Annotated[str, typer.Argument(help="Id or pseudonym of the end user, or - to read it from standard input.")],
    reason: Annotated[str, typer.Option(help="Why, without naming the person: it is written into the ledger.")],
    home: Home = None,
    project: ProjectKey = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where the id comes from standard input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase the keys of an end user's originals, so that nobody can read them again. It cannot be undone."""
    services, from_input = open_home(home), user_id == "-"
    project_id = pick_project(services, project).id
    person = sys.stdin.readline().rstrip("\r\n") if from_input else user_id
    found = services.masking.forgetting(local_administrator(), project_id, person)
    if found.keys and not yes:
        if from_input:
            raise InvalidInput("Nobody can be asked while the id comes from standard input.", todo="Add --yes.")
        typer.confirm(f"{_taken(found)} become unreadable, for good. Go on?", abort=True, err=True)
    done = services.masking.forget_person(local_administrator(), project_id, person, reason=reason)
    if as_json:
        emit(asdict(done))
    else:
        print(f"Unreadable now: {_taken(done)}.")


def _taken(found: Forgetting) -> str:
    originals, traces = found.originals, found.traces
    return f"{originals:,} original{'s' * (originals != 1)} of {traces:,} trace{'s' * (traces != 1)}"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(_MAX_CHECKED + 1)
