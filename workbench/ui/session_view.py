"""A stretch of a session as the component of a trace shows it: turn after turn, and what changed between them."""

from collections.abc import Mapping
from typing import Any

from workbench.traces.models import Feedback
from workbench.traces.sessions import Conversation
from workbench.ui import page
from workbench.ui.trace_filters import View
from workbench.ui.trace_list import link
from workbench.ui.trace_view import cut, signal, tool

_LONGEST_TURN = 12_000
"""Characters of one text; a page shows many."""
_TOOLS = 20


def data_of(
    found: Conversation, feedback: list[Feedback], releases: Mapping[str, str], view: View, facts: list[list[dict[str, Any]]]
) -> dict[str, Any]:
    """What the component shows of a stretch of a session.

    Args:
        releases: what a trace calls its release → what people call it.
        view: the list that a turn is opened in.
        facts: groups of {"name", "value", "link"?} for the side.
    """
    turns: list[dict[str, Any]] = []
    release = found.release_before
    users = {turn.user_id for turn in found.turns}
    for turn in found.turns:
        changed = []
        if turn.release and release and turn.release != release:
            changed.append(f"{releases[release]} → {releases[turn.release]}")
        release = turn.release or release
        turns.append(
            {
                "id": turn.trace_id,
                "link": link(turn.trace_id, view),
                "time": page.moment(turn.started_at) + (f" · {turn.user_id or 'no user'}" if len(users) > 1 else ""),
                "question": cut(turn.input, _LONGEST_TURN) or "(no question)",
                "tools": [tool(call) for call in turn.tool_calls[:_TOOLS]],
                "answer": cut(turn.output, _LONGEST_TURN),
                "machine": turn.machine_written and bool(turn.output),
                "error": turn.error or "",
                "failed": turn.status == "error",
                "rating": turn.rating,
                "language": turn.language or "",
                "changed": changed,
                "feedback": [signal(one) for one in feedback if one.trace_id == turn.trace_id],
            }
        )
    tally = found.tally
    pairs = [
        ["Turns", f"{tally.traces:,}", ""],
        ["Length", page.duration((tally.last_at - tally.first_at).total_seconds()), ""],
    ]
    if tally.rated:
        low = "low" if tally.low else ""
        pairs.append(["Rated low", f"{tally.low:,} of {tally.rated:,} rated", low])
        pairs.append(["Lowest rating", f"{tally.lowest:g} of 5", low])
    if tally.failed:
        pairs.append(["Failed", page.count(tally.failed, "turn"), "bad"])
    said = [signal(one) for one in feedback if one.trace_id is None]
    return {"glance": pairs, "language": "", "earlier": [], "later": [], "turns": turns, "said": said, "facts": facts}
