"""What answers a question: the components of a release, or of an arm of a comparison, by slot."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Mode = Literal["generate", "evidence"]


@dataclass(frozen=True)
class Routing:
    """How a question becomes a prompt, and which way the answer is made."""

    mode: Mode = "generate"
    """generate: the model writes. evidence: the cited span itself is the answer."""
    passages: int = 2
    """How many knowledge entries are put before the model."""
    minimum_score: float = 0.35
    """Cosine below which an entry is no evidence."""


@dataclass(frozen=True)
class GuardPolicy:
    """What an answer must keep, and what happens when it does not."""

    max_sentences: int = 2
    require_citation: bool = True
    decline_without_evidence: bool = True
    on_failure: Literal["deliver", "evidence", "decline"] = "evidence"
    """deliver: as written, marked. evidence: the cited span instead. decline: the decline sentence instead."""
    same_language: bool = True
    """Whether the answer must be in the question's language."""
    drop_injected: bool = True
    """Whether a passage that tries to give orders is kept out of the prompt; it is marked either way."""
    mask_personal_data: bool = True
    """Whether personal data that the evidence does not contain is masked in the answer."""


@dataclass(frozen=True)
class ServingConfiguration:
    """Everything that decides an answer. All components are named by content hash, the corpus by commit id."""

    project_id: str
    base_model: str
    """Hash of the base model's weights."""
    prompt_version: str
    """Content hash of the prompt version."""
    generator_adapter: str | None = None
    """Content hash of a LoRA adapter; None: the bare base model."""
    triage_adapter: str | None = None
    """Content hash of the classifier adapter; None: no triage."""
    routing: Routing = field(default_factory=Routing)
    guard: GuardPolicy = field(default_factory=GuardPolicy)
    corpus_commit: str | None = None
    """A fixed corpus commit; None: the corpus head at the time of the question."""
    tenant: str = "default"
    release_id: str | None = None
    """The release this came from; None for an arm that was never released."""
    manifest_hash: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, for job specs and comparison records."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ServingConfiguration":
        """The inverse of `as_json`.

        Raises:
            TypeError: a field is missing or unknown.
        """
        return cls(
            **{
                **value,
                "routing": Routing(**value.get("routing", {})),
                "guard": GuardPolicy(**value.get("guard", {})),
            }
        )
