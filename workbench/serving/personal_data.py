"""Personal data in an answer: found as traces' masking finds it, and masked unless the evidence itself says it."""

import re
from collections.abc import Iterable, Iterator

from workbench.traces.masking.detectors import Hit, detectors_of
from workbench.traces.masking.loose import NUMBER, find_loose
from workbench.traces.masking.policy import MaskType, default_policy

_POLICY = default_policy(["en", "es", "vi", "de", "fr", "it", "pt"])
"""A release's guard does not know a project's rules for traces, and the two are for different readers."""
_NAMES = {
    MaskType.SECRET.value: "secret",
    MaskType.EMAIL.value: "email",
    MaskType.IBAN.value: "account",
    MaskType.CARD.value: "card",
    MaskType.ID.value: "id",
    MaskType.PHONE.value: "number",
    NUMBER: "number",
}
"""Kind → what stands for it; the surest kind first."""
MASKS = frozenset(_NAMES.values())
"""What stands in brackets in place of personal data."""


def mask(text: str, known: str = "", *, before: str = "") -> tuple[str, list[str]]:
    """The text with personal data replaced by `[email]`, `[account]`, `[card]`, …; and the names of MASKS used, sorted.

    Args:
        known: the evidence. What it says, such as the telephone number of the service itself, is no personal data.
        before: what was said right before the text, and tells a password or an id by the words ahead of it.
    """
    whole = before + text
    strict = detectors_of(_POLICY).find(whole)
    loose = list(find_loose(whole))
    if not strict and not loose:
        return text, []
    allowed, spelled = _digits(known), known.casefold()
    personal = [hit for hit in [*strict, *loose] if not _is_known(hit, whole[hit.start : hit.end], spelled, allowed)]
    parts, names, position = [], set(), len(before)
    for start, end, kind in _joined(personal):
        if end <= position:
            continue
        names.add(_NAMES[kind])
        parts += [whole[position : max(start, position)], f"[{_NAMES[kind]}]"]
        position = end
    return "".join([*parts, whole[position:]]), sorted(names)


def _is_known(hit: Hit, written: str, known: str, digits_known: str) -> bool:
    if written.casefold() in known:
        return True
    return _NAMES[hit.kind] in ("card", "number") and _digits(written) in digits_known


def _joined(hits: Iterable[Hit]) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind, where hits that overlap are one, of the kind that comes first in `_NAMES`."""
    ranks = {kind: rank for rank, kind in enumerate(_NAMES)}
    last: tuple[int, int, str] | None = None
    for hit in sorted(hits, key=lambda one: one.start):
        if last is not None and hit.start < last[1]:
            last = (last[0], max(last[1], hit.end), min(last[2], hit.kind, key=lambda kind: ranks[kind]))
            continue
        if last is not None:
            yield last
        last = (hit.start, hit.end, hit.kind)
    if last is not None:
        yield last


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)
