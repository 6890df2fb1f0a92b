"""Personal data and secrets in a text: what is there, and where.

Almost every text holds none. So the cheap question comes first (`Detectors.signs`), and each detector has a sign that must be
there before it looks. All patterns are linear in the length of the text, whatever the text is.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import re2
from stdnum import iban

from workbench.traces.masking.ids import find_ids
from workbench.traces.masking.numbers import find_numbers, is_card, says_phone, starts_well
from workbench.traces.masking.policy import MaskingPolicy, MaskType
from workbench.traces.masking.secret_values import SIGN_WORDS, SIGNS_IN_RUNS, find_secrets, is_secret_field, is_secret_name

_SIX_DIGITS = re.compile(r"[0-9](?:[ .()\-]{0,2}+[0-9]){5}")
_LETTERS_AND_DIGITS = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{3,6}[0-9L-V]{2}[A-Za-z0-9]{5,11}(?![A-Za-z0-9])")
"""Ids with fewer than six digits in a row: an Italian codice fiscale, an Indian PAN."""
_ODD = re.compile(
    "[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\uff10-\uff19\uff20\uff0b\u00a0\u2007\u2009\u202f\u2010-\u2013]"
)
_PLAIN = {
    **{first + digit: str(digit) for first in (0x660, 0x6F0, 0x966, 0x9E6, 0xFF10) for digit in range(10)},
    **dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F), " "),
    **dict.fromkeys(range(0x2010, 0x2014), "-"),
    0xFF20: "@", 0xFF0B: "+",
}  # fmt: skip
_ODD_BYTES = tuple(bytes([first]) for first in (0xC2, 0xD9, 0xDB, 0xE0, 0xE2, 0xEF))
"""First bytes, in UTF-8, of what `_ODD` looks for; finding a byte takes no time, finding characters does."""
_SEPARATORS = b" .()-"
_TO_DIGITS = bytes(ord("0") if chr(byte).isdigit() and byte < 128 else ord("x") for byte in range(256))
_TO_RUNS = bytes(ord("x") if byte < 128 and (chr(byte).isalnum() or chr(byte) in "_-") else ord(" ") for byte in range(256))
_TO_WORDS = bytes(byte if byte >= 128 else ord(chr(byte).lower()) if chr(byte).isalnum() else ord(" ") for byte in range(256))
_LONG_RUN = b"x" * 18
_AT = re.compile(r"@|%40")
_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]")
_LABELS = r"(?:[^\W_](?:[\w-]{0,62}+)\.){1,8}"
_TOP = r"(?:xn--[a-z0-9-]{2,59}+|[^\W\d_]{2,24}+)"
_DOMAIN = re.compile(rf"(?i){_LABELS}+{_TOP}(?![\w-]|\.[^\W_])|{_LABELS}{_TOP}(?!\w)")
_FILES = frozenset(
    {"png", "jpg", "jpeg", "gif", "webp", "svg", "js", "mjs", "ts", "css", "py", "json", "html", "md", "yaml", "sql"}
)
_ESCAPE = re.compile(r"u[0-9a-fA-F]{4}|[nrtbf]")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,40}+")

_ORDER = (
    MaskType.SECRET, MaskType.EMAIL, MaskType.TERM, MaskType.IBAN, MaskType.CARD, MaskType.ID, MaskType.PHONE,
)  # fmt: skip
"""Where two detectors claim the same characters, the first of these has them."""
_NUMBERS = (MaskType.IBAN, MaskType.CARD, MaskType.ID, MaskType.PHONE)


@dataclass(frozen=True, slots=True)
class Hit:
    """Something to mask."""

    start: int
    end: int
    kind: str
    value: str
    """In one spelling, so that two ways of writing the same number are one value."""


_NUMBER, _SECRET, _EMAIL, _TERM, _ODD_ONES = 1, 2, 4, 8, 16
"""Signs of what a text may hold, as bits; the last one is of digits in other scripts."""


class Detectors:
    """The detectors that a policy turns on."""

    def __init__(self, policy: MaskingPolicy) -> None:
        self.policy = policy
        self._types = frozenset(policy.types)
        self._term_words = frozenset(
            form.casefold().encode().translate(_TO_WORDS).split()[0]
            for term in (policy.terms if "TERM" in self._types else ())
            for form in _spellings(term)
        )
        self._letters_first = bool({"in", "it"} & set(policy.id_countries)) and "ID" in self._types
        self._numbers = bool(self._types & {"PHONE", "CARD", "IBAN", "ID"})
        self._quick = _quick_pattern(self._term_words, self._letters_first)

    @property
    def looks_for_terms(self) -> bool:
        return bool(self._term_words)

    @cached_property
    def _terms(self) -> re.Pattern[str]:
        longest_first = sorted({form for term in self.policy.terms for form in _spellings(term)}, key=len, reverse=True)
        words = "|".join(re.escape(term).replace(r"\ ", r"\s+") for term in longest_first)
        return re.compile(rf"(?i)(?<!\w)(?:{words})(?!\w)")

    def signs(self, text: str) -> int:
        """Signs that a closer look is worth it; 0 means that there is nothing to find."""
        try:
            if not self._quick.search(text):
                return 0
        except UnicodeEncodeError:  # half a surrogate pair
            pass
        data = text.encode("utf-8", "replace")
        found = _EMAIL if "@" in text or "%40" in text else 0
        if not text.isascii() and any(byte in data for byte in _ODD_BYTES) and _ODD.search(text):
            found |= _ODD_ONES | _NUMBER | _EMAIL
        six_digits = self._numbers and b"000000" in data.translate(_TO_DIGITS, _SEPARATORS)
        if (six_digits and self._has_number(text)) or (self._letters_first and _LETTERS_AND_DIGITS.search(text)):
            found |= _NUMBER
        if self._term_words and not text.isascii():
            data = text.casefold().encode("utf-8", "replace")
        words = data.translate(_TO_WORDS).split()
        if "SECRET" in self._types and (
            not SIGN_WORDS.isdisjoint(words)
            or (found & _EMAIL and "://" in text)
            or (_LONG_RUN in data.translate(_TO_RUNS) and any(sign in text for sign in SIGNS_IN_RUNS))
        ):
            found |= _SECRET
        if self._term_words and not self._term_words.isdisjoint(words):
            found |= _TERM
        return found

    def _has_number(self, text: str) -> bool:
        """Whether six digits stand together that are not in the middle of a word, such as a hash."""
        for match in _SIX_DIGITS.finditer(text):
            start = match.start()
            while start and text[start - 1].isalpha() and match.start() - start < 7:
                start -= 1
            if starts_well(text, start):
                return True
        return False

    def find(self, text: str, context: str = "", *, numbers: bool = True, signs: int | None = None) -> list[Hit]:
        """What is to be masked, in order, without overlaps.

        Args:
            context: what the text is called, such as the name of its field, in words.
            numbers: whether to look for cards, accounts, ids and phones; not in fields that hold numbers of their own.
            signs: of the text, when they are known.
        """
        if context and "SECRET" in self._types and is_secret_field(context.rstrip(": "), text):
            return [Hit(0, len(text), MaskType.SECRET.value, text)]
        signs = self.signs(text) if signs is None else signs
        if not signs:
            return []
        plain = text.translate(_PLAIN) if signs & _ODD_ONES else text
        by_kind: dict[str, list[Hit]] = {}
        for hit in self._candidates(plain, context, signs if numbers else signs & ~_NUMBER):
            by_kind.setdefault(hit.kind, []).append(hit)
        if not by_kind:
            return []
        found: list[Hit] = []
        for kind in _ORDER:
            found = sorted([*found, *_apart(plain, by_kind.get(kind, []), found)], key=lambda hit: hit.start)
        return found

    def _candidates(self, text: str, context: str, signs: int) -> Iterator[Hit]:
        types = self._types
        if signs & _SECRET:
            yield from (Hit(start, end, MaskType.SECRET.value, value) for start, end, value in find_secrets(text))
        if signs & _EMAIL and "EMAIL" in types:
            yield from _emails(text)
        if signs & _TERM:
            for match in self._terms.finditer(text):
                value = unicodedata.normalize("NFC", " ".join(match[0].casefold().split()))
                yield Hit(match.start(), match.end(), MaskType.TERM.value, value)
        if not signs & _NUMBER:
            return
        if "IBAN" in types:
            yield from _ibans(text)
        if "ID" in types and self.policy.id_countries:
            for start, end, value in find_ids(text, self.policy.id_countries, context):
                yield Hit(start, end, MaskType.ID.value, value)
        cards, phones = "CARD" in types, "PHONE" in types
        if cards or phones:
            regions = self.policy.phone_regions
            for start, end, kind, value in find_numbers(text, regions, cards=cards, phones=phones, context=context):
                yield Hit(start, end, kind, value)

    def find_in_number(self, number: int, context: str = "") -> str | None:
        """The type that a bare number is of: a card by itself, a phone or an id where its field says so."""
        if number < 1_000_000:
            return None
        digits = str(number)
        if "CARD" in self._types and 12 <= len(digits) <= 19 and is_card(digits):
            hits = self.find(digits, context)
            return hits[0].kind if hits else None
        if len(digits) <= 15 and self.names_personal_number(context):
            hits = self.find(digits, context)
            return hits[0].kind if hits and (hits[0].start, hits[0].end) == (0, len(digits)) else None
        return None

    def names_personal_number(self, context: str) -> bool:
        """Whether a field of this name may hold a phone number or a national id as a number."""
        return bool(context) and _names_personal(context)

    def names_secret(self, context: str) -> bool:
        """Whether the whole value of a field of this name is a secret."""
        return "SECRET" in self._types and is_secret_name(context.rstrip(": "))


def _quick_pattern(term_words: frozenset[bytes], letters_first: bool) -> Any:
    """Matches every text that `signs` could find something in, and few others.

    RE2 asks for all of it in one pass: an eighth of the time that the questions one by one take.
    """
    words = "|".join(re.escape(word.decode()) for word in sorted(SIGN_WORDS | term_words))
    parts = [
        "@", "%40", _SIX_DIGITS.pattern.replace("}+", "}"), _ODD.pattern, rf"(?:^|[^a-z0-9])(?:{words})(?:[^a-z0-9]|$)",
        rf"(?-i:{'|'.join(SIGNS_IN_RUNS)})",
        *([r"[A-Za-z]{3,6}[0-9L-V]{2}[A-Za-z0-9]{5,11}"] if letters_first else []),
    ]  # fmt: skip
    return re2.compile("(?i)" + "|".join(parts))


@lru_cache(maxsize=8192)
def _names_personal(context: str) -> bool:
    return says_phone("", 0, context) or _ID_NAMES.search(context) is not None


_ID_NAMES = re.compile(r"(?<!\w)(?:ssn|dni|nie|cpf|nif|bsn|pesel|cccd|cmnd|aadhaar|national id|personnummer|identity)(?!\w)")


@lru_cache(maxsize=8192)
def context_of(name: str) -> str:
    """The name of a field in words, as what stands before its value: `userPhone_number` → `user phone number: `."""
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name[:200])
    words = re.sub(r"[\W_]+", " ", split).strip().lower()
    return f"{words}: " if words else ""


@lru_cache(maxsize=64)
def detectors_of(policy: MaskingPolicy) -> Detectors:
    """The detectors of a policy, made once."""
    return Detectors(policy)


def _spellings(term: str) -> set[str]:
    return {unicodedata.normalize(form, term) for form in ("NFC", "NFD")}


def _apart(text: str, hits: Sequence[Hit], taken: Sequence[Hit]) -> list[Hit]:
    """What of these overlaps neither each other nor what is taken (sorted); of two, the one that begins first, then the longer.

    A number that lies partly under a taken hit keeps its rest: no part of one stays readable.
    """
    kept: list[Hit] = []
    end = -1
    for hit in sorted(hits, key=lambda one: (one.start, -one.end)):
        if hit.start < end or hit.end <= hit.start:
            continue
        end = hit.end
        over = [other for other in taken if other.end > hit.start and other.start < hit.end]
        if not over:
            kept.append(hit)
        elif hit.kind in _NUMBERS:
            position = hit.start
            for other in over:
                kept += _rest(text, hit, position, other.start)
                position = other.end
            kept += _rest(text, hit, position, hit.end)
    return kept


def _rest(text: str, hit: Hit, start: int, end: int) -> list[Hit]:
    while start < end and not text[start].isalnum():
        start += 1
    while start < end and not text[end - 1].isalnum():
        end -= 1
    return [replace(hit, start=start, end=end)] if start < end else []


def _emails(text: str) -> Iterator[Hit]:
    floor = 0
    for at in _AT.finditer(text):
        domain = _DOMAIN.match(text, at.end())
        if domain is None or domain[0].rpartition(".")[2].lower() in _FILES:
            continue
        start = at.start()
        lowest = max(floor, start - 64)
        while start > lowest and _LOCAL.match(text[start - 1]):
            start -= 1
        if start and text[start - 1] == "\\" and (escape := _ESCAPE.match(text, start)):
            start = escape.end()  # JSON text that was cut, and so is read as plain text
        while start < at.start() and not (text[start].isalnum() or text[start] in "_+"):
            start += 1
        if "/" in text[start : at.start()]:
            start += text[start : at.start()].rindex("/") + 1
        if "=" in text[start : at.start()]:
            start += text[start : at.start()].rindex("=") + 1
        local = text[start : at.start()]
        if not local or local.lower() == "git":
            continue
        floor = domain.end()
        yield Hit(start, domain.end(), MaskType.EMAIL.value, f"{local}@{domain[0]}".lower())


def _ibans(text: str) -> Iterator[Hit]:
    position = 0
    while match := _IBAN.search(text, position):
        found, start = match[0], match.start()
        position = start + 4
        ends = [number for number in range(len(found), 14, -1) if _is_end(text, start + number)]
        for number in ends[:30]:
            compact = found[:number].replace(" ", "").replace("-", "").upper()
            if 15 <= len(compact) <= 34 and iban.is_valid(compact, check_country=False):
                position = start + number
                yield Hit(start, position, MaskType.IBAN.value, compact)
                break


def _is_end(text: str, at: int) -> bool:
    return text[at - 1].isalnum() and not text[at : at + 1].isalnum()


Replacer = Callable[[str, str, str], str]
"""From kind, value in one spelling and the text as written to what stands in its place."""


def replaced(text: str, hits: Sequence[Hit], replacer: Replacer) -> str:
    """The text with every hit replaced."""
    parts, position = [], 0
    for hit in hits:
        parts += [text[position : hit.start], replacer(hit.kind, hit.value, text[hit.start : hit.end])]
        position = hit.end
    return "".join([*parts, text[position:]])
