"""Sentences of an entry as spans: the one that answers a question, and the one that a citation rests on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.knowledge.models import KnowledgeEntryVersion
from workbench.serving.lexical import terms
from workbench.serving.ports import Runtime

_SENTENCE = re.compile(r"\S.*?(?:[.!?…。！？]+[\"'”’»)\]]*(?=\s|$)|(?=\n)|$)", re.DOTALL)
_NEIGHBOUR = 0.6
"""A sentence beside the best one comes along when its score is at least this share of the best."""
_WORDS_WEIGHT = 0.25


@dataclass(frozen=True)
class Span:
    """A stretch of a version's text."""

    version: KnowledgeEntryVersion
    start: int
    end: int
    """Character offsets in the version's text, the end not included."""

    @property
    def text(self) -> str:
        return self.version.text[self.start : self.end]


def sentence_bounds(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence; a line break ends a sentence, a dot inside a number does not."""
    return [
        (line.start() + match.start(), line.start() + match.end())
        for line in re.finditer(r"[^\n]+", text)
        for match in _SENTENCE.finditer(line[0].rstrip())
    ]


def sentence_spans(version: KnowledgeEntryVersion) -> list[Span]:
    """The sentences of a version, at least one."""
    return [Span(version, *bounds) for bounds in sentence_bounds(version.text) or [(0, len(version.text))]]


def answer_span(
    runtime: Runtime, question: str, versions: Sequence[tuple[KnowledgeEntryVersion, float]], max_sentences: int
) -> Span:
    """The span that answers the question best: one sentence, and a neighbour that answers nearly as well.

    Args:
        versions: (version, weight) of the passages, at least one; the weight lifts better passages.
        max_sentences: 1 keeps to a single sentence.

    Raises:
        Unavailable: the runtime does not embed.
    """
    groups = [(sentence_spans(version), weight) for version, weight in versions]
    texts = [f"{span.version.title}. {span.text}" for spans, _ in groups for span in spans]
    vectors = runtime.embed([question, *texts])
    asked = vectors[0]
    scores: list[float] = []
    weights = [weight for spans, weight in groups for _ in spans]
    for text, vector, weight in zip(texts, vectors[1:], weights, strict=True):
        cosine = sum(a * b for a, b in zip(asked, vector, strict=True))
        scores.append(cosine + _WORDS_WEIGHT * overlap(question, text) + weight)
    flat = [(group, index) for group, (spans, _) in enumerate(groups) for index in range(len(spans))]
    best = max(range(len(flat)), key=lambda position: scores[position])
    group, index = flat[best]
    spans = groups[group][0]
    first = last = index
    if max_sentences >= 2 and len(spans) > 1:
        beside = [(scores[best + step], index + step) for step in (-1, 1) if 0 <= index + step < len(spans)]
        score, neighbour = max(beside)
        if score >= _NEIGHBOUR * scores[best]:
            first, last = min(index, neighbour), max(index, neighbour)
    return Span(spans[0].version, spans[first].start, spans[last].end)


def supporting_span(version: KnowledgeEntryVersion, statement: str) -> Span:
    """The sentence of a version that shares most words with a statement that cites it."""
    return max(sentence_spans(version), key=lambda span: overlap(statement, span.text))


def overlap(question: str, text: str) -> float:
    """Share of the question's telling words that the text has; from 0 to 1."""
    asked = set(terms(question))
    return len(asked & set(terms(text))) / len(asked) if asked else 0.0
