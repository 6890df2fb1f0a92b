"""Around every request: an id, safe headers, and a limit on bodies."""

import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("workbench.api.requests")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OWN_LIMIT = ("/v1/traces", "/v1/logs", "/v1/metrics", "/v1/feedback", "/api/public/otel/v1/traces")
MAX_BODY = 8 << 20


class RequestId:
    """Gives every request an id (the sender's, when it sent a sane one), in the answer and in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, answer)
        finally:
            level = logging.WARNING if status >= 500 else logging.DEBUG
            milliseconds = (time.monotonic() - started) * 1000
            log.log(level, "%s %s %s %d %.0f ms", request_id, scope["method"], scope["path"], status, milliseconds)


class BodyLimit:
    """Refuses bodies over MAX_BODY on routes that have no limit of their own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OWN_LIMIT:
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > MAX_BODY:
            await _refuse(send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                raise _TooLong
            return message

        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, limited, watched)
        except _TooLong:
            if not begun:
                await _refuse(send)


class _TooLong(BaseException):
    """The body went over the limit; a BaseException, so that no handler turns it into something else."""


async def _refuse(send: Any) -> None:
    body = b'{"error":{"message":"The body is larger than 8 MiB.","type":"TooLarge","todo":"Send less at once."}}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
