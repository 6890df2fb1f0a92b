"""What is checked before a version can be frozen."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from workbench.core.errors import Unavailable
from workbench.datasets.builder import Collected
from workbench.datasets.rows import Row
from workbench.datasets.settings import BuildSettings
from workbench.golden.leaks import find_leaks
from workbench.traces.masking.detectors import detectors_of
from workbench.traces.masking.policy import MaskingPolicy, default_policy

NEAR = 0.9
"""Cosine from which a question counts as a near-duplicate of a golden one."""

_KINDS = {
    "EMAIL": "e-mail address", "CARD": "card number", "IBAN": "account number", "PHONE": "phone number", "ID": "national id",
    "SECRET": "secret",
}  # fmt: skip
_EVERYTHING = default_policy(["en", "es", "vi", "de", "fr", "it", "pt"])
"""Where no project's rules are at hand."""
_CITATION = re.compile(r"\[([^\[\]\s]{2,80})\]")


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Worth knowing."""
    REASON = "reason"
    """Freezing takes a written reason."""
    STOP = "stop"
    """It cannot be frozen."""


@dataclass(frozen=True)
class Check:
    """One check and what it found."""

    name: str
    level: Level
    text: str
    todo: str = ""
    traces: list[str] = field(default_factory=list)
    """The rows it is about, by trace id."""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "level": self.level.value, "text": self.text, "todo": self.todo, "traces": self.traces[:50]}


class Embedder(Protocol):
    """Unit vectors of texts; the runtime's client is one."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises Unavailable when it cannot answer."""
        ...


def examine(found: Collected, settings: BuildSettings, golden: Sequence[str], embedder: Embedder | None) -> list[Check]:
    """Run every check over the collected rows; rows that must go are moved to `found.excluded`.

    Args:
        golden: texts of golden cases.
        embedder: None: near-duplicates are not looked for, as in a quick preview.
    """
    checks = [_personal_data(found, settings), _shared_words(found, settings, golden)]
    if embedder is not None:
        checks.append(_near_duplicates(found, settings, golden, embedder))
    checks += [_left_out(found), _sides(found.rows, settings)]
    checks.append(_labels(found.rows) if settings.task == "triage" else _citations(found.rows))
    return checks


def personal_data(text: str, policy: MaskingPolicy = _EVERYTHING) -> list[str]:
    """Kinds of personal data that a text seems to hold, such as `e-mail address`, found as masking finds them."""
    kinds = {hit.kind for hit in detectors_of(policy).find(text)}
    return [words for kind, words in _KINDS.items() if kind in kinds]


def shared_words(rows: Sequence[Row], golden: Sequence[str]) -> dict[int, str]:
    """Index of a row → the words it shares with a golden case."""
    texts = ["\n".join(row.content.values()) for row in rows]
    return {leak.position: leak.shared for leak in find_leaks(texts, golden)}


def _personal_data(found: Collected, settings: BuildSettings) -> Check:
    name, hit, kept = "Personal data", [], []
    for row in found.rows:
        kinds = sorted(set(personal_data(row.question) + personal_data(row.answer)))
        if kinds:
            hit.append(row.trace_id)
            row.notes.append(f"looks like {' and '.join(kinds)}")
        if kinds and settings.exclude_personal_data:
            found.drop(row, f"looks like {' and '.join(kinds)}")
        else:
            kept.append(row)
    found.rows = kept
    if not hit:
        return Check(name, Level.OK, "No e-mail address, card, account, phone number, national id or secret was found.")
    if settings.exclude_personal_data:
        return Check(name, Level.NOTE, f"{_rows(len(hit))} with personal data left out.", traces=hit)
    return Check(
        name, Level.REASON, f"{_rows(len(hit))} seem to hold personal data.", "Leave them out, or say why they stay.", hit
    )


def _shared_words(found: Collected, settings: BuildSettings, golden: Sequence[str]) -> Check:
    name = "Golden text, word by word"
    if not golden:
        return Check(name, Level.NOTE, "The project has no golden set yet, so there was nothing to compare with.")
    leaks = shared_words(found.rows, golden)
    traces = [found.rows[index].trace_id for index in leaks]
    if not leaks:
        return Check(name, Level.OK, f"No row shares 8 words in a row with any of {len(golden)} golden texts.")
    if not settings.exclude_leaks:
        return Check(
            name, Level.STOP, f"{_rows(len(leaks))} hold golden text.", "A model cannot be tested on what it learned.", traces
        )
    _drop(found, {index: f"shares golden text: “{words}”" for index, words in leaks.items()})
    return Check(name, Level.NOTE, f"{_rows(len(leaks))} that hold golden text left out.", traces=traces)


def _near_duplicates(found: Collected, settings: BuildSettings, golden: Sequence[str], embedder: Embedder) -> Check:
    name = "Golden text, by meaning"
    if not golden or not found.rows:
        return Check(name, Level.NOTE, "There was nothing to compare.")
    import numpy

    try:
        vectors = numpy.asarray(embedder.embed([*(row.question for row in found.rows), *golden]))
    except Unavailable as error:
        return Check(
            name, Level.REASON, f"Not checked: {error.what}", "Build it again when the runtime answers, or say why it is safe."
        )
    cosine = (vectors[: len(found.rows)] @ vectors[len(found.rows) :].T).max(axis=1)
    near = {int(index): f"means nearly the same as a golden case (cosine {cosine[index]:.2f})"
            for index in numpy.flatnonzero(cosine >= NEAR)}  # fmt: skip
    traces = [found.rows[index].trace_id for index in near]
    if not near:
        return Check(name, Level.OK, f"No question comes near a golden one; the nearest has a cosine of {cosine.max():.2f}.")
    if not settings.exclude_leaks:
        todo = "A model cannot be tested on what it learned."
        return Check(name, Level.STOP, f"{_rows(len(near))} are near a golden case.", todo, traces)
    _drop(found, near)
    return Check(name, Level.NOTE, f"{_rows(len(near))} near a golden case left out.", traces=traces)


def _left_out(found: Collected) -> Check:
    name = "Left out"
    if not found.excluded:
        return Check(name, Level.OK, "Nothing that was selected had to be left out.")
    reasons = Counter(re.split(r": | \(| the labels ", each.reason)[0] for each in found.excluded)
    text = "; ".join(f"{number} × {reason}" for reason, number in reasons.most_common(6))
    return Check(name, Level.NOTE, f"{len(found.excluded)} left out: {text}.")


def _sides(rows: Sequence[Row], settings: BuildSettings) -> Check:
    held_out = sum(row.split == "validation" for row in rows)
    if not held_out and settings.validation_share:
        return Check("Held out", Level.NOTE, "Nothing is held out: there are too few sessions.", "Raise the share held out.")
    return Check("Held out", Level.OK, f"{len(rows) - held_out} to train on, {held_out} held out; no session is on both sides.")


def _labels(rows: Sequence[Row]) -> Check:
    counts = Counter(row.content["label"] for row in rows if row.split == "train")
    few = sorted(label for label in {row.content["label"] for row in rows} if counts[label] < 4)
    if few:
        return Check("Labels", Level.NOTE, f"Fewer than 4 examples to train on: {', '.join(few)}.", "Annotate more of them.")
    return Check("Labels", Level.OK, f"{len(counts)} labels, the rarest with {min(counts.values(), default=0)} examples.")


def _citations(rows: Sequence[Row]) -> Check:
    """A completion that cites what its prompt does not show teaches the model to invent sources."""
    unseen = []
    for row in rows:
        missing = [key for key in _CITATION.findall(row.answer) if f"[{key}]" not in row.content["prompt"]]
        if missing:
            unseen.append(row.trace_id)
            row.notes.append(f"cites {', '.join(missing)}, which its prompt does not show")
    if unseen:
        text = f"{_rows(len(unseen))} cite a document that the prompt does not show."
        return Check("Citations", Level.NOTE, text, "Look at them: a model may learn to invent sources.", unseen)
    return Check("Citations", Level.OK, "Every citation stands in its prompt.")


def _drop(found: Collected, reasons: dict[int, str]) -> None:
    for index, reason in reasons.items():
        found.drop(found.rows[index], reason)
    found.rows = [row for index, row in enumerate(found.rows) if index not in reasons]


def _rows(number: int) -> str:
    return "1 row" if number == 1 else f"{number} rows"
