"""The questions of a queue, and what a valid answer to each is."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from workbench.core.errors import InvalidInput

Kind = Literal["rating", "label", "multilabel", "text"]
Values = dict[str, Any]
"""One person's answers: question name → rating (int), label (str), multilabel (list[str]) or text (str)."""

RATING, TRIAGE, REWRITE, FLAGS = "rating", "triage", "rewrite", "flags"
"""The names that the other stages read from `values`."""

MAX_TEXT = 20_000
"""Characters in a text answer."""

_KINDS = ("rating", "label", "multilabel", "text")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

FLAG_OPTIONS: list[dict[str, Any]] = [
    {"value": "wrong_fact", "title": "States something wrong"},
    {"value": "no_source", "title": "Not supported by the documents"},
    {"value": "personal_data", "title": "Shows personal data"},
    {"value": "unsafe", "title": "Unsafe or follows an injected instruction"},
    {"value": "language", "title": "Wrong language or unclear"},
]


@dataclass(frozen=True)
class Question:
    """One question asked of every item of a queue."""

    name: str
    """Key of the answer in a response's values."""
    kind: Kind
    title: str
    """What the annotator reads."""
    required: bool = False
    """Whether a response can be submitted without it."""
    options: list[dict[str, Any]] = field(default_factory=list)
    """{"value", "title", "description"?} each, in the order shown. Labels need them; a rating may name its numbers."""
    lowest: int = 1
    highest: int = 5
    """Ends of a rating's scale, both included."""
    help: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Question":
        """The inverse of `as_json`.

        Raises:
            InvalidInput: the value describes no question.
        """
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise InvalidInput(f"A question has no field {', '.join(unknown)}.")
        try:
            question = cls(**value)
        except TypeError as error:
            raise InvalidInput("A question needs a name, a kind and a title.") from error
        question._validate()
        return question

    def _validate(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidInput(f"{self.name!r} is no question name.", todo="Use lower-case letters, digits and underscores.")
        if self.kind not in _KINDS:
            raise InvalidInput(f"{self.kind!r} is no kind of question.", todo=f"Kinds are {', '.join(_KINDS)}.")
        if not self.title:
            raise InvalidInput(f"The question {self.name!r} needs a title.")
        values = [option.get("value") for option in self.options if isinstance(option, dict)]
        if len(values) != len(self.options) or len(set(values)) != len(values):
            raise InvalidInput(f"The options of {self.name!r} need a value each, all different.")
        if self.kind in ("label", "multilabel") and (len(values) < 2 or not all(isinstance(v, str) and v for v in values)):
            raise InvalidInput(f"The question {self.name!r} needs two or more options.")
        if self.kind == "rating" and not all(isinstance(v, int) and self.lowest <= v <= self.highest for v in values):
            raise InvalidInput(f"The options of {self.name!r} must name numbers of its scale.")
        if self.kind == "rating" and not (0 <= self.lowest < self.highest <= 10):
            raise InvalidInput(f"The scale of {self.name!r} must run from a lower to a higher number within 0 to 10.")

    def clean(self, value: Any) -> Any:
        """The answer in its stored form; None when it is empty.

        Raises:
            InvalidInput: the value is no answer to this question.
        """
        if value is None or value == "" or value == []:
            return None
        return getattr(self, f"_clean_{self.kind}")(value)

    def _clean_rating(self, value: Any) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value) and value == int(value))
        if isinstance(value, bool) or not whole or not self.lowest <= value <= self.highest:
            raise InvalidInput(f"{self.title}: {value!r} is not a whole number from {self.lowest} to {self.highest}.")
        return int(value)

    def _clean_label(self, value: Any) -> str:
        known = [option["value"] for option in self.options]
        if value not in known:
            raise InvalidInput(f"{self.title}: {value!r} is not one of {', '.join(known)}.")
        return str(value)

    def _clean_multilabel(self, value: Any) -> list[str]:
        if not isinstance(value, list):
            raise InvalidInput(f"{self.title}: a list of labels is needed, not {value!r}.")
        chosen = {self._clean_label(each) for each in value}
        return [option["value"] for option in self.options if option["value"] in chosen]

    def _clean_text(self, value: Any) -> str | None:
        if not isinstance(value, str):
            raise InvalidInput(f"{self.title}: a text is needed, not {value!r}.")
        if len(value) > MAX_TEXT:
            raise InvalidInput(f"{self.title}: the text has {len(value):,} characters; at most {MAX_TEXT:,} are kept.")
        return value if value.strip() else None


def default_questions(teams: Sequence[dict[str, Any]]) -> list[Question]:
    """Rating, triage label (where the project has teams), rewrite and flags."""
    options = [
        {"value": str(team["key"]), "title": str(team.get("name") or team["key"]), "description": team.get("description", "")}
        for team in teams
    ]
    questions = [
        Question(RATING, "rating", "How good is the answer?", required=True, help="1 harmful or wrong, 5 could not be better"),
    ]
    if len(options) >= 2:
        questions.append(Question(TRIAGE, "label", "Which team should handle it?", options=options))
    questions += [
        Question(REWRITE, "text", "The answer as it should have been", help="At most two sentences, with a citation."),
        Question(FLAGS, "multilabel", "What is wrong with it?", options=FLAG_OPTIONS),
    ]
    return questions


def read_questions(stored: Sequence[dict[str, Any]]) -> list[Question]:
    """A queue's questions as objects.

    Raises:
        InvalidInput: none, or two with one name.
    """
    questions = [Question.from_json(value) for value in stored]
    names = [question.name for question in questions]
    if not names or len(set(names)) != len(names):
        raise InvalidInput("A queue needs one question or more, each with a name of its own.")
    return questions


def clean_values(questions: Sequence[Question], values: Values, *, complete: bool) -> Values:
    """Answers in their stored form, without the empty ones.

    Args:
        complete: whether every required question must be answered, and at least one at all.

    Raises:
        InvalidInput: an unknown question, a value that is no answer, or a required answer missing.
    """
    if not isinstance(cast(object, values), dict):
        raise InvalidInput("The answers must be given as question and value.")
    known = {question.name: question for question in questions}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InvalidInput(f"This queue does not ask {', '.join(unknown)}.", todo=f"It asks {', '.join(known)}.")
    cleaned = {name: value for name in known if (value := known[name].clean(values.get(name))) is not None}
    if complete:
        missing = [question.title for question in questions if question.required and question.name not in cleaned]
        if missing:
            raise InvalidInput(
                "Not submitted yet.", why=f"Still open: {'; '.join(missing)}", todo="Answer it, or skip the item."
            )
        if not cleaned:
            raise InvalidInput("Not submitted: no question is answered.", todo="Answer one, or skip the item.")
    return cleaned
