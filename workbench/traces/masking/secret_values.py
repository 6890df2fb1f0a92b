"""Secrets in text: keys of common vendors, tokens, private keys, and what follows the word password."""

import re
from collections.abc import Iterator
from functools import lru_cache

_SIGNS = """
bearer basic password passwd passphrase passcode pwd secret secrets key apikey token authorization cookie credential
credentials contraseña contraseÑa clave khẩu khẨu pin otp cvv cvv2 cvc cvc2 passwort kennwort passe senha
clientsecret secretkey accesskey accesstoken refreshtoken authtoken idtoken privatekey userpassword dbpassword
newpassword oldpassword currentpassword
sk rk lf whsec ghp gho ghu ghs ghr pat glpat ya29 xoxa xoxb xoxe xoxo xoxp xoxr xoxs hf npm sg dop pypi shpat wb
"""
SIGN_WORDS = frozenset(_SIGNS.encode().split())
"""One of these words, in lower case, is in every text that holds a secret we know, but for those of `SIGNS_IN_RUNS`."""
SIGNS_IN_RUNS = ("eyJ", "AKIA", "ASIA", "AIza")
"""Beginnings of secrets that are one long word."""

_VENDORS = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"sk-[A-Za-z0-9_-]{16,}+|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}+|pk-lf-[0-9a-f-]{30,}+|whsec_[A-Za-z0-9+/=]{16,}+"
    r"|gh[pousr]_[A-Za-z0-9]{20,}+|github_pat_[A-Za-z0-9_]{20,}+|glpat-[A-Za-z0-9_-]{16,}+"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])|AIza[0-9A-Za-z_-]{30,}+|ya29\.[0-9A-Za-z_-]{20,}+|xox[abeoprs]-[0-9A-Za-z-]{10,}+"
    r"|hf_[A-Za-z0-9]{24,}+|npm_[A-Za-z0-9]{30,}+|SG\.[A-Za-z0-9_-]{16,}+\.[A-Za-z0-9_-]{16,}+|dop_v1_[a-f0-9]{40,}+"
    r"|pypi-[A-Za-z0-9_-]{40,}+|shpat_[a-fA-F0-9]{24,}+|wb_[A-Za-z0-9_-]{30,}+|AGE-SECRET-KEY-1[0-9A-Z]{40,}+"
    r"|eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{4,}+(?:\.[A-Za-z0-9_-]*+)?)"
)
_SCHEME = re.compile(r"(?i)(?<![A-Za-z0-9_])(?:bearer|basic)[ \t]{1,4}([A-Za-z0-9._~+/=-]{12,}+)")
_IN_ADDRESS = re.compile(r"://[^\s/:@\"'<>]{1,100}:([^\s/:@\"'<>]{1,200}+)@")
_NAMES = (
    r"pass(?:word|wd|phrase|code)|pwd|(?:client[ _-]?|app[ _-]?)?secret(?:[ _-]?key)?|api[ _-]?key|private[ _-]?key"
    r"|(?:access|auth|refresh|bearer|session|id)[ _-]?token|token|contraseña|clave(?: secreta| de acceso)?|mật khẩu"
    r"|passwort|kennwort|mot de passe|senha"
)
_ASSIGNED = re.compile(
    rf"(?i)(?<![^\W_])(?:{_NAMES})(?![^\W_])[\"'`*]{{0,3}}\s{{0,3}}(=|:|\bis\b|\bes\b|\blà\b|\bist\b)\s{{0,3}}[\"'`*]{{0,3}}([^\s\"'`,;&<>]{{3,300}}+)"
)
_SAID_OF = re.compile(r"(?i)(?<![^\W_])(?:mật khẩu|mã pin) (?:của (?:tôi|em|mình|anh|chị)) (?:là|:) ?([^\s\"'`,;&<>]{3,300}+)")
_CODE = re.compile(
    r"(?i)(?<![^\W_])(?:cvv2?|cvc2?|pin|otp|mã pin|mã otp)(?:[ _](?:code|number|code is|của tôi|của em))?[\"']{0,2}"
    r"(?:\s{0,2}(?:=|:|is|es|là)\s{0,2}|\s{1,2})[\"']{0,2}([0-9]{3,8})(?![\w.,/-]\w|\w)"
)
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_NO_VALUE = re.compile(
    r"(?i)(?:null|none|true|false|undefined|required|optional|string|\*+|x+|\.+|\[.*|\{.*|\$\{.*|%s|\\.*|<.*)\W*"
)
_STRONG = re.compile(r"(?=.*[0-9])|(?=.*[^\w.!?)])")
_FIELD = re.compile(
    r"(?:.* )?(?:password|passwd|passphrase|passcode|pwd|secret|secret key|client secret|api key|apikey|private key|access key"
    r"|access token|refresh token|auth token|id token|bearer token|authorization|proxy authorization|cookie|set cookie|cvv2?"
    r"|cvc2?|pin|pin code|otp|contraseña|mật khẩu|credentials?)"
)
"""Names of fields whose whole value is a secret; words in lower case with single spaces."""


_VENDORS_BEGIN = (
    "sk-", "sk_", "rk_", "pk-lf-", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", *SIGNS_IN_RUNS,
    "ya29.", "xox", "hf_", "npm_", "SG.", "dop_v1_", "pypi-", "shpat_", "wb_", "AGE-SECRET-KEY-1",
)  # fmt: skip
_NAMES_HOLD = ("pass", "pwd", "secret", "key", "token", "contraseña", "clave", "khẩu", "kennwort", "senha")


def find_secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """Where secrets stand: start, end and the secret. The same place may come more than once."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = ""  # a letter whose small form is longer: places in the two differ
    if "-----BEGIN" in text:
        for match in _KEY_BLOCK.finditer(text):
            closing = _END.search(text, match.end())
            end = closing.end() if closing else len(text)
            yield match.start(), end, text[match.start() : end]
    for match in _near(_VENDORS, text, text, _VENDORS_BEGIN):
        yield match.start(), match.end(), match[0]
    for match in _near(_SCHEME, text, lowered, ("bearer", "basic")):
        if any(character.isdigit() for character in match[1]):
            yield match.start(1), match.end(1), match[1]
    for match in _IN_ADDRESS.finditer(text):
        yield match.start(1), match.end(1), match[1]
    for match in _near(_ASSIGNED, text, lowered, _NAMES_HOLD, before=8):
        value = match[2].rstrip(".!?)]}*")
        # In a sentence ("the password is wrong", "token: optional") only what is no plain word is a secret.
        if (
            len(value) >= 3
            and not _NO_VALUE.fullmatch(value)
            and (match[1] == "=" or _looks_secret(value))
            and not (
                value.isdigit() and "token" in match[0].lower()  # a count of tokens
            )
        ):
            yield match.start(2), match.start(2) + len(value), value
    for match in _near(_SAID_OF, text, lowered, ("mật khẩu", "mã pin")):
        yield match.start(1), match.end(1), match[1]
    for match in _near(_CODE, text, lowered, ("cvv", "cvc", "pin", "otp"), before=3):
        yield match.start(1), match.end(1), match[1]


def _near(
    pattern: re.Pattern[str], text: str, haystack: str, words: tuple[str, ...], *, before: int = 0
) -> Iterator[re.Match[str]]:
    """Matches that begin at one of the words, or up to `before` characters ahead of it.

    Finding words is a hundred times faster than trying a pattern at each place.

    Args:
        haystack: the text as the words are spelled; empty: look everywhere.
    """
    if not haystack:
        yield from pattern.finditer(text)
        return
    for word in words:
        at = haystack.find(word)
        while at >= 0:
            for start in range(max(0, at - before), at + 1):
                if match := pattern.match(text, start):
                    yield match
                    break
            at = haystack.find(word, at + 1)


def is_secret_field(name: str, value: str) -> bool:
    """Whether a field of this name (words in lower case) holds nothing but a secret."""
    return is_secret_name(name) and len(value) >= 3 and not _NO_VALUE.fullmatch(value.strip())


@lru_cache(maxsize=8192)
def is_secret_name(name: str) -> bool:
    """Whether fields of this name hold secrets."""
    return bool(_FIELD.fullmatch(name))


def _looks_secret(value: str) -> bool:
    return len(value) >= 4 and bool(_STRONG.match(value))
