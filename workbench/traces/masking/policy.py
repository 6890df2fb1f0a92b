"""What a project masks in the texts that it takes in."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import phonenumbers

from workbench.core.errors import InvalidInput
from workbench.traces.masking.ids import COUNTRIES

MAX_TERMS = 500
MAX_TERM = 200


class MaskType(StrEnum):
    """Kinds of personal data and secrets; the value is what stands in the placeholder."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    CARD = "CARD"
    IBAN = "IBAN"
    ID = "ID"
    SECRET = "SECRET"  # noqa: S105
    TERM = "TERM"


class Originals(StrEnum):
    """What becomes of the text that a placeholder stands for."""

    NOT_KEPT = "not kept"
    KEPT = "kept encrypted"


IN_WORDS: dict[str, str] = {
    MaskType.EMAIL: "E-mail addresses",
    MaskType.PHONE: "Phone numbers",
    MaskType.CARD: "Payment cards",
    MaskType.IBAN: "Bank accounts (IBAN)",
    MaskType.ID: "National ids",
    MaskType.SECRET: "Secrets: passwords, keys, tokens",
    MaskType.TERM: "Terms of your own",
}

_OF_LANGUAGE: dict[str, tuple[str, ...]] = {
    "en": ("US", "GB"), "es": ("ES", "MX"), "vi": ("VN",), "de": ("DE",), "fr": ("FR",), "it": ("IT",), "pt": ("PT", "BR"),
    "nl": ("NL",), "pl": ("PL",), "sv": ("SE",), "fi": ("FI",), "da": ("DK",), "no": ("NO",), "tr": ("TR",), "ja": ("JP",),
    "zh": ("CN",), "ko": ("KR",), "hi": ("IN",), "ar": ("AE", "SA"), "id": ("ID",), "th": ("TH",),
}  # fmt: skip


@dataclass(frozen=True)
class MaskingPolicy:
    """The rules of one project at one moment. Immutable; a change makes the next version."""

    types: tuple[str, ...] = tuple(kind.value for kind in MaskType)
    phone_regions: tuple[str, ...] = ("US", "GB")
    """Regions whose national ways of writing a number are known; numbers with `+` are recognized everywhere."""
    id_countries: tuple[str, ...] = ("us", "gb")
    terms: tuple[str, ...] = ()
    """Words and names of the project's own, matched whole and in any case."""
    originals: str = Originals.NOT_KEPT.value
    version: int = 1

    @property
    def keeps_originals(self) -> bool:
        return self.originals == Originals.KEPT

    def as_json(self) -> dict[str, Any]:
        """The rules without the version."""
        value = {name: list(given) if isinstance(given, tuple) else given for name, given in asdict(self).items()}
        del value["version"]
        return value


def default_policy(languages: Iterable[str]) -> MaskingPolicy:
    """What a project masks before anybody has said otherwise: every type, for the places where its languages are spoken."""
    regions = list(dict.fromkeys(region for code in languages for region in _OF_LANGUAGE.get(code.lower()[:2], ())))
    regions = regions or ["US", "GB"]
    return MaskingPolicy(
        phone_regions=tuple(regions), id_countries=tuple(code.lower() for code in regions if code.lower() in COUNTRIES)
    )


def policy_from_json(rules: Mapping[str, Any], version: int) -> MaskingPolicy:
    """The inverse of `MaskingPolicy.as_json`."""
    known: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in rules.items()}
    return MaskingPolicy(**known, version=version)


def checked(policy: MaskingPolicy) -> MaskingPolicy:
    """The policy in order: nothing twice, nothing empty, upper and lower case as it must be.

    Raises:
        InvalidInput: an unknown type, region or country, or too many or too long terms.
    """
    types = [word.strip().upper() for word in policy.types]
    if unknown := sorted(set(types) - {kind.value for kind in MaskType}):
        raise InvalidInput(f"There is no mask type {unknown[0]!r}.", todo="Types are " + ", ".join(MaskType) + ".")
    regions = [word.strip().upper() for word in policy.phone_regions if word.strip()]
    if unknown := sorted(set(regions) - phonenumbers.SUPPORTED_REGIONS):
        raise InvalidInput(f"{unknown[0]!r} is no phone region.", todo="Use two-letter country codes, such as ES or VN.")
    countries = [word.strip().lower() for word in policy.id_countries if word.strip()]
    if unknown := sorted(set(countries) - COUNTRIES.keys()):
        raise InvalidInput(
            f"National ids of {unknown[0]!r} are not known.", todo="Countries are " + ", ".join(sorted(COUNTRIES)) + "."
        )
    terms = [" ".join(term.split()) for term in policy.terms if term.strip()]
    if short := [term for term in terms if sum(map(str.isalnum, term)) < 2]:
        raise InvalidInput(f"The term {short[0]!r} is too short.", why="It would mask parts of sentences everywhere.")
    if len(terms) > MAX_TERMS or any(len(term) > MAX_TERM for term in terms):
        raise InvalidInput(f"There can be {MAX_TERMS} terms of {MAX_TERM} characters each.")
    if policy.originals not in set(Originals):
        raise InvalidInput(f"{policy.originals!r} is unknown.", todo="Originals are `not kept` or `kept encrypted`.")
    once = {term.casefold(): term for term in reversed(terms)}
    return replace(
        policy,
        types=tuple(kind.value for kind in MaskType if kind.value in types),
        phone_regions=tuple(dict.fromkeys(regions)),
        id_countries=tuple(dict.fromkeys(countries)),
        terms=tuple(sorted(once.values(), key=str.casefold)),
        originals=str(policy.originals),
    )
