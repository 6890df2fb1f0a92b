"""Golden files for tests."""

import json
from typing import Any


def jsonl(*rows: dict[str, Any]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def triage_row(text: str = "My card was stolen abroad", label: str = "cards", **tags: Any) -> dict[str, Any]:
    return {"text": text, "label": label, "tags": {"language": "en", **tags}}


def answer_row(question: str = "What does a transfer cost?", **changes: Any) -> dict[str, Any]:
    return {
        "question": question,
        "evidence": ["transfer-fees"],
        "must_state": [["2 EUR", "two euros"]],
        "must_not_state": ["free of charge"],
        "format": {"max_sentences": 2, "citation": True, "decline": False},
        "reference": "A transfer costs 2 EUR [transfer-fees].",
        "tags": {"language": "en", "intent": "fees"},
        **changes,
    }
