"""What an entry version says, checked before it is stored."""

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.canonical import content_hash
from workbench.core.errors import InvalidInput
from workbench.knowledge.models import KnowledgeEntryVersion, RiskTier

KINDS = ("fact", "policy", "procedure", "term", "table", "instruction")
"""Kinds that the page offers; an import may bring others."""
MAX_TITLE = 200
MAX_TEXT = 8_000
"""Characters. Longer texts belong in several entries: each is retrieved and cited as one."""
MAX_TAGS = 20

_KEY = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,29}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class EntryContent:
    """The words and labels of a version."""

    title: str
    text: str
    kind: str = "fact"
    tags: tuple[str, ...] = field(default=())
    language: str = "en"
    risk_tier: RiskTier = RiskTier.LOW
    source: str = ""

    def hash(self, key: str) -> str:
        """The hash that names this content under its key."""
        return content_hash(
            {
                "key": key,
                "title": self.title,
                "text": self.text,
                "kind": self.kind,
                "tags": list(self.tags),
                "language": self.language,
                "risk_tier": self.risk_tier.value,
                "source": self.source,
            }
        )


def content_of(version: KnowledgeEntryVersion) -> EntryContent:
    """The content of a stored version."""
    return EntryContent(
        title=version.title,
        text=version.text,
        kind=version.kind,
        tags=tuple(version.tags),
        language=version.language,
        risk_tier=RiskTier(version.risk_tier),
        source=version.source,
    )


def checked(content: EntryContent) -> EntryContent:
    """The content in Unicode NFC, trimmed, without control characters, its tags sorted and distinct.

    Raises:
        InvalidInput: a field is empty, too long, or not of its form.
    """
    title, text = _clean(content.title).replace("\n", " ").strip(), _clean(content.text).strip()
    if not title:
        raise InvalidInput("An entry needs a title.", todo="Write what a person would look for.")
    if not text:
        raise InvalidInput("An entry needs a text.", todo="Write the fact as the assistant should know it.")
    if len(title) > MAX_TITLE:
        raise InvalidInput(f"The title has {len(title)} characters; at most {MAX_TITLE} are kept.")
    if len(text) > MAX_TEXT:
        raise InvalidInput(
            f"The text has {len(text)} characters; at most {MAX_TEXT} fit one entry.",
            todo="Split it: each entry is retrieved and cited as one.",
        )
    if not _KIND.fullmatch(content.kind):
        raise InvalidInput(f"{content.kind!r} is no kind.", todo="Use one of " + ", ".join(KINDS) + ".")
    if not _LANGUAGE.fullmatch(content.language):
        raise InvalidInput(f"{content.language!r} is no language.", todo="Use a code such as en, es or vi.")
    tags = tuple(sorted({tag for tag in (_clean(tag).strip() for tag in content.tags) if tag}))
    if len(tags) > MAX_TAGS or any(len(tag) > 60 for tag in tags):
        raise InvalidInput(f"At most {MAX_TAGS} tags of up to 60 characters are kept.")
    source = _clean(content.source).replace("\n", " ").strip()
    if len(source) > 500:
        raise InvalidInput("The source has more than 500 characters.", todo="Name the document and its section.")
    return replace(content, title=title, text=text, tags=tags, source=source)


def checked_key(key: str) -> str:
    """The key as given when it has the right form.

    Raises:
        InvalidInput
    """
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"{key[:90]!r} is no key of an entry.", todo="Use up to 80 lower-case letters, digits, dots and dashes."
        )
    return key


def suggest_key(title: str) -> str:
    """A key made from a title, such as `flexpay-2.0-late-fee`; empty when the title has no letter or digit."""
    plain = unicodedata.normalize("NFKD", title.lower().replace("đ", "d"))
    ascii_only = plain.encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9.]+", "-", ascii_only).strip("-.")[:80].rstrip("-.")


def content_from_line(value: dict[str, Any]) -> EntryContent:
    """The content of one line of an import.

    Raises:
        InvalidInput: a field is missing or of the wrong type.
    """
    for name in ("title", "text"):
        if not isinstance(value.get(name), str):
            raise InvalidInput(f"The line has no {name}.", todo="Every line needs key, title and text as strings.")
    tags = value.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidInput("`tags` must be a list of strings.")
    try:
        tier = RiskTier(str(value.get("risk_tier", RiskTier.LOW.value)))
    except ValueError:
        raise InvalidInput(f"{value.get('risk_tier')!r} is no risk tier.", todo="Use low, medium or high.") from None
    return checked(
        EntryContent(
            title=value["title"],
            text=value["text"],
            kind=str(value.get("kind", "fact")),
            tags=tuple(tags),
            language=str(value.get("language", "en")),
            risk_tier=tier,
            source=str(value.get("source", "")),
        )
    )


def _clean(text: str) -> str:
    return _CONTROL.sub("", unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")))
