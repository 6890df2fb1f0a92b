"""Which language a text is in, when the application does not say: by script, else by the commonest words."""

import re
import unicodedata

_WORD = re.compile(r"[^\W\d_]+")

_SCRIPTS = (
    ("ja", "HIRAGANA"),
    ("ja", "KATAKANA"),
    ("ko", "HANGUL"),
    ("zh", "CJK"),
    ("ar", "ARABIC"),
    ("ru", "CYRILLIC"),
    ("el", "GREEK"),
    ("he", "HEBREW"),
    ("th", "THAI"),
    ("hi", "DEVANAGARI"),
)

_WORDS = {
    "en": "the a an is are was my i you to of and in it for on do does can how what why when not with have has this that me",
    "es": "el la los las un una de que y en mi es por para con no se me lo del al cómo qué cuándo puedo tengo hay está su más",
    "fr": "le la les un une de des et en mon ma est pour avec je pas que qui du au comment ce sur dans il vous",
    "de": "der die das ein eine und ist ich nicht mit wie zu von mein meine für auf den dem kann was warum es wird sie",
    "pt": "o os um uma de que e em meu minha é por para com não se do da no na como eu posso tenho você",
    "it": "il lo gli un una di che e in mio mia è per con non si del della come posso ho sono cosa",
    "nl": "de het een en van ik niet met hoe mijn is op voor dat kan wat te die zijn aan je",
    "vi": "tôi là của và có không được cho bạn một các này thì với như khi thế nào gì bị làm sao vào",
}
_COMMON = {code: frozenset(words.split()) for code, words in _WORDS.items()}

_VIETNAMESE = re.compile("[ăâđêôơưĂÂĐÊÔƠƯạảấầẩẫậắằẳẵặẹẻẽếềểễệịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")


def recognize(text: str) -> str | None:
    """The ISO 639-1 code of a text's language; None when there is too little to tell."""
    sample = text[:600]
    letters = [character for character in sample if character.isalpha()]
    if len(letters) < 2:
        return None
    foreign = [character for character in letters if ord(character) > 0x2FF and not 0x1E00 <= ord(character) <= 0x1EFF]
    if len(foreign) * 3 > len(letters):
        names = " ".join(unicodedata.name(character, "") for character in foreign[:80])
        for code, script in _SCRIPTS:
            if script in names:
                return code
        return None
    words = [word.lower() for word in _WORD.findall(sample)]
    if len(_VIETNAMESE.findall(sample)) * 6 > len(words) >= 2:
        return "vi"
    scores = {code: sum(word in common for word in words) for code, common in _COMMON.items()}
    best = max(scores, key=lambda code: scores[code])
    runner_up = max(score for code, score in scores.items() if code != best)
    return best if scores[best] >= 2 and scores[best] > runner_up else None
