"""From question and passages to the prompt's text.

Pure: the same arguments give the same text. Datasets and serving both call it, so that a model is trained on the very form
it is asked in. Evidence is quoted as data: one line a passage, in quotes, with everything neutralised that could be taken for
a part of the prompt's own frame.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.prompts.content import DEFAULTS, SLOT

NO_EVIDENCE = "(none)"
"""What stands in the evidence's place when nothing was retrieved."""
MAX_QUESTION = 1_200
"""Characters of a question that reach the prompt."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffd]+")
_MARKERS = re.compile(
    r"<\s*/?\s*\|?[A-Za-z_][\w ]{0,30}\|?\s*>"  # <bos>, <start_of_turn>, <|im_start|>, </system>
    r"|\[/?(?:INST|SYS)\]|<</?SYS>>|\[(?:UNUSED|MASK|CLS|SEP)\d*\]"
    r"|#{2,}|`{3,}|<{2,}|>{2,}|={4,}|-{4,}|\"{3,}",
    re.IGNORECASE,
)
_FRAME = re.compile(r"\b(evidence|question|answer|system|assistant|user|human|instructions?)\s*:(?=\s)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"”»)\]]*\s+")
_TOKENS = re.compile(r"\d|[^\W\d_]+|[^\w\s]|_|\n")


@dataclass(frozen=True)
class Passage:
    """A piece of evidence as a prompt shows it."""

    key: str
    title: str
    text: str


@dataclass(frozen=True)
class Assembled:
    """A prompt and what became of its evidence."""

    text: str
    tokens: int
    """Approximate."""
    passages: tuple[Passage, ...]
    """As they stand in the prompt, perhaps shortened; those that did not fit are missing."""


def assemble_prompt(content: Mapping[str, Any], question: str, passages: Sequence[Passage]) -> str:
    """The prompt's text. See `assemble`."""
    return assemble(content, question, passages).text


def assemble(content: Mapping[str, Any], question: str, passages: Sequence[Passage]) -> Assembled:
    """Put question and passages into a prompt version's template, within its `prompt_tokens`.

    What is too long is cut at sentence ends, the last passage first; the first passage keeps at least one sentence. Few-shot
    examples go, last one first, when they leave no room for that.

    Args:
        content: a prompt version's content.
        question: as the person wrote it.
        passages: best first.
    """
    budget = int(content.get("parameters", {}).get("prompt_tokens", DEFAULTS["prompt_tokens"]))
    asked = neutral(question)[:MAX_QUESTION].strip()
    few_shot = list(content.get("few_shot", []))
    least = count_tokens(_line(replace(passages[0], text=sentences(passages[0].text)[0]))) if passages else 0
    while True:
        frame = count_tokens(_fill(content, few_shot, asked, ""))
        if frame + least <= budget or not few_shot:
            break
        few_shot.pop()
    kept = _fit(passages, max(budget - frame, least))
    text = _fill(content, few_shot, asked, "\n".join(_line(passage) for passage in kept) or NO_EVIDENCE)
    return Assembled(text, count_tokens(text), tuple(kept))


def neutral(text: str) -> str:
    """Outside text on one line, without control characters, chat markers, or words that frame the prompt."""
    plain = _CONTROL.sub(" ", unicodedata.normalize("NFC", text))
    while (cleaned := _MARKERS.sub(" ", plain)) != plain:  # taking one out may join the halves of another
        plain = cleaned
    plain = _FRAME.sub(lambda match: match[1] + " -", plain)
    return re.sub(r"\s+", " ", plain.replace('"', "'")).strip()


def sentences(text: str) -> list[str]:
    """A text's sentences, none of them empty; at least one entry. Dots inside numbers do not end a sentence."""
    found = [part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line) if part.strip()]
    return found or [text.strip()]


def count_tokens(text: str) -> int:
    """About how many tokens a text has; a little above the truth for the languages the base model knows.

    Digits and marks count one each, a word one for every six letters; marked letters, as in Vietnamese, weigh more.
    """
    total = 1
    for piece in _TOKENS.findall(text):
        if piece.isalpha():
            marked = sum(1 for character in piece if ord(character) > 0xFF)
            total += max(1, -(-(len(piece) + 2 * marked) // 6))
        else:
            total += 1
    return total


def _line(passage: Passage) -> str:
    title, text = neutral(passage.title).rstrip("."), neutral(passage.text)
    return f'[{passage.key}] "{title}. {text}"' if title else f'[{passage.key}] "{text}"'


def _fit(passages: Sequence[Passage], room: int) -> list[Passage]:
    kept: list[Passage] = []
    for index, passage in enumerate(passages):
        parts = sentences(passage.text)
        while parts and count_tokens(_line(replace(passage, text=" ".join(parts)))) > room:
            parts.pop()
        if not parts and index == 0:
            parts = sentences(passage.text)[:1]
        if not parts:
            break
        shortened = replace(passage, text=" ".join(parts))
        room -= count_tokens(_line(shortened))
        kept.append(shortened)
    return kept


def _fill(content: Mapping[str, Any], few_shot: Sequence[Mapping[str, str]], question: str, evidence: str) -> str:
    examples = "".join(
        f"Evidence:\n{example['evidence']}\nQuestion: {example['question']}\nAnswer: {example['answer']}\n\n"
        for example in few_shot
    )
    values = {"system": content.get("system", ""), "examples": examples, "evidence": evidence, "question": question}
    # One pass: braces inside a value are text, never a slot.
    return SLOT.sub(lambda match: str(values[match[1]]), str(content["template"])).lstrip("\n")
