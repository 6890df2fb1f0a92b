"""What a written answer must keep, each rule a function named after it."""

import re
from collections.abc import Collection

from workbench.prompts.assemble import sentences
from workbench.prompts.phrases import is_decline
from workbench.serving.configuration import GuardPolicy
from workbench.serving.personal_data import MASKS
from workbench.traces.languages import recognize

_CITATION = re.compile(r"\[([a-z0-9][a-z0-9.-]{0,79})\]")
_TELLING_WORDS = 5
"""Shorter answers are too short to tell their language from."""


def cited_keys(text: str) -> list[str]:
    """The keys in brackets, in order, each once."""
    return list(dict.fromkeys(key for key in _CITATION.findall(text) if key not in MASKS))


def without_citations(text: str) -> str:
    """The text as it is read aloud."""
    spoken = _CITATION.sub(lambda match: match[0] if match[1] in MASKS else "", text)
    return re.sub(r"\s+([.,;!?])", r"\1", re.sub(r"[ \t]{2,}", " ", spoken)).strip()


def failures(
    text: str, *, policy: GuardPolicy, retrieved: Collection[str], question_language: str | None, finished: bool
) -> list[tuple[str, str]]:
    """The rules an answer breaks, as (rule, detail).

    Args:
        retrieved: keys of the passages the model was shown.
        finished: whether the model ended by itself, not at the token limit.
    """
    if not text.strip():
        return [("empty_answer", "The model wrote nothing.")]
    if is_decline(text):
        return []
    checks = (
        _has_too_many_sentences(text, policy),
        _lacks_a_citation(text, policy, retrieved),
        _cites_what_was_not_retrieved(text, retrieved),
        _is_in_another_language(text, policy, question_language),
        _is_cut_off(text, finished),
    )
    return [check for check in checks if check]


def _has_too_many_sentences(text: str, policy: GuardPolicy) -> tuple[str, str] | None:
    count = sum(1 for sentence in sentences(without_citations(text)) if re.search(r"\w", sentence))
    if 0 < policy.max_sentences < count:
        return "too_many_sentences", f"{count} sentences; at most {policy.max_sentences}."
    return None


def _lacks_a_citation(text: str, policy: GuardPolicy, retrieved: Collection[str]) -> tuple[str, str] | None:
    if policy.require_citation and not set(cited_keys(text)) & set(retrieved):
        return "citation_missing", "The answer cites none of its passages."
    return None


def _cites_what_was_not_retrieved(text: str, retrieved: Collection[str]) -> tuple[str, str] | None:
    unknown = [key for key in cited_keys(text) if key not in retrieved]
    return ("citation_unknown", f"It cites {', '.join(unknown[:5])}, which was not retrieved.") if unknown else None


def _is_in_another_language(text: str, policy: GuardPolicy, question_language: str | None) -> tuple[str, str] | None:
    spoken = without_citations(text)
    if not policy.same_language or question_language is None or len(spoken.split()) < _TELLING_WORDS:
        return None
    language = recognize(spoken)
    if language is not None and language != question_language:
        return "wrong_language", f"Asked in {question_language}, answered in {language}."
    return None


def _is_cut_off(text: str, finished: bool) -> tuple[str, str] | None:
    if not finished and not without_citations(text).rstrip("\"')” ").endswith((".", "!", "?", "…")):
        return "cut_off", "The answer reached the token limit in the middle of a sentence."
    return None
