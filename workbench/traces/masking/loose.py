"""Numbers that look like somebody's, whatever their check digits say.

For text that a model wrote: there an account or a number that nobody gave it does harm even if it is made up. What comes in
is masked by `detectors.py` alone, since order numbers and amounts are what people look for in traces.
"""

import re
from collections.abc import Iterator

from workbench.traces.masking.detectors import Hit
from workbench.traces.masking.numbers import date_at
from workbench.traces.masking.policy import MaskType

NUMBER = "NUMBER"
"""Kind of a long number of which nothing more is known."""

_ACCOUNT = re.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_LONG = re.compile(r"(?<![\w.,])\+?\(?\d(?:[ ().-]{0,2}\d){6,40}(?!\w)")


def find_loose(text: str) -> Iterator[Hit]:
    """What has the form of an account number, and numbers of seven digits and more that are no dates."""
    for match in _ACCOUNT.finditer(text):
        yield Hit(match.start(), match.end(), MaskType.IBAN.value, match[0].replace(" ", ""))
    position = 0
    while found := _LONG.search(text, position):
        behind_date = date_at(text, found.start())
        if behind_date is None:
            yield Hit(found.start(), found.end(), NUMBER, re.sub(r"\D", "", found[0]))
        position = behind_date or found.end()
