"""The spans of a trace as a tree in columns: small enough that tens of thousands reach the browser at once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.traces.queries import SpanBar

_NAME = 120
"""Characters of a name that the timeline shows; the span itself has all of it."""


def ordered(bars: list[SpanBar]) -> Iterator[tuple[SpanBar, int]]:
    """Every span once with its depth, children below their parent by start.

    A span whose parent is missing stands at the left; so does one of those that are their own ancestors.
    """
    known = {bar.span_id for bar in bars}
    children: dict[str | None, list[SpanBar]] = defaultdict(list)
    for bar in bars:
        children[bar.parent_span_id if bar.parent_span_id in known else None].append(bar)
    seen: set[str] = set()

    def descend(top: Iterable[SpanBar]) -> Iterator[tuple[SpanBar, int]]:
        stack = [(bar, 0) for bar in reversed(list(top))]
        while stack:
            bar, depth = stack.pop()
            if bar.span_id in seen:
                continue
            seen.add(bar.span_id)
            yield bar, depth
            stack += [(child, depth + 1) for child in reversed(children[bar.span_id])]

    yield from descend(children[None])
    for bar in bars:  # what only cycles reach
        if bar.span_id not in seen:
            yield from descend([bar])


def columns(bars: list[SpanBar]) -> dict[str, Any]:
    """One list a column, in the order of `ordered`; names and kinds are numbers into lists of their own.

    Returns:
        {"stamp": changes with the content, "ids": separated by spaces, "names", "name", "kinds", "kind", "depth",
        "start", "took": microseconds since the first start, "failed": row numbers, "total": microseconds}
    """
    began = min(bar.started_ns for bar in bars)
    ended = max(bar.ended_ns for bar in bars)
    rows = list(ordered(bars))
    ids = [bar.span_id for bar, _ in rows]
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    name = [names.setdefault(bar.name[:_NAME], len(names)) for bar, _ in rows]
    kind = [kinds.setdefault(bar.kind, len(kinds)) for bar, _ in rows]
    failed = [row for row, (bar, _) in enumerate(rows) if bar.status == "error"]
    spans = " ".join(ids)
    return {
        "stamp": hash_bytes(f"{began} {ended} {failed} {spans}".encode())[-16:],
        "ids": spans,
        "names": list(names),
        "name": name,
        "kinds": list(kinds),
        "kind": kind,
        "depth": [depth for _, depth in rows],
        "start": [(bar.started_ns - began) // 1000 for bar, _ in rows],
        "took": [(bar.ended_ns - bar.started_ns) // 1000 for bar, _ in rows],
        "failed": failed,
        "total": max(1, (ended - began) // 1000),
    }
