"""The OpenAI-compatible gateway: the application's questions, answered by the live release.

`POST /v1/chat/completions` takes what the OpenAI SDKs send. The released components decide how an answer is made: sampling
parameters and system messages of the caller are taken and not followed, and the answer's `workbench.ignored` names those that
were sent; tools, several choices and structured output are refused. Whatever model name is asked for, the live release
answers and is named in `model`, so that a promotion or a rollback changes no caller.

`X-Workbench-Mode: evidence`, or `"workbench": {"mode": "evidence", "session_id": …, "user_id": …}` in the body, asks for the
cited span of the knowledge itself, without a model.

Streaming: where the released guard policy's `on_failure` is `deliver`, pieces come while the model writes. Otherwise nothing
may leave unvalidated: the answer is made whole, validated, and then sent in pieces.

Each answer is logged as a trace of its own (`answer_log.py`), its id in `workbench.trace_id` and `X-Workbench-Trace-Id`.
"""

import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from workbench.api.answer_log import AnswerLog
from workbench.api.auth import actor_of, project_of
from workbench.api.bodies import read_limited
from workbench.api.openai_shapes import ChatRequest, chunk, completion, event, finish_reason, read_chat_request, usage
from workbench.bootstrap import Services
from workbench.core.actors import Actor, Permission
from workbench.core.canonical import short_hash
from workbench.core.clock import now
from workbench.core.errors import Unavailable, WorkbenchError
from workbench.core.runtime_client import RuntimeClient
from workbench.core.settings import Settings
from workbench.releases.verify import LiveRelease, live
from workbench.serving.answer import AnswerService
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.ports import Runtime
from workbench.serving.result import Answer
from workbench.traces.answers import LoggedAnswer, new_trace_id

log = logging.getLogger(__name__)
Result = TypeVar("Result")

MAX_BODY = 512 * 1024
AT_ONCE = 48
"""Requests that may work or wait for the runtime at the same time; OTLP and pages have threads of their own."""
MOST_WAITING = 192
"""Requests beyond these are turned away with 429 at once, which is kinder than a timeout."""
RETRY_SECONDS = 5
RETRY_RELEASE_SECONDS = 30

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
          409: "conflict_error", 413: "invalid_request_error", 422: "invalid_request_error", 429: "rate_limit_error",
          503: "service_unavailable_error"}  # fmt: skip
_CODES = {401: "invalid_api_key", 413: "request_too_large", 429: "rate_limit_exceeded"}
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")


class Busy(Unavailable):
    """More requests wait than can be answered soon."""

    status = 429


class Gateway:
    """What the gateway's and triage's routes share in one process."""

    def __init__(self, services: Services, runtime: Runtime) -> None:
        self.services = services
        self.runtime = runtime
        self.answers = AnswerService(services.context, runtime)
        self.log = AnswerLog(services.context, services.traces, runtime)
        self.limiter = CapacityLimiter(AT_ONCE)
        self._inside = 0

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run blocking work on a thread of the gateway's own.

        Raises:
            Busy: too many wait already.
        """
        if self._inside >= MOST_WAITING:
            raise Busy("The gateway is busy.", todo="Try again in a few seconds.")
        self._inside += 1
        try:
            return await to_thread.run_sync(work, limiter=self.limiter)
        finally:
            self._inside -= 1

    def live(self, actor: Actor, project_id: str) -> LiveRelease:
        """The live release of a project, verified.

        Raises:
            NotAllowed: the key lacks the scope gateway.
            Unavailable: nothing is released.
            IntegrityError: what is live does not verify.
        """
        self.services.context.authorizer.require(actor, Permission.USE_GATEWAY, project_id)
        return live(self.services.context, project_id)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway = gateway_of(app)
    try:
        yield
    finally:
        await to_thread.run_sync(gateway.log.close)


def gateway_of(app: Any) -> Gateway:
    """The app's gateway, made at its start. A runtime put into `app.state.runtime` before is used instead of the client."""
    state = app.state
    if not hasattr(state, "gateway"):
        services: Services = state.services
        runtime: Runtime = getattr(state, "runtime", None) or RuntimeClient(services.context.settings)
        state.gateway = Gateway(services, runtime)
    gateway: Gateway = state.gateway
    return gateway


class OpenAIRoute(APIRoute):
    """Errors leave in OpenAI's shape, which its SDKs raise as their own exceptions."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with errors translated."""
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except WorkbenchError as error:
                return error_response(error)

        return answer


router = APIRouter(tags=["gateway"], route_class=OpenAIRoute, lifespan=_lifespan)


@router.get("/v1/models")
async def models(request: Request) -> JSONResponse:
    """The live release as the one model there is."""
    gateway = gateway_of(request.app)
    actor = await actor_of(request, gateway.limiter)
    release = (await gateway.run(lambda: gateway.live(actor, project_of(actor)))).release
    created = int(release.proposed_at.timestamp())
    model = {"id": release.title, "object": "model", "created": created, "owned_by": "workbench"}
    return JSONResponse({"object": "list", "data": [model]})


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer the last user message; see the module's description."""
    gateway = gateway_of(request.app)
    actor = await actor_of(request, gateway.limiter)
    body = await read_limited(request, MAX_BODY)
    asked = read_chat_request(body, request.headers.get("x-workbench-mode"))
    turn = await gateway.run(lambda: Turn.begin(gateway, actor, asked, request.headers.get("traceparent", "")))
    if asked.stream:
        return await _streamed(gateway, turn)
    answer = await gateway.run(turn.answer)
    value = completion(answer, response_id=turn.response_id, model=turn.model, workbench=turn.receipt(answer))
    return JSONResponse(value, headers=turn.headers)


@dataclass
class Turn:
    """One question on its way: who asks, what is live, and how it ends up as a trace."""

    gateway: Gateway
    actor: Actor
    project_id: str
    asked: ChatRequest
    live: LiveRelease
    configuration: ServingConfiguration
    trace_id: str
    parent_span_id: str | None
    response_id: str
    started_at: datetime
    started: float
    first_ms: float | None = None

    @classmethod
    def begin(cls, gateway: Gateway, actor: Actor, asked: ChatRequest, traceparent: str) -> "Turn":
        """Find what is live. Raises as `Gateway.live`."""
        project_id = project_of(actor)
        found = gateway.live(actor, project_id)
        configuration = found.configuration
        if asked.evidence_only:
            configuration = replace(configuration, routing=replace(configuration.routing, mode="evidence"))
        parent = _TRACEPARENT.fullmatch(traceparent.strip().lower())
        return cls(
            gateway,
            actor,
            project_id,
            asked,
            found,
            configuration,
            parent["trace"] if parent else new_trace_id(),
            parent["span"] if parent else None,
            f"chatcmpl-{secrets.token_hex(12)}",
            now(),
            time.perf_counter(),
        )

    @property
    def model(self) -> str:
        """The live release's name."""
        return self.live.release.title

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Workbench-Trace-Id": self.trace_id}

    def answer(self) -> Answer:
        """The whole answer, logged."""
        try:
            answer = self.gateway.answers.answer(
                self.configuration, self.asked.messages, max_new_tokens=self.asked.max_new_tokens
            )
        except WorkbenchError as error:
            self.log_failure(error.what)
            raise
        self.log(answer)
        return answer

    def pieces(self) -> Iterator[str | Answer]:
        """Pieces of text, then the Answer; logged when it ends, however it ends."""
        sent: list[str] = []
        ended = False
        try:
            for piece in self.gateway.answers.stream(
                self.configuration, self.asked.messages, max_new_tokens=self.asked.max_new_tokens
            ):
                if isinstance(piece, Answer):
                    ended = True
                    self.log(piece)
                else:
                    if self.first_ms is None:
                        self.first_ms = (time.perf_counter() - self.started) * 1000
                    sent.append(piece)
                yield piece
        except WorkbenchError as error:
            ended = True
            self.log_failure(error.what, "".join(sent))
            raise
        finally:
            if not ended:
                self.log_failure("The caller went away before the answer was complete.", "".join(sent))

    def receipt(self, answer: Answer) -> dict[str, Any]:
        """The response's field `workbench`."""
        manifest = self.live.release.manifest_hash
        about = {"trace_id": self.trace_id, "release": self.model, "release_id": self.live.release.id, "manifest": manifest}
        return {**about, **answer.receipt(), "ignored": list(self.asked.ignored)}

    def log(self, answer: Answer) -> None:
        """Keep the answer for the traces."""
        receipt = answer.receipt()
        attributes: dict[str, Any] = {"workbench.timings": answer.timings}
        if answer.written:
            attributes["workbench.written"] = answer.written
        self._put(
            answer=answer.text,
            messages=[{"role": "user", "content": answer.prompt}] if answer.prompt else (),
            documents=answer.documents(),
            citations=receipt["citations"],
            guard=receipt["guard"],
            prompt_version=answer.prompt_version or None,
            corpus_commit=answer.corpus_commit,
            mode=answer.mode,
            model=_model_name(self.gateway.services.context.settings, self.configuration) if answer.prompt else None,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            retrieval_ms=answer.timings.get("retrieve"),
            first_token_ms=self.first_ms,
            language=answer.language,
            machine_written=answer.mode == "generate",
            attributes=attributes,
        )

    def log_failure(self, what: str, sent: str = "") -> None:
        """Keep a question that got no whole answer."""
        self._put(answer=sent, status="error", error=what)

    def _put(self, **values: Any) -> None:
        user = [message["content"] for message in self.asked.messages if message["role"] == "user"]
        logged = LoggedAnswer(
            question=user[-1],
            started_at=self.started_at,
            duration_ms=(time.perf_counter() - self.started) * 1000,
            trace_id=self.trace_id,
            parent_span_id=self.parent_span_id,
            session_id=self.asked.session_id,
            user_id=self.asked.user_id,
            release=self.model,
            configuration={**self.configuration.as_json(), "asked_by": self.actor.name},
            **values,
        )
        try:
            self.gateway.log.put(self.project_id, logged, triage_adapter=self.configuration.triage_adapter)
        except OSError as error:
            self.gateway.log.failures += 1
            raise Unavailable(
                "The answer cannot be recorded, so it is not given.",
                why=str(error.strerror or error),
                todo="Free disk space in the workbench's home.",
            ) from error


def _model_name(settings: Settings, configuration: ServingConfiguration) -> str:
    """Base model and adapter as people read them in a trace, such as `gemma3-270m + 1f0c9d2a`."""
    base = Path(settings.base_model).name
    adapter = configuration.generator_adapter
    return f"{base} + {short_hash(adapter, 8)}" if adapter else base


async def _streamed(gateway: Gateway, turn: Turn) -> Response:
    pieces = turn.pieces()
    # The first piece decides the status: what is wrong before it is an error response, not a broken stream.
    first = await gateway.run(lambda: next(pieces))
    created = int(time.time())

    async def events() -> AsyncIterator[str]:
        piece: str | Answer | None = first
        try:
            yield chunk(turn.response_id, turn.model, created, {"role": "assistant", "content": ""})
            while piece is not None and not isinstance(piece, Answer):
                yield chunk(turn.response_id, turn.model, created, {"content": piece})
                piece = await to_thread.run_sync(lambda: next(pieces, None), limiter=gateway.limiter)
            if isinstance(piece, Answer):
                done = finish_reason(piece)
                about = {"workbench": turn.receipt(piece)}
                yield chunk(turn.response_id, turn.model, created, {}, finish_reason=done, **about)
                if turn.asked.include_usage:
                    yield chunk(turn.response_id, turn.model, created, None, usage=usage(piece))
        except WorkbenchError as error:
            yield event(error_body(error))
        finally:
            # Also when the caller went away: the generator logs what was sent.
            pieces.close()  # type: ignore[attr-defined]
        yield "data: [DONE]\n\n"

    headers = {**turn.headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def error_body(error: WorkbenchError) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = _TYPES.get(error.status, "server_error")
    return {"error": {"message": str(error), "type": kind, "param": None, "code": _CODES.get(error.status)}}


def error_response(error: WorkbenchError) -> JSONResponse:
    """The response of an error, with `Retry-After` where trying again may help."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="workbench"'
    if error.status in (429, 503):
        slow = "released" in error.what or "converting" in f"{error.what} {error.why}"
        headers["Retry-After"] = str(RETRY_RELEASE_SECONDS if slow else RETRY_SECONDS)
    # The SDKs know 400 for a bad request; 422 means something else to them.
    status = 400 if error.status == 422 else error.status
    return JSONResponse(error_body(error), status, headers=headers)
