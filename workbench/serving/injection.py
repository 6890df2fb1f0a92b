"""Text that tries to give orders to the model. Found by pattern: it catches the usual forms, and no pattern catches all.

That is why it is only one of several locks: evidence is quoted and neutralised (prompts/assemble.py), the answer is validated
(validators.py), and the model that answers holds no tool.
"""

import re
import unicodedata

_PATTERNS = {
    "ignore instructions": (
        r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instruction|prompt|rule|guideline|context|above|previous|prior)s?\b"
        r"|\b(?:ignora|olvida|descarta|omite)\b.{0,40}\b(?:instrucci|regla|indicaci|anterior|contexto)"
        r"|\b(?:bo qua|phot lo|quen)\b.{0,40}\b(?:huong dan|chi dan|quy tac|lenh|phia tren|truoc do)"
    ),
    "new role": (
        r"\byou are now\b|\bact as (?:an?|the)\b.{0,30}\b(?:admin|developer|system|unrestricted|jailbroken)"
        r"|\bfrom now on,? you\b|\bahora eres\b|\ba partir de ahora\b.{0,20}\b(?:eres|debes)\b|\bbay gio ban la\b"
    ),
    "system prompt": (
        r"\b(?:reveal|print|show|repeat|output)\b.{0,30}\b(?:system|hidden|initial) (?:prompt|message|instruction)"
        r"|\bsystem (?:prompt|override)\b|^\s*(?:system|assistant|developer)\s*:"
    ),
    "chat markers": r"<\|?(?:im_start|im_end|system|start_of_turn|end_of_turn|endoftext)\|?>|\[/?inst\]|<<sys>>",
    "order to the assistant": (
        r"\b(?:assistant|chatbot|ai model|language model|llm)s?\b[:,]?.{0,30}\b(?:must|should|shall|always|now|please)\b.{0,60}"
        r"\b(?:transfer|password|one-time code|https?|approve|click|send (?:it|them|the|all|money)|reveal)\b"
    ),
    "sends data out": r"!\[[^\]]{0,200}\]\(\s*https?:|\b(?:send|forward|post|exfiltrate)\b.{0,60}\bto\s+(?:https?://|[\w.+-]+@)",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE | re.MULTILINE) for name, pattern in _PATTERNS.items()}
_INVISIBLE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]|[\U000e0000-\U000e007f]")


def find_injection(text: str) -> str | None:
    """The name of the first pattern that the text shows; None when it shows none."""
    if len(_INVISIBLE.findall(text)) >= 3:
        return "hidden characters"
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    folded = "".join(c for c in unicodedata.normalize("NFKD", plain.replace("đ", "d")) if not unicodedata.combining(c))
    folded = re.sub(r"[^\S\n]+", " ", folded)
    return next((name for name, pattern in _COMPILED.items() if pattern.search(folded)), None)
