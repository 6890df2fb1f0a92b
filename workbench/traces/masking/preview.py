"""Masking tried out on a text that is not stored."""

from collections import Counter
from collections.abc import Iterator

from workbench.traces.masking.marker import Marked, Marker
from workbench.traces.masking.policy import MaskingPolicy


def preview(policy: MaskingPolicy, text: str, key: bytes = b"preview") -> tuple[str, dict[str, int]]:
    """What a text would become as a trace of its own, and how many different values of each type it holds."""
    marker = Marker(policy, "preview", key)
    template = marker.masked_text(text, "preview", None)
    names = list(number_in_order(marker.found))
    return marker.filled(template, names), dict(Counter(one.kind for one in marker.found))


def number_in_order(found: list[Marked]) -> Iterator[str]:
    """Placeholders as they would be in a new trace."""
    last: Counter[tuple[str, str]] = Counter()
    for one in found:
        last[(one.scope, one.kind)] += 1
        yield f"<{one.kind}_{last[(one.scope, one.kind)]}>"
