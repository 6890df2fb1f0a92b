"""Payment cards and phone numbers among all the other numbers of a text.

A number is read as groups of digits held together by spaces, dots, dashes and brackets. A card needs an issuer's prefix and the
Luhn check; a phone number needs to be valid where it says it is, or in one of the project's regions, and nothing beside it that
says it is an order, an amount, a date or an id.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType
from stdnum import luhn

_RUN = re.compile(r"[0-9]++(?:(?:[ .\-]?\(|\)[ .\-]?|[ .\-])[0-9]++){0,24}+")
_GROUPS_IN_RUN = 25
_DIGITS = re.compile(r"[0-9]+")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}([-./ ])(?:0[1-9]|1[0-2])\1(?:[0-2][0-9]|3[01])(?![0-9])"
    r"|(?:[0-2]?[0-9]|3[01])([-./ ])(?:[0-2]?[0-9]|3[01])\2(?:19|20)[0-9]{2}(?![0-9])"
)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_ISSUER = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}"  # Discover
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])[0-9]{8,15}"  # Maestro
    r"|220[0-4][0-9]{12}"  # Mir
    r"|9704[0-9]{12,15}"  # Napas, Vietnam
)
_NAME_OF_OTHERS = (
    r"order|orders|pedido|encargo|invoice|factura|ref|reference|referencia|case|caso|ticket|incident|transaction|transacción"
    r"|transaccion|txn|tx|booking|reserva|reservation|policy|póliza|contract|contrato|tracking|shipment|envío|parcel|serial|sku"
    r"|version|build|batch|trace|span|id|ids|uuid|guid|hash|code|código|codigo|amount|importe|total|balance|saldo|price|precio"
    r"|cost|coste|timestamp|ts|epoch|seed|account|cuenta|article|product|producto|item|receipt|recibo|row|line|page|bytes|tokens"
    r"|size|count|(?:customer|client|member|cliente|socio)[ _-](?:no|nr|num|number|número|numero)"
    r"|đơn(?: hàng)?|mã(?: đơn| giao dịch| khách hàng)?|hóa đơn|giao dịch|tài khoản|số tiền|hợp đồng|vận đơn"
)
_OTHERS = re.compile(
    rf"(?i)(?<![^\W_])(?:{_NAME_OF_OTHERS})(?:[ _-](?:no|nr|num|number|numero|número|nº|n°|id|ids|code|ref|key|số|mã|de|is|es"
    r"|was|là)\.?){0,3}[\s\"'`:#.=()\[/-]{0,6}$"
)
_PHONE_WORDS = re.compile(
    r"(?i)(?<![^\W_])(?:phones?|telephone|tel|mobile|cell|cellphone|fax|call|calls|text|sms|whatsapp|zalo|viber|telegram|msisdn"
    r"|contact|hotline|móvil|movil|celular|teléfono|telefono|teléfonos|tlf|tfno|fono|llam\w{1,8}|llám\w{1,8}|marc\w{1,6}"
    r"|contacto|điện thoại|dien thoai|sđt|sdt|đt|gọi|liên hệ|di động|alo|số máy|telefon\w{0,8}|handy|téléphone|portable)"
    r"(?![^\W_])"
)
_MONEY_BEFORE = re.compile(r"(?i)(?:[$€£¥₫₹#]|\b(?:usd|eur|gbp|vnd|mxn|inr|jpy))\s?$")
_MONEY_BEHIND = re.compile(
    r"(?i)\s?(?:[$€£¥₫₹%]|(?:usd|eur|euros?|gbp|pounds?|vnd|vnđ|mxn|dollars?|dólares|pesos|đồng|đ|dong|ms|kb|mb|gb|bytes|tokens"
    r"|seconds|segundos|giây|points|puntos|điểm|triệu|nghìn|tỷ)(?!\w))"
)
_ENDS_MASKED = re.compile(r"_[0-9a-f]{1,12}>\Z")
_BEGINS_MASKED = re.compile(r"<[A-Z]{2,6}_[0-9a-f]")
"""A placeholder holds a number together as the word did that it stands for: masking again changes nothing."""
_LETTERED = re.compile(r"[A-Za-z]|[0-9]{7,8}[A-Za-z]")
_LONG = re.compile(r"\+?\(?[0-9](?:[ .()\-]{0,2}+[0-9]){8}")
_ENDS_NO_AMOUNT = re.compile(r"(?:[0-9][ .()\-]{0,2}){8}[0-9]\Z")
"""Nine digits, or letters: no group of an amount's. A comma beside it parts columns of a table; nine digits may still be the
decimals behind a lone 0, which letters never are."""
_LONGEST = 40
_BEFORE = 48
_MOST_CHECKED = 2000
"""Candidates of one text that are looked up; a text with more of them is a table, and each costs tens of microseconds."""

Found = tuple[int, int, str, str]
"""Start, end, CARD or PHONE, and the number without separators."""


def is_card(digits: str) -> bool:
    """Whether these digits are a payment card's number (ISO/IEC 7812-1, and the prefixes of known issuers)."""
    return bool(_ISSUER.fullmatch(digits)) and luhn.is_valid(digits)


def find_numbers(text: str, regions: tuple[str, ...], *, cards: bool, phones: bool, context: str = "") -> Iterator[Found]:
    """Where cards and phone numbers stand, none overlapping another.

    Args:
        regions: whose national phone numbers are known.
        context: what the text is called, such as the name of its field.
    """
    position, left = 0, _MOST_CHECKED
    while run := _RUN.search(text, position):
        position = run.end()
        groups = [(match.start(), match.end()) for match in _DIGITS.finditer(text, run.start(), run.end())]
        if len(groups) == _GROUPS_IN_RUN:  # the run goes on: its last groups are the first ones of the next
            position = groups[-8][0]
            if groups[-8][0] <= run.start():
                position = run.end()
        at = 0
        while at < len(groups):
            found = None
            if starts_well(text, groups[at][0]):
                passed = _passed_over(text, groups, at)
                if passed > at:
                    at = passed
                    continue
                found = _card(text, groups, at, context) if cards else None
                if found is None and phones and left > 0:
                    left, found = _phone(text, groups, at, regions, context, left)
            if found is None:
                at += 1
                continue
            yield found
            while at < len(groups) and groups[at][0] < found[1]:
                at += 1
            position = max(position, found[1])


def date_at(text: str, start: int) -> int | None:
    """Where a date that begins here ends; None: none does."""
    match = _DATE.match(text, start)
    return match.end() if match else None


def starts_well(text: str, start: int) -> bool:
    """Whether a number may begin here: not in a word, nor as a later part of something that dashes or dots hold together.

    A comma between digits holds an amount together, unless one side can be no part of one.
    """
    before = text[start - 1] if start else " "
    if before.isalnum() or before == "_":
        return False
    if before in "-./,:" and start > 1:
        joined = text[start - 2]
        if joined == ">":
            return not _ENDS_MASKED.search(text, max(0, start - 24), start - 1)
        if before == ",":
            if not joined.isdigit() or _LETTERED.match(text, start):
                return True
            return _LONG.match(text, start) is not None and not _is_zero(text, start - 2)
        return not (joined.isalnum() and (before != ":" or joined.isdigit()))
    return True


def _is_zero(text: str, at: int) -> bool:
    """Whether a lone 0 is here, behind which a comma is a decimal one."""
    return text[at] == "0" and not text[at - 1 : at].isdigit()


def ends_well(text: str, end: int) -> bool:
    """Whether a number may end here."""
    behind = text[end : end + 2]
    if not behind:
        return True
    if behind[0].isalnum() or behind[0] == "_":
        return False
    if behind[0] == "," and len(behind) > 1 and behind[1].isalnum():
        return not behind[1].isdigit() or _ENDS_NO_AMOUNT.search(text, max(0, end - _LONGEST), end) is not None
    if behind[0] in "-./,:" and len(behind) > 1:
        return not behind[1].isalnum() and not _BEGINS_MASKED.match(text, end + 1)
    return behind[0] != "@"


def is_of_something_else(text: str, start: int, context: str = "") -> bool:
    """Whether the words right before a number say that it is an order, an id, an amount."""
    return bool(_OTHERS.search(_left_of(text, start, context)))


def says_phone(text: str, start: int, context: str = "") -> bool:
    """Whether the words before a number speak of a phone."""
    return bool(_PHONE_WORDS.search(_left_of(text, start, context)))


def _left_of(text: str, start: int, context: str) -> str:
    return (context + text[max(0, start - _BEFORE) : start])[-_BEFORE:] if start < _BEFORE else text[start - _BEFORE : start]


def _passed_over(text: str, groups: list[tuple[int, int]], at: int) -> int:
    """The group behind a date or an internet address that begins here; `at` when there is neither."""
    match = _DATE.match(text, groups[at][0]) or _ADDRESS.match(text, groups[at][0])
    if match is None:
        return at
    while at < len(groups) and groups[at][0] < match.end():
        at += 1
    return at


def _card(text: str, groups: list[tuple[int, int]], at: int, context: str) -> Found | None:
    start, digits = groups[at][0], ""
    for number in range(at, min(at + 6, len(groups))):
        first, last = groups[number]
        if number > at and last - first < 3:
            return None
        digits += text[first:last]
        if len(digits) > 19:
            return None
        if len(digits) >= 12 and ends_well(text, last) and is_card(digits):
            if number == at and is_of_something_else(text, start, context):
                return None
            return start, last, "CARD", digits
    return None


def _phone(
    text: str, groups: list[tuple[int, int]], at: int, regions: tuple[str, ...], context: str, left: int
) -> tuple[int, Found | None]:
    """The longest phone number that begins at this group, and how many more candidates may be looked up."""
    start = groups[at][0]
    plus = _plus_before(text, start)
    windows: list[tuple[int, str]] = []
    digits = ""
    for number in range(at, min(at + 7, len(groups))):
        digits += text[groups[number][0] : groups[number][1]]
        if len(digits) > 17:
            break
        if len(digits) >= 7 and ends_well(text, groups[number][1]):
            windows.append((number, digits))
    for number, digits in reversed(windows):
        left -= 1
        end = groups[number][1]
        if plus is not None or (digits.startswith("00") and len(digits) >= 11):
            international = _international(digits.removeprefix("00") if plus is None else digits)
            if international:
                return left, (start if plus is None else plus, end, "PHONE", international)
            if plus is not None:
                continue
        national = _national(digits, regions)
        if national and _is_meant_as_phone(text, groups[at : number + 1], national[1], digits, context):
            first = start - 1 if start and text[start - 1] == "(" else start
            return left, (first, end, "PHONE", national[0])
    return left, None


def _plus_before(text: str, start: int) -> int | None:
    """Where the `+` of an international number stands."""
    for width, forms in ((1, ("+",)), (2, ("(+", "+ ", "+("))):
        before = text[max(0, start - width) : start]
        if before in forms:
            at = start - width + before.index("+")
            if not (at and text[at - 1].isalnum()):
                return at
    return None


def _is_meant_as_phone(text: str, groups: list[tuple[int, int]], mobile: bool, digits: str, context: str) -> bool:
    start, end = groups[0][0], groups[-1][1]
    left = _left_of(text, start, context)
    if _MONEY_BEFORE.search(left) or _MONEY_BEHIND.match(text, end) or _OTHERS.search(left):
        return False
    if len(groups) == 2 and text[groups[0][1] : groups[1][0]] == ".":
        return False  # a decimal
    if len(groups) > 1:
        sizes = [last - first for first, last in groups]
        return all(2 <= size <= 7 for size in sizes[1:]) and sizes[0] <= 5
    # Digits alone: a mobile number that is nothing else in its country, a trunk zero, or words that speak of a phone.
    return mobile or digits.startswith("0") or bool(_PHONE_WORDS.search(left)) or bool(_PHONE_WORDS.match(text, end))


@lru_cache(maxsize=2048)
def _international(digits: str) -> str:
    """E.164 of a number with its country code; empty when it cannot be one. Whoever writes `+` means a phone."""
    if not 8 <= len(digits) <= 15:
        return ""
    try:
        number = phonenumbers.parse("+" + digits)
    except NumberParseException:
        return ""
    return "+" + digits if phonenumbers.is_possible_number(number) else ""


@lru_cache(maxsize=2048)
def _national(digits: str, regions: tuple[str, ...]) -> tuple[str, bool] | None:
    """E.164 of a valid national number of one of the regions, and whether it can only be a mobile one."""
    if not 7 <= len(digits) <= 13:
        return None
    for region in regions:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        general = metadata.general_desc.national_number_pattern if metadata and metadata.general_desc else None
        trunk = (metadata.national_prefix if metadata else None) or ""
        code = str(phonenumbers.country_code_for_region(region))
        forms = {digits, digits.removeprefix(trunk), digits.removeprefix(code)}
        if general and not any(re.fullmatch(general, form) for form in forms):
            continue  # much cheaper than parsing, and most numbers end here
        try:
            number = phonenumbers.parse(digits, region)
        except NumberParseException:
            continue
        if number.country_code == phonenumbers.country_code_for_region(region) and phonenumbers.is_valid_number(number):
            form = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            return form, phonenumbers.number_type(number) == PhoneNumberType.MOBILE
    return None
