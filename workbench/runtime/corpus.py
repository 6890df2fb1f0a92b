"""Keeps the knowledge index in step with the corpus commits in SQL."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from workbench.core.database import Database
from workbench.core.errors import NotFound, WorkbenchError
from workbench.knowledge import queries
from workbench.runtime.embedding import Embedder
from workbench.runtime.engine import Slot
from workbench.runtime.index import Hit, KnowledgeIndex, Passage, Scope

log = logging.getLogger(__name__)
FOLLOW_SECONDS = 0.3
_REMEMBERED_COMMITS = 64


@dataclass(frozen=True)
class Snapshot:
    """Which versions a corpus commit holds."""

    commit_id: str
    version_ids: frozenset[str]


class CorpusReader(Protocol):
    """What the index asks of SQL."""

    def scopes(self) -> list[Scope]:
        """Every scope that has a corpus."""
        ...

    def snapshot(self, scope: Scope, commit_id: str | None) -> Snapshot | None:
        """A commit, or the scope's head; None when the scope has none.

        Raises:
            NotFound: no such commit in the scope.
        """
        ...

    def passages(self, scope: Scope, commit_id: str) -> dict[str, Passage]:
        """Version id → what is to be found of it, for all versions of a commit."""
        ...


class SqlCorpus:
    """The corpus as `workbench.knowledge` keeps it. A commit never changes, so its members are remembered."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._members: OrderedDict[str, Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    def scopes(self) -> list[Scope]:
        with self._database.session() as session:
            return [Scope(project_id, tenant) for project_id, tenant in queries.scopes(session)]

    def snapshot(self, scope: Scope, commit_id: str | None) -> Snapshot | None:
        with self._lock:
            known = self._members.get(f"{scope.project_id}/{scope.tenant}/{commit_id}") if commit_id else None
        if known is not None:
            return known
        with self._database.session() as session:
            if commit_id is None:
                commit = queries.head(session, scope.project_id, scope.tenant)
                if commit is None:
                    return None
            else:
                commit = queries.get_commit(session, scope.project_id, commit_id)
                if commit.tenant != scope.tenant:
                    raise NotFound(f"There is no corpus commit {commit_id!r} for the tenant {scope.tenant!r}.")
            key = f"{scope.project_id}/{scope.tenant}/{commit.id}"
            with self._lock:
                known = self._members.get(key)
            found = known or Snapshot(commit.id, frozenset(queries.member_ids(session, commit).values()))
        with self._lock:
            self._members[key] = found
            while len(self._members) > _REMEMBERED_COMMITS:
                self._members.popitem(last=False)
        return found

    def passages(self, scope: Scope, commit_id: str) -> dict[str, Passage]:
        with self._database.session() as session:
            commit = queries.get_commit(session, scope.project_id, commit_id)
            return {
                version_id: Passage(version.entry_id, f"{version.title}\n{version.text}")
                for version_id, version in queries.members(session, commit).items()
            }


class Retriever:
    """Answers queries from the index after bringing it in step with the commit asked for."""

    def __init__(self, corpus: CorpusReader, embedder: Slot[Embedder], index: Slot[KnowledgeIndex]) -> None:
        self._corpus, self._embedder, self._index = corpus, embedder, index

    def query(self, scope: Scope, commit_id: str | None, text: str, k: int) -> tuple[list[Hit], str | None]:
        """The k versions of the commit that are nearest to the text, and the commit's id; None for `commit_id` is the head.

        Raises:
            NotFound: no such commit.
            Unavailable: the embedding model or the index is not ready.
        """
        snapshot = self._corpus.snapshot(scope, commit_id)
        if snapshot is None:
            return [], None
        index = self._index.get()
        self._bring_in_step(index, scope, snapshot)
        vector = self._embedder.get().embed([text])[0]
        return index.query(scope, vector, k, snapshot.version_ids), snapshot.commit_id

    def sync(self, scope: Scope, commit_id: str | None = None) -> int:
        """Bring the index in step with a commit or the head; returns how many versions were added."""
        snapshot = self._corpus.snapshot(scope, commit_id)
        return 0 if snapshot is None else self._bring_in_step(self._index.get(), scope, snapshot)

    def rebuild(self) -> int:
        """Erase the index and fill it with the heads of all scopes; returns how many versions it holds."""
        keep = {}
        for scope in self._corpus.scopes():
            snapshot = self._corpus.snapshot(scope, None)
            if snapshot is not None:
                keep[scope] = self._corpus.passages(scope, snapshot.commit_id)
        index = self._index.get()
        index.rebuild(keep)
        return index.size

    def follow(self, stopping: threading.Event) -> None:
        """Keep up with every head until asked to stop, so that a query seldom has to."""
        trouble = ""
        while not stopping.wait(FOLLOW_SECONDS):
            if self._index.ready is None:
                continue
            try:
                for scope in self._corpus.scopes():
                    self.sync(scope)
                trouble = ""
            except WorkbenchError as error:
                log.warning("the index does not follow the corpus: %s", error)
            except Exception as error:  # A home that is being migrated, a locked file: try again, and say it once.
                if trouble != type(error).__name__:
                    trouble = type(error).__name__
                    log.warning("the index does not follow the corpus: %s: %s", trouble, str(error).splitlines()[0])

    def _bring_in_step(self, index: KnowledgeIndex, scope: Scope, snapshot: Snapshot) -> int:
        if not index.lacks(snapshot.version_ids):
            return 0
        return index.sync(scope, self._corpus.passages(scope, snapshot.commit_id))
