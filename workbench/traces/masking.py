"""Masking on the way in: what is stored of a text has placeholders where personal data stood.

It takes two steps. Before the write lock is held, a `Draft` replaces what it finds by marks of its own; within the transaction
the marks become placeholders such as `<PHONE_2>`, numbered so that one value has one number in all of a trace, whenever and
in whatever request it comes (`masking_store.py`). A transaction that is tried again starts from the marks again.

No original is remembered: a value is known again by a keyed hash that holds its project and trace, so that the same value in
two traces cannot be told to be the same. The key lies in the keys folder.
"""

import hashlib
import hmac
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.traces.dialects import DIALECTS
from workbench.traces.masking_detectors import Detectors, context_of, detectors_of, replaced
from workbench.traces.masking_policy import MaskingPolicy, Originals
from workbench.traces.masking_secrets import is_secret_name
from workbench.traces.models import Feedback
from workbench.traces.otlp import Decoded, Rejection, Source, SpanData

PLACEHOLDER = re.compile(r"<(EMAIL|PHONE|CARD|IBAN|ID|SECRET|TERM)_([0-9]{1,9}|[0-9a-f]{12})>")

_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?', re.DOTALL)
_DEEPEST = 8
"""JSON text within JSON text, so many times; below that it is read as plain text."""

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
class Draft:
    """Texts of one request, masked but for the numbers."""

    policy: MaskingPolicy
    project_id: str
    key: bytes
    """32 bytes; see `core.keys.secret_key`."""
    found: list[Marked] = field(default_factory=list)
    """A mark holds its place in this list."""
    _index: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _fields: list[tuple[Any, str, Any]] = field(default_factory=list)
    """Object, name of its field, and the value with marks in it."""

    def __post_init__(self) -> None:
        self.detectors = detectors_of(self.policy)
        self._nonce = os.urandom(8).hex()
        self._marks = re.compile(rf"<{self._nonce}:([0-9]+)>")
        self._hashing = hmac.new(self.key, self.project_id.encode(), hashlib.sha256)

    # ------------------------------------------------------------------------------------------------------- what goes in

    def spans(self, decoded: Decoded) -> None:
        """Mask a request's spans, their sources and what was rejected of it."""
        if not self.policy.types:
            return
        renamed = self._sources(decoded)
        for span in decoded.spans:
            span.source_id = renamed.get(span.source_id, span.source_id)
            self._span(span)
        for rejection in decoded.rejected:
            self._rejection(rejection)

    def feedback(self, row: Feedback) -> None:
        """Mask a signal; about a trace it shares the trace's numbers."""
        if not self.policy.types:
            return
        row.user_id = self.identity(row.user_id)
        if row.session_id:
            row.session_id = self.identity(row.session_id)
        scope = row.trace_id or f"session:{row.session_id}"
        for name in ("text", "name"):
            self._keep(row, name, self._text(getattr(row, name), scope, row.user_id))

    def text(self, text: str, scope: str = "") -> str:
        """One text with marks in it; `filled` makes it readable."""
        return self._text(text, scope, None)

    # ------------------------------------------------------------------------------------------------------ what comes out

    def fill(self, names: list[str]) -> None:
        """Put placeholders where the marks are.

        Args:
            names: one for each of `found`, such as `<EMAIL_1>`.
        """
        for owner, name, template in self._fields:
            setattr(owner, name, self.filled(template, names))

    def filled(self, value: Any, names: list[str]) -> Any:
        """The value with placeholders for its marks."""
        if isinstance(value, str):
            return self._marks.sub(lambda mark: names[int(mark[1])], value) if self._nonce in value else value
        if isinstance(value, dict):
            return {self.filled(key, names): self.filled(one, names) for key, one in value.items()}
        if isinstance(value, list):
            return [self.filled(one, names) for one in value]
        return value

    # ------------------------------------------------------------------------------------------------------------- within

    def _keep(self, owner: Any, name: str, value: Any) -> None:
        """Set a field with its marks, and again with placeholders when the numbers are known."""
        if value is not getattr(owner, name):
            setattr(owner, name, value)  # nothing unmasked is left, even if nobody fills in the numbers
            self._fields.append((owner, name, value))

    def _span(self, span: SpanData) -> None:
        self._identities(span.attributes)
        if not self._is_worth_a_look(span.attributes, span.name, span.status_message, span.events, span.links, span.extra):
            return
        person = _person_in(span.attributes)
        for name in ("name", "status_message"):
            self._keep(span, name, self._text(getattr(span, name), span.trace_id, person))
        self._keep(span, "attributes", self._attributes(span.attributes, span.trace_id, person))
        for event in span.events:
            self._identities(event.get("attributes"))
        for name in ("events", "links", "extra"):
            if getattr(span, name):
                self._keep(span, name, self._value(getattr(span, name), span.trace_id, person, ""))

    def _is_worth_a_look(self, *values: Any) -> bool:
        """Whether anything in these may have to be masked. Almost always not, so that this is what masking costs."""
        gathered = _Gathered(self.detectors)
        for value in values:
            if value:
                gathered.add(value, "")
        if gathered.special:
            return True
        # Words apart from texts: ids are full of digits, and what is looked for in them would be looked for in all.
        texts, words = "\n\x00\n".join(gathered.texts), "\n".join(gathered.words)
        # JSON text may spell letters as \u00f1: what it says is only seen once it is read.
        return "\\u" in texts or self.detectors.signs(words) != 0 or self.detectors.signs(texts) != 0

    def _identities(self, attributes: Any) -> None:
        if not isinstance(attributes, dict):
            return
        for name in [name for name in attributes if _is_identity(name)]:
            value = attributes[name]
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if isinstance(value, str) and (given := self.identity(value)) != value:
                attributes[name] = given

    def identity(self, value: str | None) -> str | None:
        """An id as it is; one that is itself personal data becomes a pseudonym, the same in all of the project."""
        if not value or PSEUDONYM.fullmatch(value):
            return value
        hits = self.detectors.find(value, "phone: ")
        if not hits:
            return value
        whole = len(hits) == 1 and hits[0].end - hits[0].start == len(value.strip())
        return "person-" + self._digest("identity", "", hits[0].value if whole else value.casefold())[:16]

    def _attributes(self, attributes: dict[str, Any], scope: str, person: str | None) -> dict[str, Any]:
        masked = {}
        changed = False
        for name, value in attributes.items():
            if _is_identity(name):
                kept, given = name, value
            else:
                kept = self._key(name, scope, person)
                given = self._value(value, scope, person, name, numbers=name not in STRUCTURE_ATTRIBUTES)
            changed = changed or kept is not name or given is not value
            masked[kept] = given
        return masked if changed else attributes

    def _value(self, value: Any, scope: str, person: str | None, name: str, *, numbers: bool = True, depth: int = 0) -> Any:
        """The value masked; the very same object when there was nothing to mask."""
        if isinstance(value, str):
            return self._text(value, scope, person, context_of(name), numbers=numbers, depth=depth)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return self._number(value, scope, person, name) if numbers else value
        if isinstance(value, dict):
            pairs = [
                (self._key(key, scope, person), self._value(one, scope, person, key, numbers=numbers, depth=depth))
                for key, one in value.items()
            ]
            changed = any(
                new_key is not key or new is not one for (new_key, new), (key, one) in zip(pairs, value.items(), strict=True)
            )
            return dict(pairs) if changed else value
        if isinstance(value, list):
            items = [self._value(one, scope, person, name, numbers=numbers, depth=depth) for one in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        return value

    def _number(self, value: int | float, scope: str, person: str | None, name: str) -> Any:
        kind = self.kind_of_number(value, name)
        return self._mark(kind, str(int(value)), str(int(value)), scope, person) if kind else value

    def kind_of_number(self, value: int | float, name: str) -> str | None:
        whole = isinstance(value, int) or (value.is_integer() and value < 1e19)
        return self.detectors.find_in_number(int(value), context_of(name)) if whole else None

    def _key(self, name: str, scope: str, person: str | None) -> str:
        return self._text(name, scope, person) if self.detectors.looks_for_terms or _says_much(name) else name

    def _text(
        self, text: str, scope: str, person: str | None, context: str = "", *, numbers: bool = True, depth: int = 0
    ) -> str:
        secret = bool(context) and self.detectors.names_secret(context)
        if len(text) < _SHORTEST and not secret and not self.detectors.looks_for_terms:
            return text
        signs = self.detectors.signs(text)
        if depth < _DEEPEST and (signs or secret or "\\u" in text) and text.lstrip()[:1] in ("{", "[", '"'):
            inner = self._json_text(text, scope, person, context, numbers, depth)
            if inner is not None:
                return inner
        if not signs and not secret:
            return text
        hits = self.detectors.find(text, context, numbers=numbers, signs=signs)
        if not hits:
            return text
        return replaced(text, hits, lambda kind, value, written: self._mark(kind, value, written, scope, person))

    def _json_text(self, text: str, scope: str, person: str | None, context: str, numbers: bool, depth: int) -> str | None:
        """JSON text with its strings and numbers masked in place, so that all else stays as it was; None: it is no JSON."""
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
                if len(raw) < 7 or not numbers:
                    return raw
                number: int | float = float(raw) if "." in raw or "e" in raw.lower() else int(raw)
                given: Any = self._number(number, scope, person, named)
                if given is number:
                    return raw
            else:
                plain = "\\" not in raw
                is_name = _JSON_COLON.match(text, token.end()) is not None
                value = raw[1:-1] if plain else json.loads(raw)
                if is_name:
                    named = context_of(value)
                    given = self._key(value, scope, person)
                else:
                    given = self._text(value, scope, person, named, numbers=numbers, depth=depth + 1)
                if given is value or given == value:
                    return raw
            changed = True
            return json.dumps(given, ensure_ascii=False)

        masked = _JSON_TOKEN.sub(mask, text)
        return masked if changed else text

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

    def _sources(self, decoded: Decoded) -> dict[str, str]:
        """Mask resources and scopes; returns old id → new id. Many traces share one, so no trace's numbers are used."""
        renamed = {}
        for source in list(decoded.sources.values()):
            if not self._is_worth_a_look(source.resource, source.scope):
                continue
            plain = Draft(replace(self.policy, originals=Originals.NOT_KEPT.value), self.project_id, self.key)
            resource = dict(source.resource)
            plain._identities(resource)
            resource = plain._attributes(resource, "source", None)
            scope = plain._value(source.scope, "source", None, "")
            names = [f"<{one.kind}_{one.digest[:12]}>" for one in plain.found]
            resource, scope = plain.filled(resource, names), plain.filled(scope, names)
            if resource == source.resource and scope == source.scope:
                continue
            made = hash_bytes(json.dumps([resource, scope], sort_keys=True, ensure_ascii=True).encode())
            decoded.sources.pop(source.id)
            decoded.sources[made] = Source(made, resource, scope)
            renamed[source.id] = made
        return renamed

    def _rejection(self, rejection: Rejection) -> None:
        scope = rejection.trace_id or "rejected:" + os.urandom(8).hex()
        self._keep(rejection, "reason", self._text(rejection.reason, scope, None))
        for name in ("name", "trace_id", "span_id"):
            if given := getattr(rejection, name):
                self._keep(rejection, name, self._text(given, scope, None))
        if rejection.raw is not None:
            self._keep(rejection, "raw", self._value(rejection.raw, scope, None, ""))


PSEUDONYM = re.compile(r"person-[0-9a-f]{16}")
_JSON_COLON = re.compile(r"\s*:")


def preview(policy: MaskingPolicy, text: str, key: bytes = b"preview") -> tuple[str, dict[str, int]]:
    """What a text would become as a trace of its own, and how many different values of each type it holds."""
    draft = Draft(policy, "preview", key)
    template = draft.text(text, "preview")
    names = list(number_in_order(draft.found))
    return draft.filled(template, names), dict(Counter(one.kind for one in draft.found))


def number_in_order(found: list[Marked]) -> Iterator[str]:
    """Placeholders as they would be in a new trace."""
    last: Counter[tuple[str, str]] = Counter()
    for one in found:
        last[(one.scope, one.kind)] += 1
        yield f"<{one.kind}_{last[(one.scope, one.kind)]}>"


@dataclass(slots=True)
class _Gathered:
    """The texts of a value, to be looked at all at once."""

    detectors: Detectors
    texts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """Short ones without a blank, such as ids."""
    special: bool = False
    """Whether something is to be looked at whatever the texts say."""

    def add(self, value: Any, name: str) -> None:
        kind = type(value)
        if kind is str:
            (self.words if len(value) < _WORD and " " not in value else self.texts).append(value)
            if name and _is_secret(name) and self.detectors.names_secret(context_of(name)):
                self.special = True
        elif kind is dict:
            for key, one in value.items():
                self.add(one, key)
                if self.detectors.looks_for_terms or _says_much(key):
                    self.texts.append(key)
        elif kind is list:
            for one in value:
                self.add(one, name)
        elif (kind is int or kind is float) and value > 999_999:
            whole = kind is int or (value.is_integer() and value < 1e19)
            if whole and self.detectors.find_in_number(int(value), context_of(name)):
                self.special = True


_WORD = 48
_SHORTEST = 6
"""Characters of the shortest address or number that is masked; secrets in fields of their name and terms may be shorter."""


@lru_cache(maxsize=8192)
def _is_identity(name: str) -> bool:
    return name in IDENTITY_ATTRIBUTES or name.endswith((".user_id", ".session_id"))


@lru_cache(maxsize=8192)
def _is_secret(name: str) -> bool:
    return is_secret_name(context_of(name).rstrip(": "))


@lru_cache(maxsize=8192)
def _says_much(name: str) -> bool:
    """Whether a key is more than the name of a field and so is looked at like a text."""
    return _NAME.fullmatch(name) is None


_NAME = re.compile(r"[A-Za-z_][A-Za-z_\-]*+(?:\.(?:[A-Za-z_\-]++|[0-9]{1,4}(?=\.|\Z)))*+[0-9]{0,2}")


def _person_in(attributes: dict[str, Any]) -> str | None:
    for name in _USER_ATTRIBUTES:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value[:200]
    return None


_USER_ATTRIBUTES = tuple(sorted(_attributes_of(("user_id",))))
