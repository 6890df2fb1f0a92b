"""JSON that stands in a text: its strings and numbers are masked where they stand, so that all else stays as it was."""

import json
import re
from typing import Any, Protocol

from workbench.traces.masking.detectors import context_of

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?', re.DOTALL)
_COLON = re.compile(r"\s*:")
_SHORTEST_NUMBER = 7
"""Digits of the shortest number that is masked."""


class Masks(Protocol):
    """Masks one thing at a time; gives back the very same object when there was nothing to mask."""

    def masked_key(self, name: str, scope: str, person: str | None) -> str: ...

    def masked_text(
        self, text: str, scope: str, person: str | None, context: str = "", *, numbers: bool = True, depth: int = 0
    ) -> str: ...

    def masked_number(self, value: int | float, scope: str, person: str | None, name: str) -> Any: ...


def masked_json(masks: Masks, text: str, scope: str, person: str | None, context: str, numbers: bool, depth: int) -> str | None:
    """JSON text with its strings and numbers masked in place; None: it is no JSON.

    Args:
        depth: texts within which this one stands.
    """
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = context
    changed = False

    def mask(token: re.Match[str]) -> str:
        nonlocal named, changed
        raw = token[0]
        if raw[0] != '"':
            if len(raw) < _SHORTEST_NUMBER or not numbers:
                return raw
            number: int | float = float(raw) if "." in raw or "e" in raw.lower() else int(raw)
            given: Any = masks.masked_number(number, scope, person, named)
            if given is number:
                return raw
        else:
            plain = "\\" not in raw
            is_name = _COLON.match(text, token.end()) is not None
            value = raw[1:-1] if plain else json.loads(raw)
            if is_name:
                named = context_of(value)
                given = masks.masked_key(value, scope, person)
            else:
                given = masks.masked_text(value, scope, person, named, numbers=numbers, depth=depth + 1)
            if given is value or given == value:
                return raw
        changed = True
        return json.dumps(given, ensure_ascii=False)

    masked = _TOKEN.sub(mask, text)
    return masked if changed else text
