"""What Langfuse's SDKs ask for besides sending spans: scores, which are feedback, and whether their key is good.

`POST /api/public/scores` takes one score or a list, `POST /api/public/ingestion` the batches that older SDKs send scores in.
Basic authentication carries our key as the secret key; the public key may be anything.
"""

import json
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench import __version__
from workbench.api.auth import actor_of, project_of, services_of
from workbench.api.bodies import read_limited, unpack
from workbench.core.actors import Actor, Permission
from workbench.core.errors import InvalidInput
from workbench.identity.models import Project
from workbench.traces.feedback import feedback_row
from workbench.traces.foreign_scores import feedback_of_score
from workbench.traces.service import TraceService

router = APIRouter(tags=["langfuse"], include_in_schema=False)

_MAX_BODY = 4 << 20
_MAX_SCORES = 500


@router.get("/api/public/health")
async def health() -> JSONResponse:
    """What the SDK's health check reads."""
    return JSONResponse({"status": "OK", "version": __version__})


@router.get("/api/public/projects")
async def projects(request: Request) -> JSONResponse:
    """The key's project: how the SDK's `auth_check` learns that a key is good."""
    actor = await actor_of(request)

    def look_up() -> dict[str, Any]:
        with services_of(request).context.database.session() as session:
            project = session.get(Project, project_of(actor))
        name = project.name if project else ""
        organization = {"id": "workbench", "name": "Learning Workbench"}
        return {"data": [{"id": project_of(actor), "name": name, "organization": organization, "metadata": {}}]}

    return JSONResponse(await to_thread.run_sync(look_up))


@router.post("/api/public/scores")
async def scores(request: Request) -> JSONResponse:
    """Store one score, or a list of which bad ones are left out and named in the answer."""
    actor, document = await _document(request)

    def store() -> JSONResponse:
        traces = services_of(request).traces
        if isinstance(document, dict):
            values = feedback_of_score(document)
            row = traces.add_feedback(actor, project_of(actor), **values)
            return JSONResponse({"id": document.get("id") or row.id})
        accepted, errors = _store(traces, actor, document)
        if not errors:
            return JSONResponse({"message": "Accepted"}, 202)
        said = [{"message": message} for _, message in errors]
        return JSONResponse({"accepted": accepted, "rejected": len(errors), "errors": said}, 207)

    return await to_thread.run_sync(store)


@router.post("/api/public/ingestion")
async def ingestion(request: Request) -> JSONResponse:
    """Store the scores of a batch; other events are refused one by one, since spans come over OpenTelemetry."""
    actor, document = await _document(request)
    batch = document.get("batch") if isinstance(document, dict) else None
    if not isinstance(batch, list):
        raise InvalidInput("The body has no `batch` of events.")

    def store() -> JSONResponse:
        sent = [one if isinstance(one, dict) else {} for one in batch]
        known = [number for number, one in enumerate(sent) if one.get("type") == "score-create"]
        _, failed = _store(services_of(request).traces, actor, [sent[number].get("body") for number in known])
        problems = {known[number]: message for number, message in failed}
        successes, errors = [], []
        for number, one in enumerate(sent):
            if number not in known:
                why = "Only scores are taken here; send spans to /api/public/otel/v1/traces (SDK version 3 or later)."
                errors.append({"id": str(one.get("id") or ""), "status": 400, "message": why})
            elif number in problems:
                errors.append({"id": str(one.get("id") or ""), "status": 400, "message": problems[number]})
            else:
                successes.append({"id": str(one.get("id") or ""), "status": 201})
        return JSONResponse({"successes": successes, "errors": errors}, 207)

    return await to_thread.run_sync(store)


async def _document(request: Request) -> tuple[Actor, Any]:
    actor = await actor_of(request)
    services_of(request).context.authorizer.require(actor, Permission.SEND_FEEDBACK, project_of(actor))
    body = unpack(await read_limited(request, _MAX_BODY), request.headers.get("content-encoding", ""), _MAX_BODY)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The body is not JSON.") from error
    if not isinstance(document, dict | list):
        raise InvalidInput("The body is a score, or a list of scores.")
    if isinstance(document, list) and len(document) > _MAX_SCORES:
        raise InvalidInput(f"Send at most {_MAX_SCORES} scores at a time.")
    return actor, document


def _store(traces: TraceService, actor: Actor, given: list[Any]) -> tuple[int, list[tuple[int, str]]]:
    """Store what can be stored; returns how many, and (position, reason) of the others."""
    good: list[dict[str, Any]] = []
    errors: list[tuple[int, str]] = []
    for number, score in enumerate(given):
        try:
            values = feedback_of_score(score)
            feedback_row(project_of(actor), **values)
        except InvalidInput as error:
            errors.append((number, str(error)))
        else:
            good.append(values)
    if good:
        traces.add_feedback_many(actor, project_of(actor), good)
    return len(good), errors
