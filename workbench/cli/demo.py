"""`workbench demo`."""

import typer

from workbench.cli.common import Home, open_home
from workbench.workflows import demo as workflow

app = typer.Typer(help="The demo project: a fictional bank's assistant.", no_args_is_help=True)


@app.command("load")
def load(home: Home = None) -> None:
    """Load the demo project through the doors a customer would use. Loading it again changes nothing."""
    services = open_home(home)
    done = workflow.load(services.context, say=lambda line: typer.echo(line, err=True))
    print("The demo project is loaded." if done else "The demo project was loaded before; nothing changed.")
