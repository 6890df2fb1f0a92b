"""`POST /v1/triage`: which team a text belongs to, by the live release's triage adapter."""

import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from workbench.api.auth import actor_of, project_of
from workbench.api.bodies import read_limited
from workbench.api.gateway import gateway_of
from workbench.core.errors import InvalidInput, TooLarge
from workbench.serving.triage import classify

router = APIRouter(tags=["gateway"])

MAX_BODY = 2 << 20
MAX_TEXTS = 256
MAX_CHARACTERS = 20_000
"""Of one text. The classifier itself reads about the first 200 words."""


@router.post("/v1/triage")
async def triage(request: Request) -> JSONResponse:
    """Classify `{"text": …}` or `{"texts": […]}`.

    Answers `{"label", "score", "scores", "release", "manifest"}`, or `{"results": [{"label", "score", "scores"}], …}` in the
    texts' order. Scores are probabilities and add up to 1.
    """
    gateway = gateway_of(request.app)
    actor = await actor_of(request, gateway.limiter)
    texts, single = _texts(await read_limited(request, MAX_BODY))

    def work() -> dict[str, Any]:
        found = gateway.live(actor, project_of(actor))
        results = [
            {"label": result.label, "score": result.score, "scores": result.scores}
            for result in classify(found.configuration, gateway.runtime, texts)
        ]
        about = {
            "release": found.release.title,
            "manifest": found.release.manifest_hash,
            "triage_adapter": found.configuration.triage_adapter,
        }
        return {**(results[0] if single else {"results": results}), **about}

    return JSONResponse(await gateway.run(work))


def _texts(body: bytes) -> tuple[list[str], bool]:
    """The texts of a body, and whether it was one alone."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not JSON.", todo='Send {"text": "…"} or {"texts": ["…"]}.') from None
    given = value if isinstance(value, dict) else {}
    single = "text" in given
    texts = [given["text"]] if single else given.get("texts")
    if ("texts" in given) == single or not isinstance(texts, list) or not texts:
        raise InvalidInput("The body needs either `text` or `texts`.", todo='Send {"text": "…"} or {"texts": ["…"]}.')
    if len(texts) > MAX_TEXTS:
        raise TooLarge(f"There are {len(texts)} texts; at most {MAX_TEXTS} are taken at once.")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"Text {index} is empty or no text.")
        if len(text) > MAX_CHARACTERS:
            raise TooLarge(f"Text {index} has more than {MAX_CHARACTERS} characters.")
    return texts, single
