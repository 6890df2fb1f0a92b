"""How the assistant declines, by language; training data and serving say it in the same words."""

DECLINE_SENTENCES = {
    "en": "I do not know: I have no information that answers this.",
    "es": "No lo sé: no tengo información que responda a esto.",
    "vi": "Tôi không biết: tôi không có thông tin trả lời câu hỏi này.",
}


def decline_sentence(language: str | None) -> str:
    """The sentence in this language, or in English."""
    return DECLINE_SENTENCES.get((language or "en").split("-")[0], DECLINE_SENTENCES["en"])


def is_decline(text: str) -> bool:
    """Whether an answer declines in the words the assistant is taught, or begins with their first clause."""
    spoken = " ".join(text.casefold().split())
    return any(spoken.startswith(sentence.casefold().split(":")[0]) for sentence in DECLINE_SENTENCES.values())
