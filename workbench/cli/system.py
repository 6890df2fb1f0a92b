"""`workbench up`, `workbench migrate` and `workbench doctor`."""

import shutil
import sys
import webbrowser
from typing import Annotated

import typer

from workbench.bootstrap import make_context
from workbench.cli.common import AsJson, Home, emit
from workbench.cli.doctor import examine
from workbench.cli.supervisor import Supervisor, preflight
from workbench.core import migrate as migrations
from workbench.core.database import Database
from workbench.core.settings import Settings, load_settings
from workbench.identity.queries import list_people
from workbench.workflows import demo

Port = Annotated[int | None, typer.Option(help="Port of the pages; the api takes the next one, the runtime the one after.")]


def up(
    home: Home = None,
    port: Port = None,
    empty: Annotated[bool, typer.Option("--empty", help="Start without the demo project.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Start the pages, the api, the runtime and the worker, and keep them running until Ctrl-C."""
    settings = load_settings(home, port=port)
    preflight(settings)
    supervisor = Supervisor(settings)
    with supervisor:
        migrations.migrate(Database(settings))
        if not empty:
            demo.load(make_context(settings), say=_say)
        supervisor.start()
        supervisor.wait_healthy(_say)
        if supervisor.preparing() == "converting":
            _say("The base model is converted in the background, once; the home page shows how far it is.")
        _say(f"\nPages    http://127.0.0.1:{settings.port}\nApi      http://127.0.0.1:{settings.api_port}")
        _say(f"Home     {settings.home}")
        _print_accounts(settings)
        _say("\nCtrl-C stops everything; running jobs are kept and go on at the next start.")
        if not no_browser and sys.stdout.isatty():
            webbrowser.open(f"http://127.0.0.1:{settings.port}")
        supervisor.watch(_say)
    _say("Stopped.")


def migrate(home: Home = None) -> None:
    """Create or upgrade the tables of a home. Running it twice changes nothing."""
    settings = load_settings(home)
    before, after = migrations.migrate(Database(settings))
    print(f"{settings.home}: at version {after}" + ("" if before == after else f" (was {before or 'empty'})") + ".")


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Examine disk, databases, ledger, keys, models and processes; says what to do about each finding."""
    findings = examine(load_settings(home))
    if as_json:
        emit({"ok": all(f.ok for f in findings), "checks": [f.as_json() for f in findings]})
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<{width}}  {finding.detail}")
    raise typer.Exit(0 if all(f.ok for f in findings) else 1)


def _print_accounts(settings: Settings) -> None:
    database = Database(settings)
    with database.session() as session:
        people = [person for person in list_people(session) if person.is_demo and person.active]
    database.dispose()
    if people:
        width = shutil.get_terminal_size().columns
        _say(f"Sign in  password {demo.DEMO_PASSWORD} for each of:")
        for person in people:
            _say(f"         {person.email:<34} {person.name}"[:width])


def _say(line: str) -> None:
    print(line, flush=True)
