"""Marks in place of personal data: values of any shape, such as a span's attributes, with what is found in them replaced.

No original is remembered: a value is known again by a keyed hash that holds its project and trace, so that the same value in
two traces cannot be told to be the same. The key lies in the keys folder.
"""

import hashlib
import hmac
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from workbench.traces.masking.detectors import context_of, detectors_of, replaced
from workbench.traces.masking.json_text import masked_json
from workbench.traces.masking.names import STRUCTURE_ATTRIBUTES, is_identity, says_much
from workbench.traces.masking.policy import MaskingPolicy

_PSEUDONYM = re.compile(r"person-[0-9a-f]{16}")
_DEEPEST = 8
"""JSON text within JSON text, so many times; below that it is read as plain text."""
_SHORTEST = 6
"""Characters of the shortest address or number that is masked; secrets in fields of their name and terms may be shorter."""


@dataclass(frozen=True, slots=True)
class Marked:
    """One value found, in one trace."""

    scope: str
    """The trace id, or `session:` and the session's."""
    kind: str
    digest: str
    original: str | None
    """As it was written; None where the project keeps none."""
    person: str | None = None
    """Pseudonym or id of the end user it belongs to, when the span says."""


@dataclass
class Marker:
    """Masks values but for the numbers, and remembers which marks it made.

    The `masked_…` give back the very same object when there was nothing to mask.
    """

    policy: MaskingPolicy
    project_id: str
    key: bytes
    """32 bytes; see `core.keys.secret_key`."""
    found: list[Marked] = field(default_factory=list)
    """A mark holds its place in this list."""
    _index: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.detectors = detectors_of(self.policy)
        self._nonce = os.urandom(8).hex()
        self._hashing = hmac.new(self.key, self.project_id.encode(), hashlib.sha256)

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        return re.compile(rf"<{self._nonce}:([0-9]+)>")

    def filled(self, value: Any, names: list[str]) -> Any:
        """The value with placeholders for its marks."""
        if isinstance(value, str):
            return self._marks.sub(lambda mark: names[int(mark[1])], value) if self._nonce in value else value
        if isinstance(value, dict):
            return {self.filled(key, names): self.filled(one, names) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one, names) for one in value]
        return value

    def mask_identities(self, attributes: Any) -> None:
        """Put pseudonyms, in place, where an attribute that says who it is holds personal data."""
        if not isinstance(attributes, dict):
            return
        for name in [name for name in attributes if is_identity(name)]:
            value = attributes[name]
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and (given := self.identity(value)) != value:
                attributes[name] = given

    def identity(self, value: str | None) -> str | None:
        """An id as it is; one that is itself personal data becomes a pseudonym, the same in all of the project."""
        if not value or _PSEUDONYM.fullmatch(value):
            return value
        hits = self.detectors.find(value, "phone: ")
        if not hits:
            return value
        whole = len(hits) == 1 and hits[0].end - hits[0].start == len(value.strip())
        return "person-" + self._digest("identity", "", hits[0].value if whole else value.casefold())[:16]

    def masked_attributes(self, attributes: dict[str, Any], scope: str, person: str | None) -> dict[str, Any]:
        """Attributes masked, but for those that say who it is: see `mask_identities`."""
        masked = {}
        changed = False
        for name, value in attributes.items():
            if is_identity(name):
                kept, given = name, value
            else:
                kept = self.masked_key(name, scope, person)
                given = self.masked_value(value, scope, person, name, numbers=name not in STRUCTURE_ATTRIBUTES)
            changed = changed or kept is not name or given is not value
            masked[kept] = given
        return masked if changed else attributes

    def masked_value(
        self, value: Any, scope: str, person: str | None, name: str, *, numbers: bool = True, depth: int = 0
    ) -> Any:
        """The value masked; lists and dictionaries through and through."""
        if isinstance(value, str):
            return self.masked_text(value, scope, person, context_of(name), numbers=numbers, depth=depth)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return self.masked_number(value, scope, person, name) if numbers else value
        if isinstance(value, dict):
            pairs = [
                (self.masked_key(key, scope, person), self.masked_value(one, scope, person, key, numbers=numbers, depth=depth))
                for key, one in value.items()
            ]
            changed = any(
                new_key is not key or new is not one for (new_key, new), (key, one) in zip(pairs, value.items(), strict=True)
            )
            return dict(pairs) if changed else value
        if isinstance(value, list):
            items = [self.masked_value(one, scope, person, name, numbers=numbers, depth=depth) for one in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        return value

    def masked_number(self, value: int | float, scope: str, person: str | None, name: str) -> Any:
        """The number, or a mark where it is a card, or a phone or an id by the name of its field."""
        whole = isinstance(value, int) or (value.is_integer() and value < 1e19)
        kind = self.detectors.find_in_number(int(value), context_of(name)) if whole else None
        return self._mark(kind, str(int(value)), str(int(value)), scope, person) if kind else value

    def masked_key(self, name: str, scope: str, person: str | None) -> str:
        """A key masked where it is more than a name."""
        return self.masked_text(name, scope, person) if self.detectors.looks_for_terms or says_much(name) else name

    def masked_text(
        self, text: str, scope: str, person: str | None, context: str = "", *, numbers: bool = True, depth: int = 0
    ) -> str:
        """A text with marks in it; `filled` makes it readable.

        Args:
            scope: the trace id, or what else its values are numbered within.
            person: the end user it belongs to, when that is known.
            context: what the text is called, in words.
            numbers: whether it may hold cards, accounts, ids and phones.
            depth: JSON texts within which it stands.
        """
        secret = bool(context) and self.detectors.names_secret(context)
        if len(text) < _SHORTEST and not secret and not self.detectors.looks_for_terms:
            return text
        signs = self.detectors.signs(text)
        if depth < _DEEPEST and (signs or secret or "\\u" in text) and text.lstrip()[:1] in ("{", "[", '"'):
            inner = masked_json(self, text, scope, person, context, numbers, depth)
            if inner is not None:
                return inner
        if not signs and not secret:
            return text
        hits = self.detectors.find(text, context, numbers=numbers, signs=signs)
        if not hits:
            return text
        return replaced(text, hits, lambda kind, value, written: self._mark(kind, value, written, scope, person))

    def _mark(self, kind: str, value: str, written: str, scope: str, person: str | None) -> str:
        digest = self._digest(kind, scope, value)
        place = self._index.get((scope, kind, digest))
        if place is None:
            place = self._index[(scope, kind, digest)] = len(self.found)
            original = written if self.policy.keeps_originals else None
            self.found.append(Marked(scope, kind, digest, original, person if self.policy.keeps_originals else None))
        return f"<{self._nonce}:{place}>"

    def _digest(self, kind: str, scope: str, value: str) -> str:
        hashing = self._hashing.copy()
        hashing.update(f"\n{kind}\n{scope}\n{value}".encode())
        return hashing.hexdigest()[:32]
