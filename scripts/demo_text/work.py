"""What people did with the traces: feedback of customers, responses of annotators, the open queue, the triage examples."""

import random
from datetime import datetime, timedelta
from typing import Any

from demo_text import wording
from demo_text.plan import CONFUSIONS_FROM, REFERENCE, SEED, Turn

V1_SIZE = 280
QUEUE_SIZE = 40
_DOUBLE_SHARE = 0.16

_STARS = {
    "good": (4, 5, 5, 5, 4, 3),
    "weak": (3, 4, 4, 3, 2),
    "handed_over": (3, 4, 2),
    "wrong_language": (1, 2, 2, 3),
    "stale": (1, 2, 2),
    "wrong": (1, 2, 1, 3),
    "missing": (1, 1, 2),
    "invented": (5, 2, 1, 4),
    "pii": (2, 3, 1),
    "injection": (1,),
    "broken": (1, 2),
}
_RATING = {
    "good": (5, 5, 4, 5),
    "weak": (4, 3, 4),
    "handed_over": (4, 3),
    "wrong_language": (2, 2, 3),
    "stale": (2,),
    "wrong": (2, 1, 2),
    "missing": (1, 2, 1),
    "invented": (1, 1, 2),
    "pii": (1,),
    "injection": (1,),
    "broken": (2, 1),
}
_FLAGS = {
    "wrong_language": ["wrong_language"],
    "stale": ["stale_source"],
    "missing": ["missing_knowledge"],
    "invented": ["missing_knowledge", "unsafe"],
    "pii": ["personal_data"],
    "injection": ["injection", "unsafe"],
}


def feedback(turns: list[Turn]) -> list[dict[str, Any]]:
    """All signals, oldest first."""
    luck = random.Random(SEED + 1)
    lines: list[dict[str, Any]] = []
    for turn in turns:
        lines += _explicit(turn, luck)
        lines += _implicit(turn, luck)
    return sorted(lines, key=lambda line: (line["at"], line["trace_id"], line["name"]))


def _explicit(turn: Turn, luck: random.Random) -> list[dict[str, Any]]:
    stars = luck.choice(_STARS[turn.quality])
    bad = stars <= 2
    group = "wrong_language" if turn.quality == "wrong_language" else "bad" if bad else "good"
    comment = luck.choice(wording.COMMENTS[group]) if luck.random() < (0.4 if bad else 0.12) else None
    lines = []
    draw = luck.random()
    share = 0.5 if bad else 0.3
    if turn.question is None:
        share /= 3
    if draw < share * 0.55:
        lines.append(_signal(turn, luck, "rating", "float", float(stars), range=[1, 5], comment=comment))
    elif draw < share:
        lines.append(_signal(turn, luck, "thumb", "boolean", stars > 3, comment=comment))
    if turn.question and turn.question.correction:
        lines.append(_signal(turn, luck, "correction", "correction", turn.question.correction))
    return lines


def _implicit(turn: Turn, luck: random.Random) -> list[dict[str, Any]]:
    names = {"again": "asked_again", "human": "escalated", "thanks": "task_completed"}
    name = names.get(turn.followed_by or "")
    if name is None and turn.quality == "handed_over":
        name = "escalated"
    if name is None and turn.quality == "good" and (turn.tool or luck.random() < 0.25):
        name = "task_completed"
    return [_signal(turn, luck, name, "boolean", True, source="implicit")] if name else []


def _signal(turn: Turn, luck: random.Random, name: str, kind: str, value: Any, **more: Any) -> dict[str, Any]:
    at = min(turn.at + timedelta(seconds=luck.uniform(25, 240)), REFERENCE - timedelta(seconds=1))
    given = {key: item for key, item in more.items() if item is not None}
    return {
        "trace_id": turn.trace_id,
        "name": name,
        "kind": kind,
        "value": value,
        "source": "end_user",
        **given,
        "at": _iso(at),
    }


def chosen(turns: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """Traces annotated before the confusions appeared, traces annotated since, and the open queue in its order."""
    luck = random.Random(SEED + 2)
    asked = [t for t in turns if t.question and not t.question.flag and t.quality != "broken"]
    early = [t for t in asked if t.day < CONFUSIONS_FROM]
    spare = sorted(early, key=lambda t: (t.question.rewrite is not None, luck.random()) if t.question else (False, 0.0))
    dropped = {t.trace_id for t in spare[: len(early) - V1_SIZE]}
    first = [t for t in early if t.trace_id not in dropped]
    confusing = [t for t in asked if t.question and t.question.confusion and t.day < 58]
    kept_open = set()
    for intent, count in (("flexpay2", 11), ("chargeback_grace", 7), ("pot_lock", 2), ("sim_swap", 2)):
        mine = [t for t in confusing if t.intent == intent and t.question and t.question.rewrite is None]
        luck.shuffle(mine)
        kept_open |= {t.trace_id for t in mine[:count]}
    since = [t for t in confusing if t.trace_id not in kept_open]
    plain = [
        t for t in asked if t.question and not t.question.confusion and CONFUSIONS_FROM <= t.day < 58 and t.question.rewrite
    ]
    luck.shuffle(plain)
    since = sorted(since + plain[:16], key=lambda t: t.at)
    return first, since, _queue(turns, {t.trace_id for t in first + since})


def _queue(turns: list[Turn], done: set[str]) -> list[Turn]:
    """Open items, the most harmful and most frequent problems first, languages mixed."""
    order = ("injection", "missing", "pii", "wrong", "stale", "invented", "wrong_language", "handed_over", "weak")
    limits = {"missing": 12, "pii": 5, "wrong": 10, "stale": 4, "invented": 4, "wrong_language": 6}
    picked: list[Turn] = []
    for quality in order:
        mine = [t for t in turns if t.question and t.quality == quality and t.trace_id not in done]
        mine.sort(key=lambda t: (not (t.question and t.question.confusion), -t.at.timestamp()))
        picked += mine[: limits.get(quality, 3)]
    picked = picked[:QUEUE_SIZE]
    # A person who sees ten times the same question in a row reads the eleventh badly: deal the intents out in turn.
    dealt: list[Turn] = []
    piles: dict[str, list[Turn]] = {}
    for turn in picked:
        piles.setdefault(turn.intent if turn.question and turn.question.confusion else turn.quality, []).append(turn)
    while any(piles.values()):
        dealt += [pile.pop(0) for pile in piles.values() if pile]
    return dealt


def queue(items: list[Turn]) -> dict[str, Any]:
    """The open queue as a file."""
    reasons = {
        "missing": "low rated; no document covers FlexPay 2.0",
        "injection": "the answer asks for a PIN",
        "pii": "the answer repeats personal data",
        "stale": "the customer contradicts the rate",
        "wrong": "low rated or sent to the wrong team",
        "invented": "no document supports the answer",
        "wrong_language": "answered in another language",
        "handed_over": "handed to a person",
        "weak": "incomplete answer",
    }
    return {
        "key": "weak-answers",
        "name": "Weak answers of the last weeks",
        "responses_required": 1,
        "items": [{"trace_id": turn.trace_id, "reason": reasons[turn.quality]} for turn in items],
    }


def annotations(first: list[Turn], since: list[Turn]) -> list[dict[str, Any]]:
    """Submitted responses, oldest first; about one item in six carries two."""
    luck = random.Random(SEED + 3)
    lines = []
    for turn in [*first, *since]:
        first_person = luck.choices(("annotator", "annotator2", "expert"), (58, 36, 6))[0]
        line = _response(turn, luck, first_person)
        lines.append(line)
        if luck.random() < _DOUBLE_SHARE:
            lines.append(_second(turn, luck, line))
    return sorted(lines, key=lambda line: (line["at"], line["trace_id"], line["person"]))


def _response(turn: Turn, luck: random.Random, person: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "trace_id": turn.trace_id,
        "person": f"{person}@{wording.DOMAIN}",
        "rating": luck.choice(_RATING[turn.quality]),
        "triage": turn.team,
    }
    rewrite = turn.question.rewrite if turn.question else None
    if rewrite and (turn.quality != "good" or luck.random() < 0.62):
        line["rewrite"] = rewrite
    line["flags"] = list(_FLAGS.get(turn.quality, []))
    note = "grace" if turn.intent == "chargeback_grace" else turn.quality
    if note in wording.NOTES and luck.random() < 0.35:
        line["note"] = wording.NOTES[note]
    line["at"] = _iso(_later(turn.at, luck))
    return line


def _second(turn: Turn, luck: random.Random, line: dict[str, Any]) -> dict[str, Any]:
    person = "annotator2" if line["person"].startswith("annotator@") else "annotator"
    rating, triage = line["rating"], turn.team
    if luck.random() < 0.4:
        rating = min(5, max(1, rating + luck.choice((-1, 1))))
    if luck.random() < 0.22:
        triage = turn.label if turn.label != turn.team else wording.NEIGHBOUR[turn.team]
    return {
        "trace_id": turn.trace_id,
        "person": f"{person}@{wording.DOMAIN}",
        "rating": rating,
        "triage": triage,
        "flags": line["flags"] if luck.random() < 0.8 else [],
        "at": _iso(_later(turn.at, luck)),
    }


def _later(at: datetime, luck: random.Random) -> datetime:
    return min(at + timedelta(hours=luck.uniform(5, 70)), REFERENCE - timedelta(minutes=luck.uniform(20, 600)))


def triage_examples(turns: list[Turn], start: int = 1) -> list[dict[str, Any]]:
    """Lines of a triage training file."""
    return [
        {
            "id": f"triage-{number:04}",
            "text": turn.text,
            "label": turn.team,
            "language": turn.language,
            "intent": turn.intent,
            "trace_id": turn.trace_id,
        }
        for number, turn in enumerate(turns, start=start)
    ]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
