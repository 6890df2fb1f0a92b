"""`workbench audit`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from workbench.audit.export import export as export_ledger
from workbench.audit.verify import verify_home
from workbench.cli.common import AsJson, Home, emit
from workbench.core.settings import load_settings

app = typer.Typer(help="The ledger: verify and export it.", no_args_is_help=True)


@app.command("verify")
def verify(
    home: Home = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint kept elsewhere; catches a cut tail and a full rewrite.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk the hash chain, the Merkle tree and the signatures. Works while the workbench runs."""
    settings = load_settings(home)
    report = verify_home(settings.home, checkpoint=checkpoint)
    if as_json:
        emit(asdict(report))
    else:
        print(report.sentence())
    raise typer.Exit(0 if report.ok else 1)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or new.")],
    home: Home = None,
) -> None:
    """Write the ledger, its checkpoints, the public key and a verifier that needs nothing of ours."""
    print(export_ledger(load_settings(home).home, out))
