"""The knowledge index: vectors of entry versions in Chroma, while the truth stays in SQL.

A version's text never changes, so its vector is stored once and serves every corpus commit that holds it. Which versions may
be answered comes with each query from SQL; what the index still holds of retired versions never surfaces.
"""

import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from workbench.core.canonical import short_hash
from workbench.core.errors import InvalidInput, Unavailable
from workbench.runtime.embedding import Vectors

_UPSERT_BATCH = 256
_OVER_FETCH = 4
"""Neighbours asked for, as a multiple of k, since some may be retired."""


@dataclass(frozen=True)
class Scope:
    """Whose knowledge."""

    project_id: str
    tenant: str


@dataclass(frozen=True)
class Passage:
    """An entry version as the index needs it."""

    entry_id: str
    text: str


@dataclass(frozen=True)
class Hit:
    """A version that is near the query."""

    version_id: str
    entry_id: str
    score: float
    """Cosine similarity, from -1 to 1."""


class KnowledgeIndex:
    """Vectors of entry versions. One process owns an embedded index; safe across that process's threads."""

    def __init__(
        self, folder: Path, *, embed: Callable[[Sequence[str]], Vectors], embedder_hash: str, chroma_url: str = ""
    ) -> None:
        """
        Args:
            folder: where the embedded index lies.
            embed: texts to unit vectors.
            embedder_hash: hash of the embedding model; vectors of another one lie in another collection.
            chroma_url: a Chroma server instead of the folder.
        """
        self.name = f"knowledge-{short_hash(embedder_hash, 16)}"
        self._folder = folder
        self._embed = embed
        self._url = chroma_url
        self._lock = threading.RLock()
        self._client = self._connect()
        self._collection = self._open()
        self._known: set[str] = set(self._collection.get(include=[])["ids"])

    @property
    def size(self) -> int:
        """Versions held, those of former commits included."""
        return len(self._known)

    def lacks(self, version_ids: Collection[str]) -> bool:
        """Whether any of the versions is not stored yet."""
        return any(version_id not in self._known for version_id in version_ids)

    def sync(self, scope: Scope, wanted: Mapping[str, Passage]) -> int:
        """Add the versions that are missing; returns how many. Versions that other commits hold stay."""
        with self._lock:
            missing = [version_id for version_id in wanted if version_id not in self._known]
            for start in range(0, len(missing), _UPSERT_BATCH):
                ids = missing[start : start + _UPSERT_BATCH]
                vectors = self._embed([wanted[version_id].text for version_id in ids])
                self._collection.upsert(
                    ids=ids,
                    embeddings=vectors,
                    metadatas=[
                        {"project_id": scope.project_id, "tenant": scope.tenant, "entry_id": wanted[version_id].entry_id}
                        for version_id in ids
                    ],
                )
                self._known.update(ids)
            return len(missing)

    def query(self, scope: Scope, vector: Vectors, k: int, allowed_ids: Collection[str]) -> list[Hit]:
        """The k nearest of the allowed versions, nearest first.

        Args:
            vector: (384,) unit vector of the query.
            allowed_ids: the versions of a corpus commit, from SQL; only these are answered.
        """
        allowed = set(allowed_ids) & self._known
        if not allowed or k < 1:
            return []
        with self._lock:
            found = self._collection.query(
                query_embeddings=[vector],
                n_results=min(k * _OVER_FETCH, self.size),
                where={"$and": [{"project_id": scope.project_id}, {"tenant": scope.tenant}]},
                include=["distances", "metadatas"],
            )
        hits = [
            Hit(version_id, metadata["entry_id"], 1.0 - distance)
            for version_id, distance, metadata in zip(
                found["ids"][0], found["distances"][0], found["metadatas"][0], strict=True
            )
            if version_id in allowed
        ]
        if len(hits) < min(k, len(allowed)):
            hits = self._exact(scope, vector, allowed)
        return sorted(hits, key=lambda hit: (-hit.score, hit.version_id))[:k]

    def rebuild(self, keep: Mapping[Scope, Mapping[str, Passage]]) -> None:
        """Erase everything and store only what is given. An embedded index gets new files: nothing lingers in old ones."""
        with self._lock:
            self._client.delete_collection(self.name)
            if not self._url:
                self._client.close()
                forget_clients()
                shutil.rmtree(self._folder)
                self._client = self._connect()
            self._collection = self._open()
            self._known = set()
            for scope, wanted in keep.items():
                self.sync(scope, wanted)

    def _exact(self, scope: Scope, vector: Vectors, allowed: Collection[str]) -> list[Hit]:
        """Compare with every allowed version: what the approximate search missed, or retired neighbours crowded out."""
        with self._lock:
            got = self._collection.get(ids=sorted(allowed), include=["embeddings", "metadatas"])
        own = [
            index
            for index, metadata in enumerate(got["metadatas"])
            if metadata["project_id"] == scope.project_id and metadata["tenant"] == scope.tenant
        ]
        if not own:
            return []
        scores = np.asarray(got["embeddings"], dtype=np.float32)[own] @ vector
        return [
            Hit(got["ids"][index], got["metadatas"][index]["entry_id"], float(score))
            for index, score in zip(own, scores, strict=True)
        ]

    def _connect(self) -> Any:
        return open_client(self._folder, self._url)

    def _open(self) -> Any:
        return self._client.get_or_create_collection(
            self.name, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )


def open_client(folder: Path, chroma_url: str) -> Any:
    """A Chroma client over the folder, or of the server when an address is given."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False, allow_reset=False)
    if not chroma_url:
        folder.mkdir(parents=True, exist_ok=True)
        return chromadb.PersistentClient(path=str(folder), settings=settings)
    address = urlsplit(chroma_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise InvalidInput(f"WORKBENCH_CHROMA_URL is {chroma_url!r}, which is no http address.")
    secure = address.scheme == "https"
    try:
        return chromadb.HttpClient(
            host=address.hostname, port=address.port or (443 if secure else 8000), ssl=secure, settings=settings
        )
    except ValueError as error:
        raise Unavailable(
            "The Chroma server does not answer.", why=str(error)[:200], todo="Check WORKBENCH_CHROMA_URL and the server."
        ) from error


def forget_clients() -> None:
    """Let Chroma forget what it opened: it keeps one system a folder, also after its files were moved or could not be read."""
    from chromadb.api.shared_system_client import SharedSystemClient

    SharedSystemClient.clear_system_cache()
