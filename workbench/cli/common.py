"""What every command shares: the home option, JSON output, and reading through the command line's actor."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.bootstrap import Services, bootstrap
from workbench.core.errors import NotFound
from workbench.core.settings import load_settings
from workbench.identity.models import Project
from workbench.identity.queries import list_projects, project_by_key

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder that holds all state. Default: WORKBENCH_HOME, else data/home.", show_default=False),
]
ProjectKey = Annotated[
    str | None, typer.Option("--project", help="Key of the project. Needed only where there are several.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def open_home(home: Path | None) -> Services:
    """Services over an existing, migrated home.

    Raises:
        NotFound: there is no workbench in that folder.
    """
    settings = load_settings(home)
    if settings.uses_sqlite and not (settings.home / "workbench.sqlite").exists():
        raise NotFound(f"There is no workbench in {settings.home}.", todo="Run `workbench migrate` or `workbench up` first.")
    os.environ["WORKBENCH_HOME"] = str(settings.home)
    return bootstrap(settings=settings)


def pick_project(services: Services, key: str | None) -> Project:
    """The project of that key, or the only one.

    Raises:
        NotFound: unknown, none at all, or several and no key given.
    """
    with services.context.database.session() as session:
        if key is not None:
            return project_by_key(session, key)
        projects = list_projects(session)
    if len(projects) == 1:
        return projects[0]
    if not projects:
        raise NotFound("There is no project yet.", todo="Run `workbench demo load`, or create one on the admin page.")
    raise NotFound("There are several projects.", todo="Say which: --project " + " or ".join(p.key for p in projects) + ".")


def emit(value: Any) -> None:
    """One JSON value on one line of standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str))
