"""How the api says that something went wrong: one JSON shape for every route but OTLP's, which has its own."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from workbench.core.errors import Unavailable, WorkbenchError

log = logging.getLogger(__name__)

RETRY_SECONDS = 2
"""What `Retry-After` says."""


def answer(error: WorkbenchError) -> JSONResponse:
    """`{"error": {"message", "type", "todo"}}` with the error's status."""
    message = " ".join(part for part in (error.what, error.why) if part)
    body = {"error": {"message": message, "type": type(error).__name__, "todo": error.todo}}
    return JSONResponse(body, error.status, headers=headers_for(error.status))


def headers_for(status: int) -> dict[str, str]:
    """Headers that belong to a status."""
    if status == 401:
        return {"WWW-Authenticate": 'Bearer realm="workbench"'}
    return {"Retry-After": str(RETRY_SECONDS)} if status in (429, 503) else {}


def add_handlers(app: FastAPI) -> None:
    """Every error of every route leaves in the one shape."""

    @app.exception_handler(WorkbenchError)
    async def _known(_: Request, error: WorkbenchError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{'.'.join(map(str, one['loc'][1:])) or 'body'}: {one['msg']}" for one in error.errors()[:5]]
        return _plain(422, "InvalidInput", "The request is not valid: " + "; ".join(problems) + ".")

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return _plain(404, "NotFound", "There is nothing at this address.", "See GET /openapi.json for what there is.")
        return _plain(error.status_code, "HttpError", str(error.detail))

    @app.exception_handler(SQLAlchemyError)
    async def _database(_: Request, error: SQLAlchemyError) -> JSONResponse:
        log.error("database error: %s", type(error).__name__, exc_info=error)
        return answer(Unavailable("The database cannot take this right now.", todo="Try again in a moment."))

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, error: Exception) -> JSONResponse:
        log.error("unexpected error", exc_info=error)
        return _plain(500, "InternalError", "Something went wrong in the workbench.", "The api's log has the details.")


def _plain(status: int, kind: str, message: str, todo: str = "") -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": kind, "todo": todo}}, status, headers=headers_for(status))
