"""What an arm of a comparison does with a batch of cases: the same serving path that answers people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.core.unit_of_work import Context
from workbench.evaluation.scorers import declines
from workbench.serving.answer import AnswerService
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.ports import Runtime
from workbench.serving.result import Answer
from workbench.serving.triage import classify


@dataclass(frozen=True)
class Response:
    """What an arm said to one case."""

    output: str
    """The answer, or the label."""
    cited: tuple[str, ...] = ()
    """Keys of the knowledge entries the answer cites."""
    declined: bool | None = None
    """Whether it declined; None: not known."""
    details: dict[str, Any] = field(default_factory=dict)
    """What made it, as JSON."""


Respond = Callable[[ServingConfiguration, Sequence[str]], list[Response]]
"""Responses to the texts of cases, in their order. May raise Unavailable, which is worth another try."""


def answering(context: Context, runtime: Runtime) -> Respond:
    """Arms of the task `answers`."""
    service = AnswerService(context, runtime)

    def respond(configuration: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        return [_of_answer(answer) for answer in service.answer_many(configuration, list(texts))]

    return respond


def classifying(runtime: Runtime) -> Respond:
    """Arms of the task `triage`."""

    def respond(configuration: ServingConfiguration, texts: Sequence[str]) -> list[Response]:
        return [
            Response(found.label, details={"score": round(found.score, 4), "scores": _largest(found.scores)})
            for found in classify(configuration, runtime, texts)
        ]

    return respond


def _of_answer(answer: Answer) -> Response:
    details = {
        **answer.receipt(),
        "passages": [passage.version.key for passage in answer.passages],
        "written": answer.written,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "finish_reason": answer.finish_reason,
    }
    return Response(
        output=answer.text,
        cited=tuple(citation.key for citation in answer.citations),
        declined=answer.declined or declines(answer.text),
        details=details,
    )


def _largest(scores: dict[str, float], count: int = 4) -> dict[str, float]:
    ordered = sorted(scores.items(), key=lambda item: -item[1])[:count]
    return {label: round(value, 4) for label, value in ordered}
