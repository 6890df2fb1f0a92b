"""Rows of a dataset version, the hash that names them, and which of them are held out.

A row's leaf is the Merkle leaf hash of its canonical bytes; the version's content hash is the root over the leaves in order. An
erased row leaves its leaf, so the hash still verifies and still names the same training.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workbench.audit.merkle import leaf_hash, root_of
from workbench.core.canonical import canonical_bytes


@dataclass
class Row:
    """One example before it is stored."""

    content: dict[str, str]
    question: str
    """What the end user asked."""
    answer: str
    """What was made of it: completion or label."""
    trace_id: str
    session_id: str | None
    user_id: str | None
    started_at: datetime
    language: str | None
    response_id: str
    person_id: str
    responses: list[str]
    people: list[str]
    consent: bool = True
    split: str = "train"
    notes: list[str] = field(default_factory=list)


def leaf_of(
    *,
    content: dict[str, Any],
    trace_id: str,
    responses: Sequence[str],
    people: Sequence[str],
    consent: bool,
    language: str | None,
    split: str,
) -> str:
    """The row's Merkle leaf, 64 hexadecimal digits: over what is learned and where it comes from."""
    row = {
        "content": content,
        "trace_id": trace_id,
        "responses": list(responses),
        "people": list(people),
        "consent": consent,
        "language": language,
        "split": split,
    }
    return leaf_hash(canonical_bytes(row)).hex()


def leaf_of_row(row: Row) -> str:
    """The same of a row that is not stored yet."""
    return leaf_of(
        content=row.content,
        trace_id=row.trace_id,
        responses=row.responses,
        people=row.people,
        consent=row.consent,
        language=row.language,
        split=row.split,
    )


def root_hash(leaves: Iterable[str]) -> str:
    """`sha256:` and the Merkle root over these leaves in order."""
    return "sha256:" + root_of(bytes.fromhex(leaf) for leaf in leaves).hex()


def split_of(session_id: str | None, trace_id: str, validation_share: float) -> str:
    """train or validation, by the hash of the session, so that a conversation is never on both sides.

    The same session falls on the same side in every version with the same share.
    """
    digest = hashlib.sha256(f"split:{session_id or trace_id}".encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < validation_share * 2**64 else "train"


def normal(text: str) -> str:
    """Text as it is compared: lower case, single spaces, no punctuation at the ends."""
    return re.sub(r"\s+", " ", text).strip().strip(".!?¡¿\"' ").casefold()
