"""Whether golden text has found its way into training text. What a model was trained on cannot test it.

Building a dataset version, launching a fine-tune and launching a comparison each ask `find_leaks`.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

RUN = 8
"""This many words in a row that both texts share count as a leak."""
SHORTEST = 5
"""A golden text of fewer than RUN words leaks when it appears whole. One of fewer words than this: only as a whole line."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Leak:
    """One training text that shares words with one golden text."""

    position: int
    """Index of the training text."""
    golden: int
    """Index of the golden text."""
    shared: str
    """The words they share."""


def words(text: str) -> list[str]:
    """Words in lower case without accents, so that spelling does not hide a copy."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


def find_leaks(texts: Iterable[str], golden: Sequence[str]) -> list[Leak]:
    """Training texts that hold a run of a golden text, at most one leak a training text.

    Args:
        texts: what a model is or would be trained on: texts, or prompts that hold a question.
        golden: texts and questions of golden cases, such as `queries.texts` returns.

    A text in a script without spaces between words is one word; it is found when it appears as a line.
    """
    runs: dict[tuple[str, ...], int] = {}
    whole: dict[tuple[str, ...], int] = {}
    lengths: set[int] = set()
    for index, text in enumerate(golden):
        found = words(text)
        if len(found) >= RUN:
            for start in range(len(found) - RUN + 1):
                runs.setdefault(tuple(found[start : start + RUN]), index)
            lengths.add(RUN)
        elif len(found) >= SHORTEST:
            runs.setdefault(tuple(found), index)
            lengths.add(len(found))
        elif found:
            whole.setdefault(tuple(found), index)
    leaks = []
    for position, text in enumerate(texts):
        leak = _leak_in_runs(position, words(text), runs, lengths) or _leak_in_lines(position, text, whole)
        if leak:
            leaks.append(leak)
    return leaks


def _leak_in_runs(position: int, found: list[str], runs: dict[tuple[str, ...], int], lengths: set[int]) -> Leak | None:
    for length in lengths:
        for start in range(len(found) - length + 1):
            run = tuple(found[start : start + length])
            if run in runs:
                return Leak(position, runs[run], " ".join(run))
    return None


def _leak_in_lines(position: int, text: str, whole: dict[tuple[str, ...], int]) -> Leak | None:
    if whole:
        for line in text.splitlines():
            # A prompt writes a question behind a name, such as "Question: …".
            for part in (line, line.partition(":")[2]):
                found = tuple(words(part))
                if found in whole:
                    return Leak(position, whole[found], " ".join(found))
    return None
