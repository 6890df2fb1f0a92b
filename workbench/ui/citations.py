"""Which stretches of a retrieved passage an answer rests on: as the trace says, else as the answer quotes, else the nearest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from workbench.serving.spans import overlap, sentence_bounds

_LONGEST = 20_000
"""Characters of a passage or an answer that are searched."""
_TELLING = 16
"""A sentence or quotation shorter than this stands in many texts by chance."""
_QUOTED = re.compile(r"“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»|「([^」]+)」|\"([^\"]+)\"")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Cited:
    """What an answer takes from a passage."""

    is_cited: bool = False
    spans: tuple[tuple[int, int], ...] = ()
    """(start, end) in the passage's text, in order and apart from each other."""
    how: str = ""
    """named: the trace says which stretch. quoted: the answer has it word for word. nearest: the sentence most like the
    sentence that cites the passage. Empty without spans."""


def cited_in(content: str, named: Any, answer: str, keys: Sequence[str]) -> Cited:
    """What an answer takes from a passage.

    Args:
        named: what the trace says: a stretch of text, (start, end), a list of either, true, or nothing.
        keys: names under which an answer may cite the passage in brackets: its key, its id, its number in the list.
    """
    content = content[:_LONGEST]
    if spans := _named(content, named):
        return Cited(True, _apart(spans), "named")
    quoted = _quoted(content, answer[:_LONGEST])
    if quoted:
        return Cited(True, _apart(quoted), "quoted")
    statements = _statements(answer[:_LONGEST], keys)
    if statements or named is True:
        found = [_nearest(content, statement) for statement in statements or [answer[:_LONGEST]]]
        spans = [span for span in found if span is not None]
        return Cited(True, _apart(spans), "nearest" if spans else "")
    return Cited(bool(named))


def pieces(content: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """The text cut at the spans' ends: every second piece is a span."""
    cuts = [0, *(end for span in spans for end in span), len(content)]
    return [content[start:end] for start, end in pairwise(cuts)]


def _named(content: str, named: Any) -> list[tuple[int, int]]:
    if isinstance(named, str):
        span = _find(content, named)
        return [span] if span else []
    if isinstance(named, dict):
        return _named(content, [named.get("start"), named.get("end")]) or _named(content, named.get("span") or "")
    if not isinstance(named, list):
        return []
    if len(named) == 2 and all(isinstance(end, int) and not isinstance(end, bool) for end in named):
        start, end = named
        return [(start, end)] if 0 <= start < end <= len(content) else []
    return [span for one in named[:50] for span in _named(content, one)]


def _quoted(content: str, answer: str) -> list[tuple[int, int]]:
    """Sentences of the passage that the answer repeats, and what the answer puts in quotation marks."""
    plain = _plain(answer)
    repeated = [
        (start, end)
        for start, end in sentence_bounds(content)
        if end - start >= _TELLING and _plain(content[start:end]).rstrip(".!?。！？") in plain
    ]
    marked = ["".join(groups) for groups in _QUOTED.findall(answer)]
    found = [_find(content, text) for text in marked[:50] if len(text) >= _TELLING]
    return repeated + [span for span in found if span is not None]


def _statements(answer: str, keys: Sequence[str]) -> list[str]:
    """The sentences of the answer that cite the passage by one of its names, in [ ] or 【 】."""
    names = [re.escape(key) for key in keys if key and len(key) <= 200]
    if not names:
        return []
    mark = re.compile(rf"[\[【]\s*(?:[^\]\[【】]*[,;]\s*)?(?:{'|'.join(names)})\s*(?:[,;†][^\]\[【】]*)?[\]】]", re.IGNORECASE)
    found = []
    sentences = sentence_bounds(answer)
    for match in mark.finditer(answer):
        before = [bounds for bounds in sentences if bounds[0] < match.start()]
        if not before:
            found.append(answer)
            continue
        start, end = before[-1]
        text = mark.sub("", answer[start:end])
        if len(text.strip(" .")) < _TELLING and len(before) > 1:  # the mark stands behind the full stop
            text = answer[before[-2][0] : before[-2][1]]
        found.append(text)
    return found[:20]


def _nearest(content: str, statement: str) -> tuple[int, int] | None:
    scored = [(overlap(statement, content[start:end]), -start, end) for start, end in sentence_bounds(content)]
    share, start, end = max(scored, default=(0.0, 0, 0))
    return (-start, end) if share > 0 else None


def _find(content: str, text: str) -> tuple[int, int] | None:
    text = text.strip()
    if not text:
        return None
    start = content.find(text)
    if start >= 0:
        return start, start + len(text)
    loose = re.compile(r"\s+".join(re.escape(word) for word in text.split()[:400]), re.IGNORECASE)
    match = loose.search(content)
    return match.span() if match else None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip().casefold()


def _apart(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The spans in order, overlapping ones as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
