"""Choosing the next token, and turning tokens into text that can be sent on at once."""

from collections.abc import Sequence
from typing import Any

import torch


def choose_token(logits: torch.Tensor, temperature: float, top_p: float, random: torch.Generator) -> int:
    """The next token of one row.

    Args:
        logits: (vocabulary,) float32.
        temperature: 0 or less takes the most likely token.
        top_p: sample among the most likely tokens whose probabilities add up to this (nucleus sampling).
        random: source of chance, on the CPU.

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration (2020), section 3.1.
    """
    if temperature <= 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.cpu() / temperature, dim=-1)
    if top_p < 1:
        ordered, tokens = probabilities.sort(descending=True)
        before = ordered.cumsum(0) - ordered
        ordered[before >= max(top_p, 1e-6)] = 0
        return int(tokens[torch.multinomial(ordered, 1, generator=random)])
    return int(torch.multinomial(probabilities, 1, generator=random))


class TextBuffer:
    """Text of one answer as its tokens come, cut before the first stop text.

    `add` returns only text that stays: half a character and what may begin a stop text are held back.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.text = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self._tokens: list[int] = []
        self._sent = 0

    def add(self, token: int) -> str:
        """Take one token; returns the text that can be sent on."""
        self._tokens.append(token)
        self.text = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        ends = [at for at in (self.text.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            self.text = self.text[: min(ends)]
            self.stopped = True
            return self.finish()
        return self._send(len(self.text) - self._held_back())

    def finish(self) -> str:
        """No token comes any more; returns the text not sent yet."""
        return self._send(len(self.text))

    def _send(self, end: int) -> str:
        piece = self.text[self._sent : end]
        self._sent = max(self._sent, end)
        return piece

    def _held_back(self) -> int:
        """How many characters at the end may still change."""
        whole = self.text.rstrip("\N{REPLACEMENT CHARACTER}")
        longest = 0
        for stop in self._stop:
            for size in range(1, len(stop)):
                if whole.endswith(stop[:size]):
                    longest = max(longest, size)
        return len(self.text) - len(whole) + longest
