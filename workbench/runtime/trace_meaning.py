"""Search among traces by meaning: vectors of their questions in a Chroma collection of its own, while the truth stays in SQL.

The newest traces of each project are swept again and again, a little at a time: a question that is new or was changed gets a
vector, and what SQL no longer has is deleted. Callers read every hit from SQL, so nothing that is gone is ever shown.
"""

import hashlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from sqlalchemy import func, select

from workbench.core.canonical import short_hash
from workbench.core.errors import NotFound, Unavailable
from workbench.core.unit_of_work import Context
from workbench.identity.queries import list_projects
from workbench.runtime.embedding import Embedder, Vectors
from workbench.runtime.engine import Slot
from workbench.runtime.index import open_client
from workbench.traces.models import Trace
from workbench.traces.store import table

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MOST = 20_000
"""Newest traces of a project that can be found by meaning."""
_READ, _EMBED = 500, 32
"""Rows compared, and texts embedded, in one look: about a tenth of a second of one core."""
_SHARE = 0.25
"""Of the time, at most, that looking takes: who asks the runtime for an answer goes before it."""
_AGAIN_SECONDS = 600.0
_LONGEST = 1_000
_TRACE = table(Trace)


@dataclass(frozen=True)
class Near:
    """A trace whose question is near."""

    trace_id: str
    score: float
    """Cosine similarity."""


@dataclass
class _Sweep:
    """Where the comparison of one project with SQL stands."""

    cursor: int = 0
    seen: set[str] = field(default_factory=set)
    at_end: float | None = None
    """When the end was reached; from then on only new rows are read, until it is time to sweep again."""


class TraceMeaning:
    """Vectors of traces' questions. Safe across threads."""

    def __init__(self, context: Context, embedder: Slot[Embedder], folder: Path | None = None) -> None:
        self._context, self._embedder = context, embedder
        self._folder = folder or context.settings.folder("index") / "trace-chroma"
        self._lock = threading.RLock()
        self._collection: Any = None
        self._known: dict[str, dict[str, str]] = {}
        """Project id → trace id → hash of the text that its vector is of."""
        self._sweeps: dict[str, _Sweep] = {}

    def follow(self, stopping: threading.Event) -> None:
        """Keep up until asked to stop."""
        trouble, took = "", 0.0
        while not stopping.wait(max(LOOK_SECONDS, took / _SHARE)):
            if self._embedder.ready is None:
                continue
            begun = monotonic()
            try:
                self.look()
                trouble = ""
            except Exception as error:  # A home that is being migrated, a locked file: try again, and say it once.
                if trouble != type(error).__name__:
                    trouble = type(error).__name__
                    log.warning("traces are not embedded: %s: %s", trouble, str(error).splitlines()[:1])
            took = monotonic() - begun

    def look(self) -> int:
        """Go a little further through every project; returns how many texts were embedded."""
        self._open()
        with self._context.database.session() as session:
            projects = [project.id for project in list_projects(session)]
        return sum(self._step(project_id) for project_id in projects)

    def nearest(self, project_id: str, k: int, *, text: str = "", trace_id: str | None = None) -> list[Near]:
        """The k traces whose questions are nearest to a text, or to a trace's question without itself; nearest first.

        Raises:
            Unavailable: the embedding model is not ready.
            NotFound: no such trace, or one without a question.
        """
        embedder = self._embedder.get()
        self._open()
        if trace_id is not None:
            with self._context.database.session() as session:
                asked = select(_TRACE.c.input).where(_TRACE.c.project_id == project_id, _TRACE.c.trace_id == trace_id)
                text = (session.execute(asked).scalar() or "")[:_LONGEST]
            if not text.strip():
                raise NotFound("This trace has no question to compare with.")
        vector = embedder.embed([text[:_LONGEST]])[0]
        with self._lock:
            held = len(self._known.get(project_id, {}))
            if not held:
                return []
            found = self._collection.query(
                query_embeddings=[vector], n_results=min(k + 1, held), where={"project_id": project_id},
                include=["distances", "metadatas"],
            )  # fmt: skip
        pairs = zip(found["metadatas"][0], found["distances"][0], strict=True)
        near = [Near(str(one["trace_id"]), 1.0 - float(distance)) for one, distance in pairs if one["trace_id"] != trace_id]
        return sorted(near, key=lambda one: (-one.score, one.trace_id))[:k]

    def _open(self) -> None:
        with self._lock:
            if self._collection is not None:
                return
            embedder = self._embedder.ready
            if embedder is None:
                raise Unavailable("The embedding model is not ready.", todo="Try again shortly.")
            name = f"traces-{short_hash(embedder.content_hash, 16)}"
            collection = open_client(self._folder, self._context.settings.chroma_url).get_or_create_collection(
                name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
            )
            for one in collection.get(include=["metadatas"])["metadatas"]:
                self._known.setdefault(str(one["project_id"]), {})[str(one["trace_id"])] = str(one["hash"])
            self._collection = collection

    def _step(self, project_id: str) -> int:
        sweep = self._sweeps.get(project_id)
        if sweep is None or (sweep.at_end is not None and monotonic() - sweep.at_end > _AGAIN_SECONDS):
            sweep = self._sweeps[project_id] = _Sweep(self._begin(project_id))
        rows = self._rows(project_id, sweep.cursor)
        known = self._known.setdefault(project_id, {})
        changed: list[tuple[str, str, str]] = []
        for row_id, trace_id, text in rows:
            if len(changed) == _EMBED:
                break
            sweep.cursor = row_id
            if not text.strip():
                continue  # without a question there is nothing to find; a former vector of it goes at the end of the sweep
            if sweep.at_end is None:
                sweep.seen.add(trace_id)
            hashed = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
            if known.get(trace_id) != hashed:
                changed.append((trace_id, text, hashed))
        self._put(project_id, changed)
        if sweep.at_end is None and (not rows or sweep.cursor == rows[-1][0]) and len(rows) < _READ:
            self._drop(project_id, [trace_id for trace_id in known if trace_id not in sweep.seen])
            sweep.at_end, sweep.seen = monotonic(), set()
        return len(changed)

    def _begin(self, project_id: str) -> int:
        """The row behind which the newest traces lie."""
        with self._context.database.session() as session:
            newest = select(_TRACE.c.id).where(_TRACE.c.project_id == project_id).order_by(_TRACE.c.id.desc())
            return int(session.execute(newest.offset(MOST).limit(1)).scalar() or 0)

    def _rows(self, project_id: str, behind: int) -> Sequence[Any]:
        columns = (_TRACE.c.id, _TRACE.c.trace_id, func.substr(_TRACE.c.input, 1, _LONGEST))
        with self._context.database.session() as session:
            rows = select(*columns).where(_TRACE.c.project_id == project_id, _TRACE.c.id > behind)
            return session.execute(rows.order_by(_TRACE.c.id).limit(_READ)).all()

    def _put(self, project_id: str, changed: Sequence[tuple[str, str, str]]) -> None:
        if not changed:
            return
        self._context.database.turns.let_senders_go_first()
        vectors: Vectors = self._embedder.get().embed([text for _, text, _ in changed])
        with self._lock:
            self._collection.upsert(
                ids=[f"{project_id}/{trace_id}" for trace_id, _, _ in changed],
                embeddings=np.asarray(vectors),
                metadatas=[{"project_id": project_id, "trace_id": one, "hash": hashed} for one, _, hashed in changed],
            )
            self._known[project_id].update({trace_id: hashed for trace_id, _, hashed in changed})

    def _drop(self, project_id: str, gone: Sequence[str]) -> None:
        with self._lock:
            for start in range(0, len(gone), 500):
                part = gone[start : start + 500]
                self._collection.delete(ids=[f"{project_id}/{trace_id}" for trace_id in part])
                for trace_id in part:
                    del self._known[project_id][trace_id]
