"""One form for texts that say the same: case, accents, numbers and currencies."""

import re
import unicodedata
from decimal import Decimal

_CITATION = re.compile(r"\[[^\[\]\n]{1,120}\]")
_NUMBER = re.compile(r"\d{1,3}(?:([.,'’ \u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)?")
_PERCENT = re.compile(r"%|\bper ?cent\b|\bpct\b|\bpor ciento\b|\bphan tram\b")
_CURRENCIES: dict[str, str] = {
    "eur": r"€|\beuros?\b|\beur\b",
    "usd": r"us\$|\$|\bus dollars?\b|\bdollars?\b|\bdolares\b|\bdolar\b|\busd\b|\bdo la my\b",
    "gbp": r"£|\bpounds?\b|\blibras?\b|\bgbp\b",
    "vnd": r"₫|\bvnd\b|\bdongs?\b|(?<=\d)\s*d\b",
}
_BEFORE = re.compile(r"\b(eur|usd|gbp|vnd) ?(\d+(?:\.\d+)?)")
_NEITHER = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.%]+")


def normalise(text: str) -> str:
    """The words of a text in one spelling, separated by single spaces.

    Lower case without accents; `1,234.50`, `1.234,50` and `1 234,5` become `1234.5`; `€2`, `2 euros` and `EUR 2` become
    `2 eur`; per cent becomes `%`. Citations in square brackets are left out: naming a source states nothing.

    A separator before exactly three digits is read as one of thousands, except behind a leading zero or before a per cent
    sign, where it is a decimal one.
    """
    plain = fold(_CITATION.sub(" ", text))
    plain = _PERCENT.sub(" % ", plain)
    plain = _NUMBER.sub(lambda match: f" {_number(match, plain)} ", plain)
    for name, pattern in _CURRENCIES.items():
        plain = re.sub(pattern, f" {name} ", plain)
    plain = " ".join(_NEITHER.sub(" ", plain).split())
    return _BEFORE.sub(r"\2 \1", plain)


def fold(text: str) -> str:
    """Lower case without accents."""
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace("đ", "d")


def states(text: str, wording: str) -> bool:
    """Whether a normalised text contains a wording, whole words only.

    Args:
        text: already normalised.
        wording: as a person wrote it.
    """
    wanted = normalise(wording)
    return bool(wanted) and f" {wanted} " in f" {text} "


def _number(match: re.Match[str], text: str) -> str:
    token, separator = match.group(0), match.group(1)
    percent = text[match.end() :].lstrip().startswith("%")
    if separator and not token.startswith("0") and not (percent and token.count(separator) == 1 and separator in ".,"):
        head, mark, tail = _split_decimals(token, separator)
        token = re.sub(r"\D", "", head) + (f".{tail}" if mark else "")
    else:
        token = re.sub(r"[ '’\u00a0\u202f]", "", token).replace(",", ".")
    return f"{Decimal(token).normalize():f}"


def _split_decimals(token: str, separator: str) -> tuple[str, str, str]:
    """The whole part, the decimal mark and the decimals of a number whose thousands have this separator."""
    for mark in ".,":
        if mark != separator and mark in token:
            return token.partition(mark)
    return token, "", ""
