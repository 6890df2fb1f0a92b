"""National ids: how each country writes them, and the check that tells one from any other number.

The checks are `python-stdnum`'s. A form that is only digits, with a single check digit, also needs a word beside it that says
what it is: one in ten order numbers would pass otherwise.
"""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

_ANY = r"id|ids|identity|identification|identidad|identificación|documento|document|passport|tax"


@dataclass(frozen=True)
class IdForm:
    """One kind of national id."""

    country: str
    """Two lower-case letters."""
    module: str
    """Of `stdnum`, which checks the number; empty: the form alone is strong."""
    pattern: str
    words: str = ""
    """What must stand within a few words before it; empty: the number speaks for itself."""


FORMS: tuple[IdForm, ...] = (
    IdForm("es", "es.dni", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}[ -]?[A-Za-z]"),
    IdForm("es", "es.nie", r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]"),
    IdForm("us", "us.ssn", r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}"),
    IdForm("us", "us.ssn", r"[0-9]{9}", r"ssn|social security"),
    IdForm("us", "us.itin", r"9[0-9]{2}[- ][0-9]{2}[- ][0-9]{4}"),
    IdForm("gb", "", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"),
    IdForm("gb", "gb.nhs", r"[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{4}", r"nhs"),
    IdForm("de", "de.idnr", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}", r"steuer\w*|idnr|id-nr|tin|tax"),
    IdForm("fr", "fr.nir", r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9][0-9AB] ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"),
    IdForm(
        "it", "it.codicefiscale", r"[A-Za-z]{6}[0-9LMNPQRSTUV]{2}[A-Za-z][0-9LMNPQRSTUV]{2}[A-Za-z][0-9LMNPQRSTUV]{3}[A-Za-z]"
    ),
    IdForm("pt", "pt.nif", r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}", r"nif|contribuinte|fiscal"),
    IdForm("br", "br.cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    IdForm("br", "br.cpf", r"[0-9]{11}", rf"cpf|{_ANY}"),
    IdForm("mx", "mx.curp", r"[A-Za-z]{4}[0-9]{6}[HMhm][A-Za-z]{5}[A-Za-z0-9][0-9]"),
    IdForm("vn", "", r"0[0-9]{2}[0-3][0-9]{8}", rf"cccd|cmnd|cmtnd|căn cước(?: công dân)?|chứng minh|định danh|{_ANY}"),
    IdForm("vn", "", r"[0-9]{9}", r"cmnd|cmtnd|chứng minh(?: nhân dân)?"),
    IdForm("vn", "vn.mst", r"[0-9]{10}(?:-?[0-9]{3})?", r"mst|mã số thuế"),
    IdForm("nl", "nl.bsn", r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}", r"bsn|burgerservicenummer|sofi"),
    IdForm("be", "be.nn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"),
    IdForm("pl", "pl.pesel", r"[0-9]{11}", r"pesel"),
    IdForm("se", "se.personnummer", r"(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}"),
    IdForm("fi", "fi.hetu", r"[0-9]{6}[-+A][0-9]{3}[0-9A-Ya-y]"),
    IdForm("no", "no.fodselsnummer", r"[0-9]{6} ?[0-9]{5}", r"fødselsnummer|fodselsnummer|personnummer"),
    IdForm("dk", "dk.cpr", r"[0-9]{6}-[0-9]{4}", r"cpr|personnummer"),
    IdForm("ie", "ie.pps", r"[0-9]{7}[A-Wa-w][A-IWa-iw]?"),
    IdForm("in", "in_.aadhaar", r"[2-9][0-9]{3} [0-9]{4} [0-9]{4}"),
    IdForm("in", "in_.aadhaar", r"[2-9][0-9]{11}", r"aadhaar|uid|आधार"),
    IdForm("in", "in_.pan", r"[A-Z]{3}[ABCFGHLJPT][A-Z][0-9]{4}[A-Z]"),
    IdForm("cn", "cn.ric", r"[1-9][0-9]{16}[0-9Xx]"),
    IdForm("kr", "kr.rrn", r"[0-9]{6}-[0-9]{7}"),
    IdForm("tr", "tr.tckimlik", r"[1-9][0-9]{10}", r"kimlik|tckn|tc no"),
    IdForm("za", "za.idnr", r"[0-9]{13}", rf"{_ANY}"),
    IdForm("cl", "cl.rut", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]"),
    IdForm("ar", "ar.dni", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}", r"dni|documento"),
)

COUNTRIES: dict[str, str] = {
    "ar": "Argentina", "be": "Belgium", "br": "Brazil", "cl": "Chile", "cn": "China", "de": "Germany", "dk": "Denmark",
    "es": "Spain", "fi": "Finland", "fr": "France", "gb": "United Kingdom", "ie": "Ireland", "in": "India", "it": "Italy",
    "kr": "South Korea", "mx": "Mexico", "nl": "Netherlands", "no": "Norway", "pl": "Poland", "pt": "Portugal",
    "se": "Sweden", "tr": "Türkiye", "us": "United States", "vn": "Vietnam", "za": "South Africa",
}  # fmt: skip
"""Countries whose ids are known."""

_TWO_DIGITS = re.compile(r"[0-9][ .-]?[0-9][0-9 .-]*+")
_NEAR = 24
"""Characters beside digits that may belong to the same id."""
_BEFORE = 60
"""Characters before a number in which a word may say what it is."""


def find_ids(text: str, countries: tuple[str, ...], context: str = "") -> Iterator[tuple[int, int, str]]:
    """Where national ids stand: start, end, and the id without separators.

    Args:
        context: what the text is called, such as the name of its field.
    """
    pieces = _around_digits(text)
    for form, pattern, words in _compiled(countries):
        for first, last in pieces:
            for match in pattern.finditer(text, first, last):
                if words is not None and not words.search(_before(text, match.start(), context)):
                    continue
                if match.end() == last < len(text):
                    continue  # the piece ends here, and the number perhaps does not
                if not form.module or _check(form.module).is_valid(match[0]):
                    yield match.start(), match.end(), re.sub(r"[^0-9A-Za-z]", "", match[0]).upper()


def _around_digits(text: str) -> list[tuple[int, int]]:
    """The pieces of a text in which an id can be: where two digits are, and what is near."""
    pieces: list[tuple[int, int]] = []
    position = 0
    while match := _TWO_DIGITS.search(text, position):
        first, last = max(0, match.start() - _NEAR), min(len(text), match.end() + _NEAR)
        if pieces and first <= pieces[-1][1]:
            pieces[-1] = (pieces[-1][0], last)
        else:
            pieces.append((first, last))
        position = match.end()
    return pieces


def _before(text: str, start: int, context: str) -> str:
    left = text[max(0, start - _BEFORE) : start]
    return (context + left)[-_BEFORE:] if start < _BEFORE else left


@lru_cache(maxsize=256)
def _compiled(countries: tuple[str, ...]) -> list[tuple[IdForm, re.Pattern[str], re.Pattern[str] | None]]:
    # Not within a longer word or number, nor a piece of one that dashes or dots hold together, be the rest a placeholder;
    # nor the decimals behind a lone 0, which hold no letter.
    return [
        (
            form,
            re.compile(
                rf"(?<![\w./+-])(?:(?<!\b0,)|(?=[0-9]*[A-Za-z]))(?:{form.pattern})(?![\w/]|[-.](?:\w|<[A-Z]{{2,6}}_[0-9a-f]))"
            ),
            re.compile(rf"(?i)(?<![^\W_])(?:{form.words})(?![^\W_])") if form.words else None,
        )
        for form in FORMS
        if form.country in countries
    ]


@cache
def _check(module: str) -> Any:
    return importlib.import_module(f"stdnum.{module}")
