"""Exported files, streamed from disk: a download button would first hold all of a file in memory."""

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from workbench.bootstrap import Services
from workbench.core.errors import WorkbenchError
from workbench.identity.service import actor_of_session
from workbench.ui.guard import COOKIE


def downloads_app(services: Services) -> Starlette:
    """Routes below `/exports`: a file by the id of the act that made it."""

    async def send(request: Request) -> Response:
        try:
            path, name = await run_in_threadpool(
                _open, services, request.cookies.get(COOKIE), str(request.path_params["act_id"])
            )
        except WorkbenchError as error:
            return PlainTextResponse(str(error), status_code=error.status)
        return FileResponse(path, filename=name, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})

    return Starlette(routes=[Route("/{act_id}", send, methods=["GET"])])


def _open(services: Services, token: str | None, act_id: str) -> tuple[str, str]:
    with services.context.database.session() as session:
        actor = actor_of_session(session, token)
    path, name = services.bulk.open_export(actor, act_id)
    return str(path), name
