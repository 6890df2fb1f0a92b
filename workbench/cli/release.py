"""`workbench release`."""

from typing import Annotated

import typer

from workbench.cli.common import AsJson, Home, ProjectKey, emit, open_home, pick_project
from workbench.identity.service import local_administrator
from workbench.releases import queries

app = typer.Typer(help="What is live, and taking it back.", no_args_is_help=True)
Channel = Annotated[str, typer.Option(help="Name of the channel.")]


@app.command("show")
def show(channel: Channel = "production", home: Home = None, project: ProjectKey = None, as_json: AsJson = False) -> None:
    """Show the live release with its components, approvals and signatures."""
    services = open_home(home)
    payload = queries.channel_as_json(services.context, pick_project(services, project).id, channel)
    if as_json:
        emit(payload)
    else:
        for name, value in payload.items():
            print(f"{name}: {value}")


@app.command("rollback")
def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept in the audit record.")],
    channel: Channel = "production",
    home: Home = None,
    project: ProjectKey = None,
) -> None:
    """Take the live release back: the one before it answers again at once."""
    services = open_home(home)
    project_id = pick_project(services, project).id
    move = services.releases.rollback(local_administrator(), project_id, channel=channel, reason=reason)
    print(f"{channel} answers with {move.release_name} again.")
