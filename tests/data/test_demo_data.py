"""The shipped demo project holds what the pages, the tour and the bench rely on."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.golden import formats, leaks

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "data" / "demo"
sys.path.insert(0, str(ROOT / "scripts"))

from demo_text import checks  # noqa: E402


@pytest.fixture(scope="module")
def demo() -> checks.Demo:
    return checks.load(DEMO)


def test_the_shipped_files_keep_every_rule_that_needs_no_model(demo: checks.Demo) -> None:
    assert checks.run(demo) == []


def test_the_generator_writes_exactly_the_committed_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make_demo.py"), "--target", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(DEMO): path.read_bytes() for path in DEMO.rglob("*") if path.is_file()}
    assert sorted(made) == sorted(committed)
    assert [str(name) for name in made if made[name] != committed[name]] == []


def test_the_golden_files_are_read_by_the_golden_sets_own_reader(demo: checks.Demo) -> None:
    triage = formats.read_jsonl("triage", (DEMO / "triage" / "golden.jsonl").read_bytes())
    answers = formats.read_jsonl("answers", (DEMO / "answers_golden.jsonl").read_bytes())
    assert (len(triage), len(answers)) == (len(demo.triage_golden), len(demo.answers_golden))
    assert all({"language", "intent"} <= set(case.tags) for case in triage + answers)


def test_the_workbenchs_own_leak_check_finds_no_golden_case_in_training_texts(demo: checks.Demo) -> None:
    assert leaks.find_leaks(demo.training_texts(), demo.golden_texts()) == []


@pytest.mark.real_model
@pytest.mark.slow
def test_no_golden_case_means_the_same_as_a_training_text(demo: checks.Demo) -> None:
    assert checks.too_close(demo) == []


def _copied_case(demo: checks.Demo) -> checks.Demo:
    text = next(line["text"] for line in demo.v1 if len(line["text"].split()) > 9)
    return replace(demo, triage_golden=[demo.triage_golden[0] | {"text": f"Hello, {text}"}, *demo.triage_golden[1:]])


def _unknown_evidence(demo: checks.Demo) -> checks.Demo:
    return replace(demo, answers_golden=[demo.answers_golden[0] | {"evidence": ["no-such-entry"]}, *demo.answers_golden[1:]])


def _fact_not_in_evidence(demo: checks.Demo) -> checks.Demo:
    return replace(demo, answers_golden=[demo.answers_golden[0] | {"must_state": [["in 77 days"]]}, *demo.answers_golden[1:]])


def _known_flexpay(demo: checks.Demo) -> checks.Demo:
    return replace(demo, knowledge=[*demo.knowledge, demo.missing["entry"]])


def _late_example(demo: checks.Demo) -> checks.Demo:
    return replace(demo, v1=[*demo.v1, demo.v2[-1]])


def _repeated_trace(demo: checks.Demo) -> checks.Demo:
    return replace(demo, traces=[*demo.traces, demo.traces[0]])


def _uncited_rewrite(demo: checks.Demo) -> checks.Demo:
    return replace(demo, annotations=[*demo.annotations, _rewritten(demo, "You can do that in the app.")])


def _private_rewrite(demo: checks.Demo) -> checks.Demo:
    text = "I have no approved source for that. We write to sample@example.com."
    return replace(demo, annotations=[*demo.annotations, _rewritten(demo, text)])


def _rewritten(demo: checks.Demo, text: str) -> dict[str, Any]:
    return demo.annotations[0] | {"person": "expert2@demo.bank.example", "rewrite": text}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_copied_case, "shares"),
        (_unknown_evidence, "unknown evidence"),
        (_fact_not_in_evidence, "not in the evidence"),
        (_known_flexpay, "missing from the knowledge"),
        (_late_example, "after the confusions appeared"),
        (_repeated_trace, "appears 2 times"),
        (_uncited_rewrite, "must cite one known source or decline"),
        (_private_rewrite, "repeats personal data"),
    ],
)
def test_the_checks_notice_a_spoilt_file(
    demo: checks.Demo, spoil: Callable[[checks.Demo], checks.Demo], complaint: str
) -> None:
    assert any(complaint in failure for failure in checks.run(spoil(demo)))


def test_a_tool_call_carries_its_arguments_and_a_receipt(demo: checks.Demo) -> None:
    calls = [checks.attributes(span) for request in demo.traces for span in checks.spans(request)]
    receipts = [json.loads(call["gen_ai.tool.call.result"]) for call in calls if "gen_ai.tool.name" in call]
    assert receipts
    assert all(receipt["receipt_id"].startswith("R-") and receipt["time"].endswith("Z") for receipt in receipts)
    assert any(receipt.get("amount") for receipt in receipts)
