"""How far annotators agree, and where they do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.annotation.queries import SubmittedResponse
from workbench.core.errors import InvalidInput

Level = Literal["nominal", "ordinal", "interval"]

_RESAMPLES = 500


class NotEnoughOverlap(InvalidInput):
    """Too few items carry two answers."""


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha of one question."""

    alpha: float
    """From -1 to 1; .800 is good, .667 tentative, 0 is chance."""
    low: float
    high: float
    """Its 95% bootstrap interval over items."""
    items: int
    """Items with two answers or more."""
    people: int


@dataclass(frozen=True)
class Disagreement:
    """An item that people answered differently."""

    item_id: str
    trace_id: str
    answers: dict[str, Any]
    """Person id → answer."""


def agreement(responses: Sequence[SubmittedResponse], question: str, level: Level) -> Agreement:
    """Agreement of several annotators over one question.

    Args:
        responses: submissions that count, as `queries.submitted` gives them. Missing pairs are allowed.
        level: how far apart two values are: nominal for labels, ordinal for ratings.

    Raises:
        NotEnoughOverlap: fewer than two items carry two answers.

    Source: Krippendorff, Content Analysis (2018), ch. 12; the `krippendorff` package computes alpha.
    """
    import numpy
    from krippendorff import alpha as krippendorff_alpha

    answers = _paired(responses, question)
    people = sorted({person for given in answers.values() for person in given})
    if len(answers) < 2:
        raise NotEnoughOverlap(
            f"Agreement on {question!r} needs two items that two people answered; there {_are(len(answers))}.",
            todo="Ask for two responses per item in a queue.",
        )
    values = {value for given in answers.values() for value in given.values()}
    items = sorted(answers)
    if len(values) == 1:
        return Agreement(1.0, 1.0, 1.0, len(items), len(people))
    code = {value: number for number, value in enumerate(sorted(values, key=lambda value: (str(type(value)), value)))}
    table = numpy.full((len(people), len(items)), numpy.nan)
    for column, item in enumerate(items):
        for person, value in answers[item].items():
            table[people.index(person), column] = float(value) if level != "nominal" else float(code[value])

    def alpha_of(part: Any) -> float:
        known = part[~numpy.isnan(part)]
        if known.size and (known == known[0]).all():
            return 1.0
        return float(krippendorff_alpha(reliability_data=part, level_of_measurement=level))

    random = numpy.random.default_rng(20_260)
    samples = [alpha_of(table[:, random.integers(0, len(items), len(items))]) for _ in range(_RESAMPLES)]
    low, high = numpy.percentile(samples, [2.5, 97.5])
    return Agreement(alpha_of(table), float(low), float(high), len(items), len(people))


def disagreements(responses: Sequence[SubmittedResponse], question: str) -> list[Disagreement]:
    """Items that two people or more answered, not all alike, in order of item."""
    traces = {response.item_id: response.trace_id for response in responses}
    return [
        Disagreement(item, traces[item], given)
        for item, given in sorted(_paired(responses, question).items())
        if len(set(given.values())) > 1
    ]


def _paired(responses: Sequence[SubmittedResponse], question: str) -> dict[str, dict[str, Any]]:
    """Item id → person id → answer, for items with two answers or more."""
    answers: dict[str, dict[str, Any]] = {}
    for response in responses:
        value = response.values.get(question)
        if value is not None and not isinstance(value, list):
            answers.setdefault(response.item_id, {})[response.person_id] = value
    return {item: given for item, given in answers.items() if len(given) >= 2}


def _are(number: int) -> str:
    return "is one" if number == 1 else "is none"
