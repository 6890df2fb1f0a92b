"""Masking text that is still being written: what may turn out to be personal data is held back until it is clear."""

import re
from typing import Protocol

_RISKY = re.compile(r"[\d@+]|-----|[A-Z]{2}\s*$")
_TO_FOLLOW = 2
"""Words behind a risky one that must be there: letters may be the middle of an account number, or say what a number is."""
_BEFORE = 400
"""Characters already sent that still tell what follows them."""


class Mask(Protocol):
    """Masks a text, given what was said right before it."""

    def __call__(self, text: str, before: str) -> str: ...


class Masked:
    """Takes pieces of text, gives back pieces that are safe to send."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = ""
        self._sent = ""
        """The end of what was sent, as the model wrote it."""
        self._begun = False

    def add(self, piece: str) -> str:
        """The text that can be sent now: whole words, as long as no digit or at sign is among the last of them."""
        self._held += piece
        if not self._begun:
            self._held = self._held.lstrip()
            self._begun = bool(self._held)
        words = list(re.finditer(r"\S+\s+", self._held))  # the last word may still grow
        while words and any(_RISKY.search(word[0]) for word in words[-_TO_FOLLOW:]):
            words.pop()
        return self._send(words[-1].end()) if words else ""

    def finish(self) -> str:
        """What is left at the end."""
        return self._send(len(self._held))

    def _send(self, end: int) -> str:
        ready, self._held = self._held[:end], self._held[end:]
        before, self._sent = self._sent, (self._sent + ready)[-_BEFORE:]
        return self._mask(ready, before)
