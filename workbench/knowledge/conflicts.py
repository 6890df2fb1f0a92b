"""Entries that may contradict each other: alike titles, and different numbers for the same thing.

A plain check that a person judges: it compares words, not meaning. It finds what an editor most often overlooks, the second
entry about the same fact.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from workbench.knowledge.models import KnowledgeEntryVersion

ALIKE = 0.75
"""Share of common words of two titles from which they count as alike (Jaccard)."""

_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
_NUMBER = re.compile(r"(?P<money>[$€£])?\s?(?P<value>\d+(?:[.,]\d+)*)\s?(?P<unit>%|[^\W\d_]+)?")
_SKIPPED_TEXT = "a an and are for how in is my of on the to what with el la los las de en un una y para que qué cómo là và"
_SKIPPED = frozenset(re.findall(r"\w+", _SKIPPED_TEXT))
_UNITS = {
    "percent": "%",
    "days": "day",
    "weeks": "week",
    "months": "month",
    "years": "year",
    "hours": "hour",
    "minutes": "minute",
    "payments": "payment",
    "instalments": "instalment",
    "días": "día",
    "meses": "mes",
    "años": "año",
}


@dataclass(frozen=True)
class ConflictNote:
    """Two entries a person should look at together."""

    first: KnowledgeEntryVersion
    second: KnowledgeEntryVersion
    kind: str
    """`alike`: nearly the same title. `numbers`: nearly the same title and different numbers of one unit."""
    detail: str


def find_conflicts(versions: Iterable[KnowledgeEntryVersion], only: KnowledgeEntryVersion | None = None) -> list[ConflictNote]:
    """Pairs of versions with alike titles in the same language, contradicting numbers first.

    Args:
        versions: at most one version of each entry.
        only: look only for what conflicts with this one, which may be unsaved.
    """
    pool = [version for version in versions if only is None or version.key != only.key]
    words = {id(version): title_words(version.title) for version in [*pool, *([only] if only else [])]}
    by_word: dict[tuple[str, str], list[KnowledgeEntryVersion]] = defaultdict(list)
    for version in pool:
        for word in words[id(version)]:
            by_word[version.language, word].append(version)
    notes: list[ConflictNote] = []
    seen: set[tuple[str, str]] = set()
    for version in [only] if only else pool:
        near = {id(o): o for word in words[id(version)] for o in by_word[version.language, word]}
        for other in near.values():
            pair = (min(version.key, other.key), max(version.key, other.key))
            if other.key == version.key or pair in seen:
                continue
            mine, theirs = words[id(version)], words[id(other)]
            if len(mine & theirs) / len(mine | theirs) >= ALIKE:
                seen.add(pair)
                notes.append(_note(version, other))
    return sorted(notes, key=lambda note: (note.kind != "numbers", note.first.key, note.second.key))


def title_words(title: str) -> frozenset[str]:
    """The words of a title that tell entries apart."""
    found = {word.casefold() for word in _WORD.findall(title)}
    return frozenset(found - _SKIPPED or found)


def numbers_by_unit(text: str) -> dict[str, set[str]]:
    """The numbers of a text by unit: {"%": {"3.5"}, "day": {"30"}, "$": {"25"}}. Numbers without a unit are left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for match in _NUMBER.finditer(text.casefold()):
        unit = match["money"] or match["unit"]
        if unit:
            value = match["value"].rstrip("0").rstrip(".") if "." in match["value"] else match["value"]
            found[_UNITS.get(unit, unit)].add(value)
    return dict(found)


def _note(first: KnowledgeEntryVersion, second: KnowledgeEntryVersion) -> ConflictNote:
    mine, theirs = numbers_by_unit(first.text), numbers_by_unit(second.text)
    differing = [
        f"{'/'.join(sorted(mine[unit]))} and {'/'.join(sorted(theirs[unit]))} {unit}"
        for unit in sorted(mine.keys() & theirs.keys())
        if mine[unit].isdisjoint(theirs[unit])
    ]
    if differing:
        return ConflictNote(first, second, "numbers", "They give different numbers: " + "; ".join(differing) + ".")
    return ConflictNote(first, second, "alike", "Their titles are nearly the same.")
