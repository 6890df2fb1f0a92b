"""What serving needs of the runtime process; `core.runtime_client.RuntimeClient` fulfils it, and a fake in tests."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from workbench.core.runtime_client import Classified, Generated, IndexAnswer, Prompt


class Runtime(Protocol):
    """Embedding, retrieval, generation and classification. Every call may raise Unavailable."""

    def health(self) -> dict[str, Any]: ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def generate(
        self, prompts: Sequence[Prompt], *, adapter: str | None = None, background: bool = False, seconds: float | None = None
    ) -> list[Generated]: ...

    def stream(self, prompt: Prompt, *, adapter: str | None = None) -> Iterator[str | Generated]: ...

    def classify(self, texts: Sequence[str], adapter: str) -> list[Classified]: ...

    def query_index(
        self, project_id: str, query: str, k: int, *, tenant: str = "default", commit_id: str | None = None
    ) -> IndexAnswer: ...
