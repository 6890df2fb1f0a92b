"""Masking text that is still being written: what may turn out to be personal data is held back until it is clear."""

import re
from collections.abc import Callable

_RISKY = re.compile(r"[\d@+]|[A-Z]{2}$")


class Masked:
    """Takes pieces of text, gives back pieces that are safe to send."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._held = ""
        self._begun = False

    def add(self, piece: str) -> str:
        """The text that can be sent now: whole words up to the last one that has no digit or at sign."""
        self._held += piece
        if not self._begun:
            self._held = self._held.lstrip()
            self._begun = bool(self._held)
        words = list(re.finditer(r"\S+\s+", self._held))  # the last word may still grow
        while words and _RISKY.search(words[-1][0]):
            words.pop()
        if not words:
            return ""
        end = words[-1].end()
        ready, self._held = self._held[:end], self._held[end:]
        return self._mask(ready)

    def finish(self) -> str:
        """What is left at the end."""
        ready, self._held = self._held, ""
        return self._mask(ready)
