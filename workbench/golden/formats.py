"""What a golden case looks like, and how a file of them is read: JSON Lines, one case a line.

triage:  {"text": "…", "label": "cards", "tags": {"language": "en", "intent": "card_lost", "confusion": "chargeback"}}

answers: {"question": "…", "evidence": ["entry-key"], "must_state": [["30 days", "one month"], ["free"]],
          "must_not_state": ["guaranteed"], "format": {"max_sentences": 2, "citation": true, "decline": false},
          "reference": "…", "tags": {…}}

Each item of `must_state` is one fact with its accepted wordings. Tags may also stand beside the content.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.core.canonical import content_hash
from workbench.core.errors import InvalidInput

GoldenTask = Literal["triage", "answers"]
TASKS: tuple[GoldenTask, ...] = ("triage", "answers")

MAX_CASES = 5_000
MAX_BYTES = 20_000_000
MAX_TEXT = 4_000
"""Longest text of a case, in characters."""
_SHOWN_ERRORS = 10

_CONTENT: dict[str, frozenset[str]] = {
    "triage": frozenset({"text", "label"}),
    "answers": frozenset({"question", "evidence", "must_state", "must_not_state", "format", "reference"}),
}
_FORMAT = frozenset({"max_sentences", "citation", "decline"})


@dataclass(frozen=True)
class Case:
    """A checked case that is not stored yet."""

    content: dict[str, Any]
    tags: dict[str, Any] = field(default_factory=dict)
    trace_id: str | None = None

    @property
    def case_hash(self) -> str:
        """Names what is asked and expected, wherever the case came from."""
        return content_hash({"content": self.content, "tags": self.tags})

    @property
    def text(self) -> str:
        """What is put before the model: never to be trained on."""
        return text_of(self.content)


def text_of(content: Mapping[str, Any]) -> str:
    """The text or question of a case's content."""
    return str(content.get("text") or content.get("question") or "")


def set_hash(task: str, case_hashes: list[str]) -> str:
    """The hash that names a version of a golden set."""
    return content_hash({"task": task, "cases": case_hashes})


def read_jsonl(task: str, data: bytes | str) -> list[Case]:
    """The cases of a JSON Lines file.

    Raises:
        InvalidInput: names every bad line by its number (the first ten); nothing of the file is used then.
    """
    if task not in TASKS:
        raise InvalidInput(f"There is no task {task!r}.", todo=f"Choose one of {', '.join(TASKS)}.")
    cases: list[Case] = []
    errors: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(_decoded(data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            case = parse_case(task, json.loads(line))
            key = " ".join(case.text.casefold().split())
            if key in seen:
                raise ValueError(f"the same text as in line {seen[key]}")
            seen[key] = number
            cases.append(case)
        except json.JSONDecodeError as error:
            errors.append(f"Line {number}: no JSON ({error.msg} at character {error.pos + 1}).")
        except ValueError as error:
            errors.append(f"Line {number}: {error}.")
    if errors:
        more = f" And {len(errors) - _SHOWN_ERRORS} more." if len(errors) > _SHOWN_ERRORS else ""
        raise InvalidInput(
            f"{len(errors)} of {len(errors) + len(cases)} lines cannot be used, so nothing was imported.",
            why=" ".join(errors[:_SHOWN_ERRORS]) + more,
            todo="Correct these lines and import the file again.",
        )
    if not cases:
        raise InvalidInput("The file holds no case.", todo="Write one JSON object a line.")
    if len(cases) > MAX_CASES:
        raise InvalidInput(f"The file holds {len(cases):,} cases; the most is {MAX_CASES:,}.")
    return cases


def parse_case(task: str, value: Any, *, trace_id: str | None = None) -> Case:
    """A case from one JSON object.

    Raises:
        ValueError: says what is wrong with it, as the end of a sentence.
    """
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    known = _CONTENT[task]
    given = value.get("tags", {})
    if not isinstance(given, dict):
        raise ValueError('"tags" must be an object such as {"language": "en"}')
    tags = dict(given)
    for name, item in value.items():
        if name in known or name in ("tags", "trace_id"):
            continue
        if isinstance(item, list | dict):
            raise ValueError(f'the field "{name}" is not known for the task {task}')
        tags.setdefault(name, item)
    for name, item in tags.items():
        if isinstance(item, list | dict):
            raise ValueError(f'the tag "{name}" must be a word, a number or true or false')
    content = _triage(value) if task == "triage" else _answers(value)
    return Case(
        content, {name: item for name, item in tags.items() if item not in (None, "")}, trace_id or value.get("trace_id")
    )


def _triage(value: dict[str, Any]) -> dict[str, Any]:
    return {"text": _text(value, "text"), "label": _text(value, "label")}


def _answers(value: dict[str, Any]) -> dict[str, Any]:
    form = value.get("format", {})
    if not isinstance(form, dict) or set(form) - _FORMAT:
        raise ValueError('"format" takes max_sentences, citation and decline only')
    most = form.get("max_sentences")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise ValueError('"max_sentences" must be a whole number from 1')
    for name in ("citation", "decline"):
        if not isinstance(form.get(name, False), bool):
            raise ValueError(f'"{name}" must be true or false')
    facts = value.get("must_state", [])
    if not isinstance(facts, list):
        raise ValueError('"must_state" must be a list of facts, each a list of wordings')
    wordings = [[fact] if isinstance(fact, str) else fact for fact in facts]
    for fact in wordings:
        if not isinstance(fact, list) or not fact or not all(isinstance(item, str) and item.strip() for item in fact):
            raise ValueError('each fact of "must_state" must be a list of wordings')
    kept = {"max_sentences": most, "citation": form.get("citation", False), "decline": form.get("decline", False)}
    content: dict[str, Any] = {
        "question": _text(value, "question"),
        "evidence": _texts(value, "evidence"),
        "must_state": wordings,
        "must_not_state": _texts(value, "must_not_state"),
        "format": kept,
        "reference": str(value.get("reference") or ""),
    }
    if not (wordings or content["must_not_state"] or any(kept.values())):
        raise ValueError("the case checks nothing: give must_state, must_not_state or format")
    if wordings and kept["decline"]:
        raise ValueError('a case that expects "decline" cannot also have facts in "must_state"')
    return content


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'"{name}" is missing or empty')
    if len(text) > MAX_TEXT:
        raise ValueError(f'"{name}" has {len(text):,} characters; the most is {MAX_TEXT:,}')
    return text.strip()


def _texts(value: dict[str, Any], name: str) -> list[str]:
    items = value.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError(f'"{name}" must be a list of texts')
    return [str(item) for item in items]


def _decoded(data: bytes | str) -> str:
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"The file is larger than {MAX_BYTES // 1_000_000} MB.", todo="Split it into several sets.")
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "The file is not UTF-8 text.", why=f"Byte {error.start} cannot be read.", todo="Save it as UTF-8."
        ) from error
