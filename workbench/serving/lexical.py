"""Ranking entries by their words, for what embeddings blur: product names, codes, terms, and languages they know less well."""

import heapq
import math
import re
import unicodedata
from collections import Counter, defaultdict

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_K1, _B = 1.2, 0.75
_FOLDED = {"đ": "d", "ð": "d", "ø": "o", "ł": "l", "ß": "ss"}
_TITLE_WEIGHT = 3
_COMMON = """
a an and are at be by can could did do does for from had has have how i if in is it its me my of on or our so that the their
there they this to was we were what when where which who why will with would you your
al como con cual cuando de del donde el ella en es esta este esto ha hay la las le lo los me mi mis no o para pero por puedo
que quien se si sin son su sus tengo un una y ya yo
ai anh bao cac cai cho co cua da duoc em gi hay khi khong la lam minh mot nao nay neu nhu nhung o sao se the thi toi tu va ve
voi
"""
STOP_WORDS = frozenset(_COMMON.split())
"""The commonest words of the three languages of most questions, folded; they tell no entry from another."""


def terms(text: str) -> list[str]:
    """The words of a text without case, accents and a plain plural s."""
    plain = "".join(_FOLDED.get(character, character) for character in text.casefold())
    plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return [_stem(word) for word in _WORD.findall(plain) if word not in STOP_WORDS]


class LexicalIndex:
    """An inverted index that follows the corpus: adding or removing an entry costs its own length, not the corpus's.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), with k1 1.2 and b 0.75.
    """

    def __init__(self) -> None:
        self._postings: dict[str, dict[str, int]] = defaultdict(dict)
        self._terms: dict[str, Counter[str]] = {}
        self._length = 0

    def __len__(self) -> int:
        return len(self._terms)

    def __contains__(self, document_id: str) -> bool:
        return document_id in self._terms

    def add(self, document_id: str, title: str, text: str) -> None:
        """Put in a document; its title weighs three times."""
        counted = Counter(terms(title) * _TITLE_WEIGHT + terms(text))
        self.remove(document_id)
        self._terms[document_id] = counted
        self._length += counted.total()
        for term, count in counted.items():
            self._postings[term][document_id] = count

    def remove(self, document_id: str) -> None:
        """Take a document out, if it is in."""
        counted = self._terms.pop(document_id, None)
        for term in counted or ():
            del self._postings[term][document_id]
            if not self._postings[term]:
                del self._postings[term]
        self._length -= counted.total() if counted else 0

    def rank(self, query: str, limit: int) -> list[tuple[str, float]]:
        """(document id, BM25 score) of the best documents that share a word with the query, best first."""
        if not self._terms:
            return []
        average = max(self._length / len(self._terms), 1.0)
        scores: dict[str, float] = defaultdict(float)
        for term in set(terms(query)):
            weight = self._weight(term)
            for document_id, count in self._postings.get(term, {}).items():
                length = self._terms[document_id].total() / average
                scores[document_id] += weight * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * length))
        return heapq.nsmallest(limit, scores.items(), key=lambda item: (-item[1], item[0]))

    def coverage(self, query: str, document_id: str) -> float:
        """Share of the query's words, weighted by how rare they are, that the document has; from 0 to 1."""
        asked = set(terms(query))
        total = sum(self._weight(term) for term in asked)
        found = self._terms.get(document_id, Counter())
        return sum(self._weight(term) for term in asked if term in found) / total if total else 0.0

    def _weight(self, term: str) -> float:
        present = len(self._postings.get(term, ()))
        return math.log(1 + (len(self._terms) - present + 0.5) / (present + 0.5))


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
