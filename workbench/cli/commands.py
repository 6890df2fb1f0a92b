"""The tree of commands."""

import typer

from workbench.cli import audit, demo, jobs, people, release, system, traces

app = typer.Typer(
    name="workbench",
    help="Govern a GenAI application that learns: traces, annotation, knowledge, adapters, comparison, release, audit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("up")(system.up)
app.command("migrate")(system.migrate)
app.command("doctor")(system.doctor)
app.add_typer(demo.app, name="demo")
app.add_typer(people.users, name="users")
app.add_typer(people.keys, name="keys")
app.add_typer(traces.app, name="traces")
app.add_typer(jobs.app, name="jobs")
app.add_typer(release.app, name="release")
app.add_typer(audit.app, name="audit")
