"""Personal data in an answer: found by form, masked unless the evidence itself says it."""

import re

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{2,63})+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_DIGITS = re.compile(r"(?<![\w.,])\+?\(?\d(?:[ ().-]{0,2}\d){6,18}(?![\w])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4}")


def mask(text: str, known: str = "") -> tuple[str, list[str]]:
    """The text with personal data replaced by `[email]`, `[account]`, `[card]`, `[number]`; and the kinds found, sorted.

    Args:
        known: the evidence. What it says, such as the telephone number of the service itself, is no personal data.
    """
    allowed = _digits(known)
    kinds: set[str] = set()

    def replace(kind: str, match: re.Match[str]) -> str:
        found = match[0]
        if found in known or (kind == "number" and (_DATE.fullmatch(found) or _digits(found) in allowed)):
            return found
        digits = _digits(found)
        name = "card" if kind == "number" and 13 <= len(digits) <= 19 and _luhn(digits) else kind
        kinds.add(name)
        return f"[{name}]"

    for kind, pattern in (("email", _EMAIL), ("account", _IBAN), ("number", _DIGITS)):
        text = pattern.sub(lambda match, kind=kind: replace(kind, match), text)  # type: ignore[misc]
    return text, sorted(kinds)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _luhn(digits: str) -> bool:
    """Whether the check digit of a card number holds (ISO/IEC 7812-1)."""
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
