"""A runtime that answers from words instead of a model, with the interface of RuntimeClient."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workbench.core.database import Database
from workbench.core.errors import Unavailable
from workbench.core.runtime_client import Classified, Generated, IndexAnswer, IndexHit, Prompt
from workbench.knowledge import queries
from workbench.serving.lexical import terms

BASE = "sha256:" + "b" * 64


class FakeRuntime:
    """Embeds texts as bags of hashed words; its index follows the commit asked for, as the real one."""

    def __init__(
        self, database: Database, write: Callable[[str], str] = lambda prompt: "I have no approved source for that"
    ) -> None:
        self.database = database
        self.write = write
        self.indexed: dict[str, list[float]] = {}
        self.prompts: list[str] = []
        self.calls = 0
        self.base = BASE
        self.finish_reason = "stop"
        self.unavailable = ""

    def health(self) -> dict[str, Any]:
        return {"status": "ok", "base": {"state": "ready", "hash": self.base}}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: str | None = None, background: bool = False, seconds: float | None = None
    ) -> list[Generated]:
        if self.unavailable:
            raise Unavailable(self.unavailable, todo="Try again shortly.")
        self.calls += 1
        self.prompts += [prompt.prompt for prompt in prompts]
        return [self._generated(prompt) for prompt in prompts]

    def stream(self, prompt: Prompt, *, adapter: str | None = None) -> Iterator[str | Generated]:
        whole = self._generated(prompt)
        for start in range(0, len(whole.text), 3):
            yield whole.text[start : start + 3]
        yield whole

    def classify(self, texts: Sequence[str], adapter: str) -> list[Classified]:
        return [
            Classified("cards", 0.9, {"cards": 0.9, "loans": 0.1})
            if "card" in text
            else Classified("loans", 0.8, {"cards": 0.2, "loans": 0.8})
            for text in texts
        ]

    def query_index(
        self, project_id: str, query: str, k: int, *, tenant: str = "default", commit_id: str | None = None
    ) -> IndexAnswer:
        with self.database.session() as session:
            head = queries.head(session, project_id, tenant)
            commit = queries.get_commit(session, project_id, commit_id) if commit_id else head
            if commit is None:
                return IndexAnswer([], None)
            members = queries.members(session, commit)
            for version in members.values():
                self.indexed.setdefault(version.id, embed(f"{version.title}\n{version.text}"))
            entry_of = {version.id: version.entry_id for version in members.values()}
        asked = embed(query)
        hits = [
            IndexHit(key, entry_of.get(key, ""), sum(a * b for a, b in zip(asked, vector, strict=True)))
            for key, vector in self.indexed.items()  # what is retired too: who asks must not trust it
        ]
        return IndexAnswer(sorted(hits, key=lambda hit: -hit.score)[:k], commit.id)

    def _generated(self, prompt: Prompt) -> Generated:
        text = self.write(prompt.prompt)
        return Generated(text, len(prompt.prompt) // 4, len(text) // 4, self.finish_reason)


def embed(text: str) -> list[float]:
    """A unit vector of 64 numbers: hashed words."""
    vector = [0.0] * 64
    for term in terms(text):
        digest = hashlib.sha256(term.encode()).digest()
        vector[digest[0] % 64] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]
