"""Reads the authored text. One file a team, in blocks that a translator can edit without knowing Python.

A block starts with `@ key | team | kind | risk | review days | tags | title` for a knowledge entry, or with
`@ - | team | intent [| confusion]` for questions that no entry answers. `@ key | team | intent | confusion` adds questions
to an entry of another file. Lines of a block:

    src:   where the entry comes from            text:  the entry
    A en:  what the assistant says               Q en:  what a customer asks
    >      a person's rewrite of the answer to the question above
    !      the correction that the customer typed
    =      what the assistant said to this very question
    F en:  a further question || its answer
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEAM_FILES = (
    "cards",
    "disputes",
    "fraud",
    "lending",
    "instalments",
    "payments",
    "accounts",
    "savings",
    "digital",
    "complaints",
    "everyday",
    "confusions",
)
LANGUAGES = ("en", "es", "vi")


@dataclass
class Question:
    """What a customer asks, with everything authored about it."""

    text: str
    language: str
    team: str
    """The right team."""
    intent: str
    key: str | None
    """The knowledge entry that answers it; None: no entry does."""
    confusion: bool = False
    """Belongs to a planted confusion, so it is only asked late."""
    rewrite: str | None = None
    correction: str | None = None
    answer: str | None = None
    """A fixed answer of the assistant."""
    flag: str | None = None
    """A planted failure: pii or injection."""


@dataclass
class Block:
    """A knowledge entry or an unanswerable topic."""

    key: str | None
    team: str
    intent: str
    entry: dict[str, Any] | None = None
    """The line of knowledge.jsonl, without the text until it is read."""
    answers: dict[str, list[str]] = field(default_factory=dict)
    """What the assistant says, by language."""
    questions: list[Question] = field(default_factory=list)
    further: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class FollowUp:
    """A short turn that could follow any answer."""

    kind: str
    """thanks, again, human or detail."""
    language: str
    text: str
    answer: str | None


@dataclass(frozen=True)
class GoldenTriage:
    """One case of the triage golden set."""

    label: str
    language: str
    intent: str
    kind: str
    """plain, control (close to a confusion, but with the usual team) or confusion."""
    text: str


def blocks() -> list[Block]:
    """All blocks of all team files, in order."""
    return [block for name in TEAM_FILES for block in _blocks_of(HERE / f"{name}.txt")]


def _blocks_of(path: Path) -> list[Block]:
    found: list[Block] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if line.startswith("@"):
                found.append(_head(line))
            else:
                _line(found[-1], line)
        except (IndexError, KeyError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {line[:60]!r} cannot be read ({error}).") from error
    return found


def _head(line: str) -> Block:
    parts = [part.strip() for part in line[1:].split("|")]
    if len(parts) == 7:
        key, team, kind, risk, days, tags, title = parts
        entry: dict[str, Any] = {
            "key": key,
            "title": title,
            "kind": kind,
            "text": "",
            "language": "en",
            "tags": ([team] if team != "-" else []) + tags.split(","),
            "risk_tier": risk,
            "source": "",
            "review_in_days": int(days),
        }
        return Block(key, team, key.replace("-", "_"), entry)
    if parts[3:] not in ([], ["confusion"]):
        raise ValueError("the fourth part may only be 'confusion'")
    return Block(None if parts[0] == "-" else parts[0], parts[1], parts[2])


def _line(block: Block, line: str) -> None:
    mark, _, rest = line.partition(" ")
    rest = rest.strip()
    if mark in ("src:", "text:"):
        if block.entry is None:
            raise ValueError("only a knowledge entry has a text")
        block.entry["source" if mark == "src:" else "text"] = rest
    elif mark in ("A", "Q", "F"):
        language, _, text = rest.partition(": ")
        if language not in LANGUAGES or not text:
            raise ValueError("expected a language, a colon and a text")
        _spoken(block, mark, language, text)
    elif mark in (">", "!", "="):
        setattr(block.questions[-1], {">": "rewrite", "!": "correction", "=": "answer"}[mark], rest)
    else:
        raise ValueError("unknown mark")


def _spoken(block: Block, mark: str, language: str, text: str) -> None:
    if mark == "A":
        block.answers.setdefault(language, []).append(text)
    elif mark == "F":
        question, _, answer = text.partition(" || ")
        block.further.setdefault(language, []).append((question, answer))
    else:
        confusion = block.intent in ("chargeback_grace", "flexpay2", "pot_lock", "sim_swap") and block.entry is None
        block.questions.append(Question(text, language, block.team, block.intent, block.key, confusion))


def planted() -> list[Question]:
    """Questions whose trace must look exactly so."""
    found = []
    for row in _rows("planted.txt", 5):
        flag, team, language, key, rest = row
        texts = rest.split(" || ")
        found.append(
            Question(
                texts[0],
                language,
                team,
                key.replace("-", "_"),
                key,
                answer=texts[1],
                correction=texts[2] if len(texts) > 2 else None,
                flag=flag,
            )
        )
    return found


def follow_ups() -> list[FollowUp]:
    """Short turns for any topic."""
    found = []
    for kind, language, rest in _rows("follow_ups.txt", 3):
        text, _, answer = rest.partition(" || ")
        found.append(FollowUp(kind, language, text, answer or None))
    return found


def golden_triage() -> list[GoldenTriage]:
    """The triage golden set as written."""
    return [GoldenTriage(*row) for row in _rows("golden_triage.txt", 5)]


def golden_answers() -> list[dict[str, Any]]:
    """The answers golden set as written."""
    lines = (HERE / "golden_answers.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _rows(name: str, columns: int) -> list[list[str]]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [
        [part.strip() for part in line.split(" | ", columns - 1)] for line in lines if line.strip() and not line.startswith("#")
    ]
