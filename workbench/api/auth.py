"""Who calls: the API key as an actor."""

import base64

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from workbench.bootstrap import Services
from workbench.core.actors import Actor
from workbench.core.errors import NotSignedIn
from workbench.identity.service import actor_of_key


def services_of(request: Request) -> Services:
    """The services of the app that answers this request."""
    services: Services = request.app.state.services
    return services


def key_in(request: Request) -> str | None:
    """The API key of a request: a bearer token, or the password of Basic authentication (which some SDKs send)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except ValueError as error:
            raise NotSignedIn("The Basic authorization header cannot be read.") from error
    return None


async def actor_of(request: Request, limiter: CapacityLimiter | None = None) -> Actor:
    """The key of this request as an actor, bound to its project. The database is asked each time: a revoked key ends at once.

    Raises:
        NotSignedIn: no key, an unknown or a revoked one.
    """
    secret = key_in(request)

    def look_up() -> Actor:
        with services_of(request).context.database.session() as session:
            return actor_of_key(session, secret)

    return await to_thread.run_sync(look_up, limiter=limiter)


def project_of(actor: Actor) -> str:
    """The one project a key acts in.

    Raises:
        NotSignedIn: the actor is no key.
    """
    if actor.project_id is None:
        raise NotSignedIn("This key belongs to no project.", todo="Create one with `workbench keys create`.")
    return actor.project_id
