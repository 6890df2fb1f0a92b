"""Assembles the demo project in data/demo from the authored text in scripts/demo_text.

python scripts/make_demo.py           writes the files; the same bytes on every machine and day
python scripts/make_demo.py --check   checks the written files: counts, forms, leaks; needs the embedding model
python scripts/make_demo.py --check --fast   the same without the embedding model
"""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from demo_text import checks, otlp, plan, reader, wording, work

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "data" / "demo"


def write(target: Path) -> None:
    """Writes every file of the demo project into a folder. Traces of an earlier run are replaced."""
    planner = plan.Planner()
    turns = planner.plan()
    first, since, open_items = work.chosen(turns)
    shutil.rmtree(target / "traces", ignore_errors=True)
    weeks: dict[int, list[Any]] = defaultdict(list)
    for turn in turns:
        weeks[turn.day // 7 + 1].append(otlp.request(turn))
    for week, requests in weeks.items():
        _lines(target / "traces" / f"week-{week}.jsonl", requests)
    _lines(target / "feedback.jsonl", work.feedback(turns))
    _lines(target / "knowledge.jsonl", [b.entry for b in planner.blocks if b.entry])
    _lines(target / "annotations.jsonl", work.annotations(first, since))
    _json(target / "queue.json", work.queue(open_items))
    v1 = work.triage_examples(first)
    _lines(target / "triage" / "v1_train.jsonl", v1)
    _lines(target / "triage" / "v2_train.jsonl", v1 + work.triage_examples(since, start=len(v1) + 1))
    _lines(target / "triage" / "golden.jsonl", [_triage_case(n, case) for n, case in enumerate(reader.golden_triage(), 1)])
    teams = {b.key: b.team for b in planner.blocks if b.entry}
    _lines(target / "answers_golden.jsonl", [_answer_case(n, c, teams) for n, c in enumerate(reader.golden_answers(), 1)])
    _json(target / "missing_knowledge.json", json.loads((reader.HERE / "missing.json").read_text(encoding="utf-8")))
    (target / "guidelines.md").write_text((reader.HERE / "guidelines.md").read_text(encoding="utf-8"), encoding="utf-8")
    _json(target / "schema.json", _schema())
    _json(target / "prompts.json", _prompts())
    _json(target / "people.json", [{"email": f"{k}@{wording.DOMAIN}", "name": n, "roles": r} for k, n, r in wording.PEOPLE])
    _json(target / "project.json", _project())


def _triage_case(number: int, case: reader.GoldenTriage) -> dict[str, Any]:
    tags = {"language": case.language, "intent": case.intent.replace("-", "_"), "kind": case.kind}
    if case.kind == "confusion":
        tags["confusion"] = case.intent
    return {"id": f"triage-golden-{number:03}", "text": case.text, "label": case.label, "tags": tags}


def _answer_case(number: int, case: dict[str, Any], teams: dict[str | None, str]) -> dict[str, Any]:
    evidence = case.get("ev", [])
    declines = not evidence
    return {
        "id": f"answers-golden-{number:03}",
        "question": case["q"],
        "language": case["lang"],
        "intent": case["intent"] if declines else evidence[0].replace("-", "_"),
        "team": case["team"] if declines else teams[evidence[0]],
        "evidence": evidence,
        "must_state": case.get("must", []),
        "must_not_state": case["not"],
        "format": {"max_sentences": 2, "citation": not declines, "decline": declines},
        "reference": case["ref"],
    }


def _schema() -> dict[str, Any]:
    ratings = {1: "harmful", 2: "mostly wrong", 3: "partly right", 4: "right, a detail is missing", 5: "right and complete"}
    return {
        "questions": [
            {
                "name": "rating",
                "title": "How good is the answer?",
                "kind": "rating",
                "options": [{"value": value, "title": title} for value, title in ratings.items()],
                "required": True,
            },
            {
                "name": "triage",
                "title": "Which team can finish this case?",
                "kind": "label",
                "options": [{"value": k, "title": t, "description": d} for k, (t, d) in wording.TEAMS.items()],
                "required": True,
            },
            {
                "name": "rewrite",
                "title": "What should the assistant have said?",
                "kind": "text",
                "options": [],
                "required": False,
            },
            {
                "name": "flags",
                "title": "What else is wrong?",
                "kind": "multilabel",
                "options": [{"value": value, "title": title} for value, title in wording.FLAGS.items()],
                "required": False,
            },
        ]
    }


def _prompts() -> dict[str, Any]:
    """Prompt version 1, in the form that the workbench reads."""
    return {
        "name": "assistant",
        "content": {
            "system": wording.SYSTEM_PROMPT,
            "template": "{system}\n\n{examples}Evidence:\n{evidence}\nQuestion: {question}\nAnswer:",
            "few_shot": [wording.FEW_SHOT],
            "parameters": {"max_new_tokens": 60, "temperature": 0.0, "prompt_tokens": 300, "stop": ["\n"]},
        },
    }


def _project() -> dict[str, Any]:
    return {
        "key": "demo-bank",
        "name": "Demo bank assistant",
        "description": "The chat assistant of a fictional retail bank. It answers customers in English, Spanish and Vietnamese "
        "from certified knowledge and sends each case to one of ten teams.",
        "teams": [{"key": key, "name": name, "description": text} for key, (name, text) in wording.TEAMS.items()],
        "languages": list(reader.LANGUAGES),
        "currency": "EUR",
        "reference_time": plan.REFERENCE.isoformat().replace("+00:00", "Z"),
        "confusions_from_day": plan.CONFUSIONS_FROM,
        "days": plan.DAYS,
    }


def _lines(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Assemble or check the demo project in data/demo.")
    parser.add_argument("--check", action="store_true", help="check the written files instead of writing them")
    parser.add_argument("--fast", action="store_true", help="with --check: leave out what needs the embedding model")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder of the demo project")
    arguments = parser.parse_args()
    if not arguments.check:
        write(arguments.target)
        print(f"Wrote the demo project to {arguments.target}.")
        return 0
    demo = checks.load(arguments.target)
    failures = checks.run(demo)
    if not arguments.fast:
        failures += checks.too_close(demo)
    for line in checks.summary(demo):
        print(line)
    for failure in failures:
        print("FAILED:", failure)
    print("All checks hold." if not failures else f"{len(failures)} checks failed.")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
