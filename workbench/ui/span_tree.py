"""The spans of a trace as a tree in columns: small enough that tens of thousands reach the browser at once."""

from collections import defaultdict
from typing import Any

from workbench.core.canonical import hash_bytes
from workbench.traces.queries import SpanBar

_NAME = 120
"""Characters of a name that the timeline shows; the span itself has all of it."""


def ordered(bars: list[SpanBar]) -> list[tuple[SpanBar, int]]:
    """Every span once with its depth, children below their parent by start.

    A span whose parent is missing stands at the left; so does one of those that are their own ancestors.
    """
    known = {bar.span_id for bar in bars}
    children: defaultdict[str | None, list[SpanBar]] = defaultdict(list)
    for bar in reversed(bars):  # the last first, as a stack wants them
        children[bar.parent_span_id if bar.parent_span_id in known else None].append(bar)
    rows: list[tuple[SpanBar, int]] = []
    seen: set[str] = set()
    for top in [children.pop(None, []), *([bar] for bar in bars)]:  # each by itself: what only cycles reach
        if len(rows) == len(bars):
            break
        stack = [(bar, 0) for bar in top]
        while stack:
            row = stack.pop()
            span_id = row[0].span_id
            if span_id in seen:
                continue
            seen.add(span_id)
            rows.append(row)
            if span_id in children:
                depth = row[1] + 1
                stack += [(child, depth) for child in children[span_id]]
    return rows


def columns(bars: list[SpanBar]) -> dict[str, Any]:
    """One list a column, in the order of `ordered`; names and kinds are numbers into lists of their own.

    Returns:
        {"stamp": changes with the content, "names", "name", "kinds", "kind", "depth", "start", "took": microseconds since the
        first start, "failed": row numbers, "total": microseconds}, and "ids", which the browser does not need: there a span
        is the number of its row.
    """
    began = min(bar.started_ns for bar in bars)
    ended = max(bar.ended_ns for bar in bars)
    rows = ordered(bars)
    ids = [bar.span_id for bar, _ in rows]
    names: dict[str, int] = {}
    kinds: dict[str, int] = {}
    name = [names.setdefault(bar.name[:_NAME], len(names)) for bar, _ in rows]
    kind = [kinds.setdefault(bar.kind, len(kinds)) for bar, _ in rows]
    failed = [row for row, (bar, _) in enumerate(rows) if bar.status == "error"]
    return {
        "stamp": hash_bytes(f"{began} {ended} {failed} {' '.join(ids)}".encode())[-16:],
        "ids": ids,
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
