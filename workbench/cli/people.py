"""`workbench users` and `workbench keys`."""

from typing import Annotated

import typer

from workbench.cli.common import AsJson, Home, ProjectKey, emit, open_home, pick_project
from workbench.core.actors import Role
from workbench.core.errors import InvalidInput
from workbench.identity.queries import grants_of, list_people, person_by_email
from workbench.identity.service import local_administrator

users = typer.Typer(help="People and their roles.", no_args_is_help=True)
keys = typer.Typer(help="API keys of applications.", no_args_is_help=True)


@users.command("add")
def add(
    email: Annotated[str, typer.Argument(help="E-mail address to sign in with.")],
    name: Annotated[str, typer.Option(help="Name as printed beside signatures.")],
    role: Annotated[list[Role], typer.Option(help="Role to grant; repeat for several.")],
    password: Annotated[
        str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for when left out.")
    ],
    home: Home = None,
    project: ProjectKey = None,
    everywhere: Annotated[bool, typer.Option(help="Grant the roles in every project.")] = False,
) -> None:
    """Create an account with a password, a signing key and roles."""
    services = open_home(home)
    scope = None if everywhere else pick_project(services, project).id
    me = local_administrator()
    person = services.identity.add_person(me, email=email, name=name, password=password)
    for each in role:
        services.identity.grant(me, person.id, each, scope)
    print(f"{person.email} can sign in as {', '.join(r.value for r in role)}.")


@users.command("list")
def list_users(home: Home = None, as_json: AsJson = False) -> None:
    """List accounts with their roles."""
    services = open_home(home)
    with services.context.database.session() as session:
        rows = [
            {
                "email": person.email,
                "name": person.name,
                "active": person.active,
                "roles": [
                    g.role if g.project_id is None else f"{g.role}@{g.project_id}" for g in grants_of(session, person.id)
                ],
            }
            for person in list_people(session)
        ]
    for row in rows:
        if as_json:
            emit(row)
        else:
            roles = sorted({str(r).split("@")[0] for r in row["roles"]})  # type: ignore[attr-defined]
            print(f"{row['email']:<36} {row['name']:<24} {', '.join(roles)}{'' if row['active'] else '  (suspended)'}")


@users.command("grant")
def grant(
    email: Annotated[str, typer.Argument(help="Whose role.")],
    role: Annotated[list[Role], typer.Option(help="Role to grant; repeat for several.")],
    home: Home = None,
    project: ProjectKey = None,
    everywhere: Annotated[bool, typer.Option(help="In every project.")] = False,
    revoke: Annotated[bool, typer.Option(help="Take the role away instead.")] = False,
) -> None:
    """Grant roles to a person, or take them away."""
    services = open_home(home)
    scope = None if everywhere else pick_project(services, project).id
    with services.context.database.session() as session:
        person = person_by_email(session, email)
    for each in role:
        if revoke:
            services.identity.revoke(local_administrator(), person.id, each, scope)
        else:
            services.identity.grant(local_administrator(), person.id, each, scope)
    print(f"{person.email}: {'revoked' if revoke else 'granted'} {', '.join(r.value for r in role)}.")


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Which application uses it.")],
    scope: Annotated[list[str], typer.Option(help="ingest, gateway, feedback or admin; repeat for several.")],
    home: Home = None,
    project: ProjectKey = None,
) -> None:
    """Create an API key and print it, once, and nothing else."""
    if not scope:
        raise InvalidInput("A key needs at least one scope.")
    services = open_home(home)
    _, secret = services.identity.create_key(
        local_administrator(), project_id=pick_project(services, project).id, name=name, scopes=scope
    )
    print(secret)
