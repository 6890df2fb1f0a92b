"""The quick look: whether anything in a span may have to be masked. Almost always not, so that this is what masking costs."""

from dataclasses import dataclass, field
from typing import Any

from workbench.traces.masking.detectors import Detectors, context_of
from workbench.traces.masking.names import names_secret, says_much

_WORD = 48
"""Characters of the longest id, as against a text."""


def is_worth_a_look(detectors: Detectors, *values: Any) -> bool:
    """Whether anything in these may have to be masked."""
    gathered = _Gathered(detectors)
    for value in values:
        if value:
            gathered.add(value, "")
    if gathered.special:
        return True
    # Words apart from texts: ids are full of digits, and what is looked for in them would be looked for in all.
    texts, words = "\n\x00\n".join(gathered.texts), "\n".join(gathered.words)
    # JSON text may spell letters as \u00f1: what it says is only seen once it is read.
    return "\\u" in texts or detectors.signs(words) != 0 or detectors.signs(texts) != 0


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
            if name and names_secret(name) and self.detectors.names_secret(context_of(name)):
                self.special = True
        elif kind is dict:
            for key, one in value.items():
                self.add(one, key)
                if self.detectors.looks_for_terms or says_much(key):
                    self.texts.append(key)
        elif kind is list:
            for one in value:
                self.add(one, name)
        elif (kind is int or kind is float) and value > 999_999:
            whole = kind is int or (value.is_integer() and value < 1e19)
            if whole and self.detectors.find_in_number(int(value), context_of(name)):
                self.special = True
