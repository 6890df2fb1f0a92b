"""`POST /v1/feedback`: what end users and the application say about answers."""

import json
from typing import Any

from anyio import to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench.api.auth import actor_of, project_of, services_of
from workbench.api.bodies import read_limited, unpack
from workbench.core.errors import InvalidInput

router = APIRouter(tags=["feedback"])

_MAX_BODY = 4 << 20
_MAX_SIGNALS = 500

_NAMES = {
    "trace_id": "trace_id", "traceId": "trace_id", "span_id": "span_id", "spanId": "span_id", "session_id": "session_id",
    "sessionId": "session_id", "name": "name", "kind": "kind", "type": "kind", "value": "value", "score": "value",
    "minimum": "minimum", "min": "minimum", "maximum": "maximum", "max": "maximum", "comment": "comment",
    "correction": "correction", "source": "source", "user_id": "user_id", "userId": "user_id", "at": "at",
    "timestamp": "at", "id": "key",
}  # fmt: skip
_TEXTS = {"trace_id", "span_id", "session_id", "name", "kind", "comment", "correction", "source", "user_id", "at", "key"}


@router.post("/v1/feedback")
async def feedback(request: Request) -> JSONResponse:
    """Store one signal, or several as `{"feedback": [...]}`.

    `{"trace_id", "span_id"?, "session_id"?, "name"?, "kind"?: boolean|float|comment|correction|implicit, "value",
    "minimum"?, "maximum"?, "comment"?, "source"?: explicit|implicit|annotator, "user_id"?, "at"?, "id"?}`. The trace may
    arrive later. Sending the same `id` again changes nothing.
    """
    actor = await actor_of(request)
    body = await read_limited(request, _MAX_BODY)
    encoding = request.headers.get("content-encoding", "")

    def store() -> dict[str, Any]:
        given, many = _signals(unpack(body, encoding, _MAX_BODY))
        traces = services_of(request).traces
        rows = traces.add_feedback_many(actor, project_of(actor), given)
        stored = [{"id": row.id, "trace_id": row.trace_id, "kind": row.kind} for row in rows]
        return {"feedback": stored} if many else stored[0]

    return JSONResponse(await to_thread.run_sync(store))


def _signals(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The signals of a body, and whether they came as a list."""
    try:
        document = json.loads(body)
        body.decode()
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The body is not JSON.") from error
    listed = document.get("feedback") if isinstance(document, dict) else document
    if isinstance(listed, list):
        if not 1 <= len(listed) <= _MAX_SIGNALS:
            raise InvalidInput(f"Send 1 to {_MAX_SIGNALS} signals at a time.")
        return [_signal(one) for one in listed], True
    return [_signal(document)], False


def _signal(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InvalidInput("Feedback is a JSON object.", todo="See README.md for its fields.")
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = _NAMES.get(name)
        if field is not None and value is not None:
            values[field] = _storable(str(value)) if field in _TEXTS else value
    if isinstance(given.get("range"), list) and len(given["range"]) == 2:
        values["minimum"], values["maximum"] = given["range"]
    if isinstance(values.get("value"), str):
        values["value"] = _storable(values["value"])
    elif isinstance(values.get("value"), dict | list):
        raise InvalidInput("The value of feedback is true or false, a number, or text.")
    return values


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
