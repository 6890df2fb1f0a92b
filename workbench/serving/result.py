"""An answer with everything that made it: what it cites, what was retrieved, which rules of the guard applied."""

from dataclasses import dataclass, field
from typing import Any

from workbench.prompts.phrases import is_decline
from workbench.serving.retrieve import Retrieved


@dataclass(frozen=True)
class Citation:
    """What an answer rests on."""

    entry_id: str
    version_id: str
    key: str
    title: str
    span: str
    """The sentence or sentences of the entry."""
    start: int
    end: int
    """Where the span is in the version's text, in characters."""


@dataclass(frozen=True)
class Fired:
    """A guard rule that applied."""

    rule: str
    """no_evidence, injection_in_question, injection_in_evidence, personal_data, empty_answer, too_many_sentences,
    citation_missing, citation_unknown, wrong_language, cut_off."""
    detail: str
    action: str
    """marked, dropped, masked, evidence, decline: what was done about it."""


@dataclass(frozen=True)
class Answer:
    """An answer with everything that made it."""

    text: str
    mode: str
    """How the text was made: generate, evidence or decline."""
    citations: tuple[Citation, ...] = ()
    passages: tuple[Retrieved, ...] = ()
    """The entry versions that were evidence, best first."""
    guard: tuple[Fired, ...] = ()
    prompt: str = ""
    prompt_version: str = ""
    """Content hash of the prompt version; empty when no prompt was used."""
    written: str = ""
    """What the model wrote, when the guard replaced or masked it."""
    input_tokens: int = 0
    output_tokens: int = 0
    corpus_commit: str | None = None
    """Commit id; None: the scope has no corpus."""
    corpus_number: int | None = None
    language: str | None = None
    """Of the question, as recognised."""
    finish_reason: str = "stop"
    timings: dict[str, float] = field(default_factory=dict)
    """Milliseconds: retrieve, generate, total."""

    @property
    def declined(self) -> bool:
        return self.mode == "decline" or is_decline(self.text)

    def documents(self) -> list[dict[str, Any]]:
        """The passages as a trace stores them."""
        return [
            {"id": p.version.key, "score": round(p.score, 4), "content": p.version.text, "version": p.version.id}
            for p in self.passages
        ]

    def receipt(self) -> dict[str, Any]:
        """The ids and rules of this answer as JSON, without prompt and passages' texts."""
        return {
            "mode": self.mode,
            "citations": [
                {name: getattr(c, name) for name in ("entry_id", "version_id", "key", "span", "start", "end")}
                for c in self.citations
            ],
            "guard": [{"rule": f.rule, "detail": f.detail, "action": f.action} for f in self.guard],
            "prompt_version": self.prompt_version or None,
            "corpus_commit": self.corpus_commit,
            "corpus_number": self.corpus_number,
            "timings": self.timings,
        }
