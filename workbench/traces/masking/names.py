"""What names of attributes and fields say about their values: who it is, a number of ours, a secret."""

import re
from functools import lru_cache
from typing import Any

from workbench.traces.dialects import DIALECTS
from workbench.traces.masking.detectors import context_of
from workbench.traces.masking.secret_values import is_secret_name

MAX_PERSON = 200
"""Characters of an end user's id by which they are known."""

_IDENTITIES = ("session_id", "user_id")
_OF_STRUCTURE = (
    "model", "provider", "operation", "input_tokens", "output_tokens", "usage", "cost", "cost_details", "first_token_ms",
    "first_token_s", "release", "prompt_version", "corpus_commit", "environment", "tool_call_id", "currency", "language",
    "configuration",
)  # fmt: skip


def _attributes_of(columns: tuple[str, ...]) -> frozenset[str]:
    found = {name for dialect in DIALECTS for column in columns for name in dialect.columns.get(column, ())}
    return frozenset(name.removeprefix("resource:") for name in found if not name.endswith(".*"))


IDENTITY_ATTRIBUTES = _attributes_of(_IDENTITIES)
"""Attributes that say who or which conversation it is, in any dialect."""
STRUCTURE_ATTRIBUTES = _attributes_of(_OF_STRUCTURE) - IDENTITY_ATTRIBUTES
"""Attributes that our columns are read from and that hold no text: their numbers are never cards or phones."""
_USER_ATTRIBUTES = tuple(sorted(_attributes_of(("user_id",))))
_NAME = re.compile(r"[A-Za-z_][A-Za-z_\-]*+(?:\.(?:[A-Za-z_\-]++|[0-9]{1,4}(?=\.|\Z)))*+[0-9]{0,2}")


@lru_cache(maxsize=8192)
def is_identity(name: str) -> bool:
    """Whether the attribute of this name says who or which conversation it is."""
    return name in IDENTITY_ATTRIBUTES or name.endswith((".user_id", ".session_id"))


@lru_cache(maxsize=8192)
def names_secret(name: str) -> bool:
    """Whether the attribute of this name holds a secret."""
    return is_secret_name(context_of(name).rstrip(": "))


@lru_cache(maxsize=8192)
def says_much(name: str) -> bool:
    """Whether a key is more than the name of a field and so is looked at like a text."""
    return _NAME.fullmatch(name) is None


def person_in(attributes: dict[str, Any]) -> str | None:
    """The end user that a span names."""
    for name in _USER_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value[:MAX_PERSON]
    return None
