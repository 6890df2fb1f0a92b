"""How the assistant declines, by language; training data and serving say it in the same words."""

DECLINE_SENTENCES = {
    "en": "I have no approved source for that.",
    "es": "No tengo una fuente aprobada sobre eso.",
    "vi": "Tôi chưa có nguồn được duyệt về điều này.",
}
_BEGINNINGS = (
    "i have no approved source",
    "no tengo una fuente aprobada",
    "tôi chưa có nguồn được duyệt",
    "i do not know",
    "i don't know",
    "no lo sé",
    "tôi không biết",
)


def decline_sentence(language: str | None) -> str:
    """The sentence in this language, or in English."""
    return DECLINE_SENTENCES.get((language or "en").split("-")[0], DECLINE_SENTENCES["en"])


def is_decline(text: str) -> bool:
    """Whether an answer declines in the words the assistant is taught, whatever it says after them."""
    return " ".join(text.replace("’", "'").casefold().split()).startswith(_BEGINNINGS)
