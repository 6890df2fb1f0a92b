"""What a group of texts is about, in the texts' own words: the terms that set it apart from all the others."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_IDEOGRAPHS = "぀-ヿ㐀-䶿一-鿿가-힯豈-﫿"
_TOKEN = re.compile(rf"<[A-Z_]+_\w+>|[{_IDEOGRAPHS}]+|[^\W_{_IDEOGRAPHS}]+(?:[.'’-][^\W_{_IDEOGRAPHS}]+)*")
_RUN = re.compile(rf"[{_IDEOGRAPHS}]+")
_SHARE = 0.25
"""Of the group's texts that must have a term for it to name the group."""
_CONTRAST = 4.0
"""How much more often, text for text, the group has a term than the others do."""
_LONGEST = 40


def words_of(text: str) -> list[tuple[str, str]]:
    """The words of a text, each folded and as it was written; of Chinese, Japanese and Korean its overlapping pairs.

    What masking put in is no word of anybody.
    """
    found: list[tuple[str, str]] = []
    for token in _TOKEN.findall(unicodedata.normalize("NFKC", text)):
        if token.startswith("<"):
            continue
        if _RUN.fullmatch(token):
            pairs = [token[start : start + 2] for start in range(len(token) - 1)] or [token]
            found += [(pair, pair) for pair in pairs]
        elif 1 < len(token) <= _LONGEST:
            found.append((token.casefold(), token))
    return found


def name_groups(groups: Sequence[Sequence[str]], others: Sequence[Sequence[str]], *, terms: int = 4) -> list[list[str]]:
    """For each group the terms that set it apart, the most telling first, spelled as most of its texts do.

    Args:
        groups: the texts of each group.
        others: for each group what else was asked in its languages: what is common there tells nothing.

    Source: c-TF-IDF of BERTopic (Grootendorst 2022): frequency in the class times log(1 + A / frequency in all classes), A
    being the mean number of words a class. A term counts once a text, so that one long text does not name a group.
    """
    counted = [[words_of(text) for text in group] for group in groups]
    present = [Counter(word for words in group for word in {folded for folded, _ in words}) for group in counted]
    everywhere: Counter[str] = Counter()
    for counts in present:
        everywhere.update(counts)
    mean = sum(everywhere.values()) / max(1, len(groups))
    named: list[list[str]] = []
    for group, counts, around in zip(counted, present, others, strict=True):
        least = max(2, math.ceil(_SHARE * len(group))) if len(group) > 1 else 1
        rest = Counter(word for text in around for word in {folded for folded, _ in words_of(text)})
        scores: dict[str, float] = {}
        for word, count in counts.items():
            share, elsewhere = count / max(1, len(group)), rest[word] / max(1, len(around))
            if count >= least and share > _CONTRAST * elsewhere:
                scores[word] = share * math.log(1 + mean / (everywhere[word] + rest[word]))
        spelled = {folded: Counter[str]() for folded in scores}
        for words in group:
            for folded, written in words:
                if folded in spelled:
                    spelled[folded][written] += 1
        best = sorted(scores, key=lambda word: (-scores[word], word))
        named.append(_apart([spelled[word].most_common(1)[0][0] for word in best], terms))
    return named


def _apart(ranked: Sequence[str], most: int) -> list[str]:
    """The first terms, without those that only repeat another, such as pairs of one longer word."""
    chosen: list[str] = []
    for term in ranked:
        if len(chosen) == most:
            break
        if not any(term.casefold() in other.casefold() or other.casefold() in term.casefold() for other in chosen):
            chosen.append(term)
    return chosen
