"""The runtime's HTTP surface, on loopback, for the other processes of the workbench only."""

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from workbench.core.errors import InvalidInput, NotSignedIn, Unavailable, WorkbenchError
from workbench.runtime import generation
from workbench.runtime.corpus import Retriever
from workbench.runtime.engine import Engine, token_file
from workbench.runtime.generation import Generation
from workbench.runtime.index import Scope
from workbench.runtime.trace_meaning import TraceMeaning

log = logging.getLogger(__name__)
Text = Annotated[str, Field(max_length=200_000)]
_LOOK_SECONDS = 0.5
"""How often a waiting request looks whether its caller is still there."""


class EmbedBody(BaseModel):
    texts: list[Text] = Field(max_length=1_024)


class ClassifyBody(BaseModel):
    texts: list[Text] = Field(max_length=1_024)
    adapter: str


class Prompt(BaseModel):
    """One prompt and how to answer it."""

    prompt: Text
    max_new_tokens: int = Field(128, ge=1, le=2_048)
    temperature: float = Field(0.0, ge=0.0, le=5.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    stop: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=16)
    seed: int = Field(0, ge=0, le=2**62)


class GenerateBody(BaseModel):
    requests: list[Prompt] = Field(max_length=512)
    adapter: str | None = None
    background: bool = False
    """Whether people who wait may go first."""


class StreamBody(Prompt):
    adapter: str | None = None


class QueryBody(BaseModel):
    project_id: str
    tenant: str
    commit_id: str | None = None
    """None: the scope's head."""
    query: Text
    k: int = Field(4, ge=1, le=100)


class SyncBody(BaseModel):
    project_id: str
    tenant: str
    commit_id: str | None = None


class NearestBody(BaseModel):
    """Nearest to a trace where one is named, else to the text."""

    project_id: str
    text: Text = ""
    trace_id: str | None = None
    k: int = Field(10, ge=1, le=500)


def make_app(engine: Engine, retriever: Retriever, meaning: TraceMeaning | None = None) -> FastAPI:
    """The application over loaded or loading models."""

    async def show_token(request: Request) -> None:
        kind, _, shown = request.headers.get("authorization", "").partition(" ")
        # Read each time: the supervisor writes a new one at each of its starts.
        file = token_file(engine.settings)
        wanted = file.read_bytes().strip() if file.exists() else b""
        if not wanted or kind.lower() != "bearer" or not hmac.compare_digest(shown.strip().encode(), wanted):
            raise NotSignedIn("The runtime answers only the other processes of this workbench.")

    app = FastAPI(title="runtime", dependencies=[Depends(show_token)], docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(WorkbenchError)
    async def say(request: Request, error: WorkbenchError) -> JSONResponse:
        return JSONResponse({"error": as_json(error)}, status_code=error.status)

    @app.exception_handler(RequestValidationError)
    async def say_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        wrong = InvalidInput("The runtime cannot use this request.", why=f"{where}: {first['msg']}")
        return JSONResponse({"error": as_json(wrong)}, status_code=wrong.status)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return await run_in_threadpool(engine.health)

    @app.post("/embed")
    def embed(body: EmbedBody) -> dict[str, Any]:
        embedder = engine.embedder.get()
        return {"vectors": embedder.embed(body.texts).tolist(), "embedder": embedder.content_hash}

    @app.post("/classify")
    def classify(body: ClassifyBody) -> dict[str, Any]:
        return {"results": [asdict(result) for result in engine.classifier.get().classify(body.texts, body.adapter)]}

    @app.post("/generate")
    async def generate(request: Request, body: GenerateBody) -> dict[str, Any]:
        asked = [_asked(prompt, body.adapter, background=body.background) for prompt in body.requests]
        generator = await run_in_threadpool(engine.generator.get)
        await run_in_threadpool(generator.submit, asked)
        try:
            results = await _wait(request, asked)
        finally:
            for item in asked:
                item.cancelled = True
        return {"results": [asdict(result) for result in results], "base": engine.base.content_hash if engine.base else None}

    @app.post("/generate/stream")
    async def stream(request: Request, body: StreamBody) -> StreamingResponse:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        asked = _asked(body, body.adapter, background=False)
        asked.on_text = lambda piece: _put(loop, pieces, piece)
        asked.future.add_done_callback(lambda _future: _put(loop, pieces, None))
        generator = await run_in_threadpool(engine.generator.get)
        await run_in_threadpool(generator.submit, [asked])

        async def events() -> AsyncIterator[str]:
            try:
                while (piece := await pieces.get()) is not None:
                    yield _event({"text": piece})
                yield _event({"done": asdict(asked.future.result())})
            except WorkbenchError as error:
                yield _event({"error": as_json(error)})
            except Exception as error:
                log.exception("a stream failed")
                yield _event(
                    {"error": {"type": "Unavailable", "what": "The answer failed.", "why": str(error)[:200], "todo": ""}}
                )
            finally:
                asked.cancelled = True

        return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.post("/index/query")
    def query(body: QueryBody) -> dict[str, Any]:
        hits, commit_id = retriever.query(Scope(body.project_id, body.tenant), body.commit_id, body.query, body.k)
        return {"hits": [asdict(hit) for hit in hits], "commit_id": commit_id}

    @app.post("/traces/nearest")
    def nearest(body: NearestBody) -> dict[str, Any]:
        if meaning is None:
            raise Unavailable("This runtime does not search traces.")
        found = meaning.nearest(body.project_id, body.k, text=body.text, trace_id=body.trace_id)
        return {"hits": [asdict(one) for one in found]}

    @app.post("/index/sync")
    def sync(body: SyncBody) -> dict[str, Any]:
        return {"added": retriever.sync(Scope(body.project_id, body.tenant), body.commit_id)}

    @app.post("/index/rebuild")
    def rebuild() -> dict[str, Any]:
        return {"versions": retriever.rebuild()}

    return app


def as_json(error: WorkbenchError) -> dict[str, str]:
    """An error as the client of the runtime raises it again."""
    return {"type": type(error).__name__, "what": error.what, "why": error.why, "todo": error.todo}


def _asked(prompt: Prompt, adapter: str | None, *, background: bool) -> generation.Request:
    return generation.Request(
        prompt.prompt,
        adapter,
        prompt.max_new_tokens,
        prompt.temperature,
        prompt.top_p,
        tuple(prompt.stop),
        prompt.seed,
        background,
    )


async def _wait(request: Request, asked: list[generation.Request]) -> list[Generation]:
    """The answers, or a cancelled error when the caller has gone."""
    waiting = {asyncio.wrap_future(item.future) for item in asked}
    everything = asyncio.gather(*waiting, return_exceptions=True)
    while not everything.done():
        await asyncio.wait([everything], timeout=_LOOK_SECONDS)
        if not everything.done() and await request.is_disconnected():
            for item in asked:
                item.cancelled = True
            break
    await everything
    return [item.future.result() for item in asked]


def _put(loop: asyncio.AbstractEventLoop, pieces: "asyncio.Queue[str | None]", piece: str | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(pieces.put_nowait, piece)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
