"""Calls to the runtime process: embedding, generation, classification and retrieval, without importing a model library."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from workbench.core import errors
from workbench.core.errors import Unavailable, WorkbenchError
from workbench.core.settings import Settings

_CONNECT_SECONDS = 3.0
_HEALTH_SECONDS = 5.0
_QUICK_SECONDS = 60.0
"""Embedding, retrieval, classification; includes the runtime's own bounded wait for a model that is loading."""
_GENERATE_SECONDS = 180.0
_NEAREST_SECONDS = 8.0
"""A person waits for the list meanwhile."""


@dataclass(frozen=True)
class Generated:
    """One answer of the runtime."""

    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: str
    """`stop`, `length` or `cancelled`."""


@dataclass(frozen=True)
class Classified:
    """What one text was classified as."""

    label: str
    score: float
    """Probability of the label."""
    scores: dict[str, float]
    """Probability of every label."""


@dataclass(frozen=True)
class IndexHit:
    """A knowledge version near the query; hydrate it from SQL."""

    version_id: str
    entry_id: str
    score: float
    """Cosine similarity."""


@dataclass(frozen=True)
class IndexAnswer:
    """Hits of one query."""

    hits: list[IndexHit]
    commit_id: str | None
    """The corpus commit they belong to; None: the scope has no corpus yet."""


@dataclass(frozen=True)
class Prompt:
    """One prompt and how to answer it."""

    prompt: str
    max_new_tokens: int = 128
    temperature: float = 0.0
    """0: always the most likely token."""
    top_p: float = 1.0
    stop: Sequence[str] = ()
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "prompt": self.prompt,
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stop": list(self.stop),
            "seed": self.seed,
        }


class RuntimeClient:
    """The runtime, as web, api and jobs call it. Safe across threads.

    Every call raises Unavailable when the runtime does not answer or something it needs is not loaded yet, and passes on what
    the runtime itself found wrong (NotFound, Conflict, TooLarge, IntegrityError, InvalidInput).
    """

    def __init__(self, settings: Settings, *, transport: httpx.BaseTransport | None = None) -> None:
        self._settings = settings
        self._client = (
            _connections(settings.runtime_url)
            if transport is None
            else httpx.Client(base_url=settings.runtime_url, transport=transport)
        )

    def health(self) -> dict[str, Any]:
        """State of the models: {"status": "ok"|"loading"|"converting"|"failed", "reason", "base": {…}, "embedder": {…}, …}."""
        return self._send("GET", "/health", None, _HEALTH_SECONDS)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors of 384 numbers, one a text."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), 512):
            vectors += self._send("POST", "/embed", {"texts": list(texts[start : start + 512])}, _QUICK_SECONDS)["vectors"]
        return vectors

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: str | None = None, background: bool = False, seconds: float | None = None
    ) -> list[Generated]:
        """Answers to the prompts, in their order; they are decoded together.

        Args:
            adapter: content hash of a generator adapter; None: the bare base model.
            background: a job sets it, so that people who wait go first.
            seconds: how long to wait; by default three minutes, and for a background call as long as 32 at a time may take.
        """
        if not prompts:
            return []
        body = {"requests": [prompt.as_json() for prompt in prompts], "adapter": adapter, "background": background}
        wait = seconds or _GENERATE_SECONDS * (1 + len(prompts) // 32 if background else 1)
        return [Generated(**result) for result in self._send("POST", "/generate", body, wait)["results"]]

    def stream(self, prompt: Prompt, *, adapter: str | None = None) -> Iterator[str | Generated]:
        """Pieces of text as they come, and at the end the whole answer as Generated. Closing the iterator cancels the rest."""
        body = {**prompt.as_json(), "adapter": adapter}
        with (
            self._clearly(),
            self._client.stream(
                "POST",
                "/generate/stream",
                json=body,
                headers=self._headers(),
                timeout=httpx.Timeout(_GENERATE_SECONDS, connect=_CONNECT_SECONDS),
            ) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise _error_of(response)
            for line in response.iter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    raise _raised(event["error"])
                yield Generated(**event["done"]) if "done" in event else str(event["text"])

    def classify(self, texts: Sequence[str], adapter: str) -> list[Classified]:
        """Triage of each text by the adapter with this content hash."""
        results: list[Classified] = []
        for start in range(0, len(texts), 512):
            body = {"texts": list(texts[start : start + 512]), "adapter": adapter}
            results += [Classified(**result) for result in self._send("POST", "/classify", body, _QUICK_SECONDS)["results"]]
        return results

    def query_index(
        self, project_id: str, query: str, k: int, *, tenant: str = "default", commit_id: str | None = None
    ) -> IndexAnswer:
        """The k entry versions of a corpus commit (None: the head) nearest to the query, nearest first.

        The runtime first brings the index in step with that commit, so an edit is found at once.
        """
        body = {"project_id": project_id, "tenant": tenant, "commit_id": commit_id, "query": query, "k": k}
        answer = self._send("POST", "/index/query", body, _QUICK_SECONDS)
        return IndexAnswer([IndexHit(**hit) for hit in answer["hits"]], answer["commit_id"])

    def nearest_traces(
        self, project_id: str, k: int, *, text: str = "", trace_id: str | None = None
    ) -> list[tuple[str, float]]:
        """(trace id, cosine similarity) of the k traces whose questions are nearest to a text or to a trace's question.

        Read them from SQL: the runtime may hold some that are gone.
        """
        body = {"project_id": project_id, "k": k, "text": text, "trace_id": trace_id}
        hits = self._send("POST", "/traces/nearest", body, _NEAREST_SECONDS)["hits"]
        return [(str(one["trace_id"]), float(one["score"])) for one in hits]

    def sync_index(self, project_id: str, *, tenant: str = "default", commit_id: str | None = None) -> int:
        """Bring the index in step with a commit or the head; returns how many versions were added."""
        body = {"project_id": project_id, "tenant": tenant, "commit_id": commit_id}
        return int(self._send("POST", "/index/sync", body, _GENERATE_SECONDS)["added"])

    def rebuild_index(self) -> int:
        """Erase the index and fill it from SQL; returns how many versions it holds. Needed after an erasure."""
        return int(self._send("POST", "/index/rebuild", {}, _GENERATE_SECONDS)["versions"])

    def close(self) -> None:
        """Nothing has to be closed: connections are shared by all clients of the process and end with it."""

    def _headers(self) -> dict[str, str]:
        try:
            token = (self._settings.folder("run") / "runtime.token").read_text().strip()
        except OSError:
            token = ""
        return {"Authorization": f"Bearer {token}"}

    def _send(self, method: str, path: str, body: Any, seconds: float) -> dict[str, Any]:
        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        with self._clearly():
            response = self._client.request(method, path, json=body, headers=self._headers(), timeout=timeout)
            if response.status_code != 200:
                raise _error_of(response)
            answer: dict[str, Any] = response.json()
            return answer

    @contextmanager
    def _clearly(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise Unavailable(
                "The runtime did not answer in time.", todo="Try again; the admin page shows what it is doing."
            ) from error
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(
                "The runtime does not answer.",
                why=type(error).__name__,
                todo="It may be starting: try again shortly, or see the admin page.",
            ) from error


@cache
def _connections(url: str) -> httpx.Client:
    """One pool a process. Never through a proxy: the runtime listens on loopback."""
    return httpx.Client(base_url=url, trust_env=False, limits=httpx.Limits(max_connections=64, max_keepalive_connections=8))


def _error_of(response: httpx.Response) -> WorkbenchError:
    try:
        return _raised(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The runtime answered with HTTP {response.status_code}.", todo="See the runtime's log.")


def _raised(value: dict[str, str]) -> WorkbenchError:
    """The error the runtime met, as the class it had there."""
    kind = getattr(errors, value.get("type", ""), None)
    if not (isinstance(kind, type) and issubclass(kind, WorkbenchError)) or kind is errors.NotSignedIn:
        # A wrong token is no fault of the person who asked: the processes were not started together.
        kind = Unavailable
    return kind(value.get("what", "The runtime could not answer."), why=value.get("why", ""), todo=value.get("todo", ""))
