"""The OTLP/HTTP receiver: traces are taken, logs and metrics are acknowledged with a warning.

Source: OpenTelemetry protocol specification, OTLP/HTTP. The answer has the request's type; failures are a
`google.rpc.Status`; a span is acknowledged when it is on disk.
"""

import json
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter
from fastapi import APIRouter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import Request
from starlette.responses import Response

from workbench.api.auth import actor_of, project_of, services_of
from workbench.api.bodies import read_limited
from workbench.api.errors import headers_for
from workbench.api.intake import MAX_BODY, Intake, Packet, receipt_of
from workbench.core.actors import Permission
from workbench.core.errors import WorkbenchError

PROTOBUF, JSON = "application/x-protobuf", "application/json"
_THREADS = 6
_MAX_WAITING = 96
_MAX_BYTES = 256 << 20
"""Bodies held in memory at once; more are asked to come back later."""

_GRPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 413: 8, 415: 3, 422: 3, 429: 8, 503: 14}
_WARNING = "This workbench stores traces; {} are accepted and dropped."


class _UnsupportedType(WorkbenchError):
    """The content type is not one of OTLP's."""

    status = 415


class _Busy(WorkbenchError):
    """More requests are waiting than we hold in memory."""

    status = 429


class Receiver:
    """The OTLP routes of one app and what is waiting in them."""

    def __init__(self, intake: Intake, wake: Callable[[], None]) -> None:
        """Args:
        intake: stores them.
        wake: called after spans were stored, so that they are made readable at once.
        """
        self._intake = intake
        self._wake = wake
        self._limiter = CapacityLimiter(_THREADS)
        self._waiting = 0
        self._bytes = 0

    def router(self) -> APIRouter:
        """Routes `/v1/traces`, `/v1/logs`, `/v1/metrics`, and the address that Langfuse's SDK posts to."""
        router = APIRouter(tags=["otlp"])
        router.add_api_route("/v1/traces", self.traces, methods=["POST"])
        router.add_api_route("/api/public/otel/v1/traces", self.traces, methods=["POST"], include_in_schema=False)
        router.add_api_route("/v1/logs", self.logs, methods=["POST"])
        router.add_api_route("/v1/metrics", self.metrics, methods=["POST"])
        return router

    async def traces(self, request: Request) -> Response:
        """Take the spans of an ExportTraceServiceRequest."""

        async def take(kind: str) -> Response:
            actor = await actor_of(request, self._limiter)
            services = services_of(request)
            project_id = project_of(actor)
            services.context.authorizer.require(actor, Permission.INGEST_TRACES, project_id)
            body = await self._body(request)
            self._bytes += len(body)
            try:
                encoding = request.headers.get("content-encoding", "")
                receipt = await self._intake.take(Packet(actor, project_id, body, encoding, kind))
            finally:
                self._bytes -= len(body)
            if receipt.status != 200:
                return _failure(receipt.status, receipt.message, kind)
            if receipt.new:
                self._wake()
            answer = ExportTraceServiceResponse()
            if receipt.rejected:
                answer.partial_success.rejected_spans = receipt.rejected
                answer.partial_success.error_message = receipt.message
            return _success(answer, kind, "rejectedSpans", receipt.rejected, receipt.message)

        return await self._answer(request, take)

    async def logs(self, request: Request) -> Response:
        """Accept log records and say that they are not stored."""
        return await self._dropped(request, ExportLogsServiceResponse(), "log records", "rejectedLogRecords")

    async def metrics(self, request: Request) -> Response:
        """Accept metrics and say that they are not stored."""
        return await self._dropped(request, ExportMetricsServiceResponse(), "metrics", "rejectedDataPoints")

    async def _dropped(self, request: Request, answer: Any, what: str, name: str) -> Response:
        async def drop(kind: str) -> Response:
            await actor_of(request, self._limiter)
            await self._body(request)
            warning = _WARNING.format(what)
            answer.partial_success.error_message = warning
            return _success(answer, kind, name, 0, warning)

        return await self._answer(request, drop)

    async def _body(self, request: Request) -> bytes:
        if self._waiting > _MAX_WAITING or self._bytes > _MAX_BYTES:
            raise _Busy("The workbench is busy taking other traces.", todo="Send this again in a moment.")
        return await read_limited(request, MAX_BODY)

    async def _answer(self, request: Request, act: Any) -> Response:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        kind = given if given in (PROTOBUF, JSON) else JSON
        self._waiting += 1
        try:
            if given not in (PROTOBUF, JSON):
                raise _UnsupportedType(f"The content type {given[:60]!r} is not OTLP's.", todo=f"Use {PROTOBUF} or {JSON}.")
            response: Response = await act(kind)
            return response
        except Exception as error:
            receipt = receipt_of(error)
            return _failure(receipt.status, receipt.message, kind)
        finally:
            self._waiting -= 1


def _success(message: Any, kind: str, count_name: str, rejected: int, warning: str) -> Response:
    if kind == PROTOBUF:
        return Response(message.SerializeToString(), media_type=PROTOBUF)
    body: dict[str, Any] = {}
    if warning:
        body["partialSuccess"] = {"errorMessage": warning}
        if rejected:
            body["partialSuccess"][count_name] = str(rejected)  # int64 is a string in protobuf JSON
    return Response(json.dumps(body, ensure_ascii=False), media_type=JSON)


def _failure(status: int, message: str, kind: str) -> Response:
    """A `google.rpc.Status`."""
    code = _GRPC_CODES.get(status, 13)
    if kind == PROTOBUF:
        return Response(_status_bytes(code, message), status, media_type=PROTOBUF, headers=headers_for(status))
    body = json.dumps({"code": code, "message": message}, ensure_ascii=False)
    return Response(body, status, media_type=JSON, headers=headers_for(status))


def _status_bytes(code: int, message: str) -> bytes:
    """`google.rpc.Status` on the wire: field 1 is the code, field 2 the message."""
    text = message.encode()
    length, size = bytearray(), len(text)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([0x08, code, 0x12]) + bytes(length) + text
