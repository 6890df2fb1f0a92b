"""What the live release would say to an item's question, as suggestions that stay marked as machine-made."""

from workbench.annotation.queries import get_item, get_queue
from workbench.annotation.schema import REWRITE, TRIAGE, read_questions
from workbench.core.errors import InvalidInput
from workbench.core.runtime_client import RuntimeClient
from workbench.releases.verify import live
from workbench.serving.answer import AnswerService
from workbench.serving.triage import classify
from workbench.traces.queries import get_trace
from workbench.ui.guard import Visit

_CLIENT = "runtime_client"
_ANSWERS = "annotation_answers"


def suggest(visit: Visit, item_id: str, *, command_id: str) -> None:
    """Ask the live release; its team and its answer become suggestions of the item. Takes seconds on a small machine.

    Raises:
        Unavailable: nothing is live, or the runtime does not answer.
        InvalidInput: the queue asks neither for a team nor for a rewrite.
    """
    with visit.read() as session:
        item = get_item(session, visit.project.id, item_id)
        asked = {
            question.name: question
            for question in read_questions(get_queue(session, visit.project.id, item.queue_id).questions)
        }
        question = get_trace(session, visit.project.id, item.trace_id).input
    if not question.strip() or not {TRIAGE, REWRITE} & set(asked):
        raise InvalidInput("There is nothing to ask the live release here.")
    found = live(visit.context, visit.project.id)
    extras = visit.context.extras
    runtime: RuntimeClient = extras.setdefault(_CLIENT, RuntimeClient(visit.context.settings))
    annotation, agent = visit.services.annotation, found.release.title
    if TRIAGE in asked and found.configuration.triage_adapter is not None:
        (team,) = classify(found.configuration, runtime, [question])
        if team.label in {option["value"] for option in asked[TRIAGE].options}:
            annotation.suggest(
                visit.actor, item_id, question=TRIAGE, value=team.label, agent=agent, score=min(1.0, team.score),
                command_id=f"{command_id}:{TRIAGE}",
            )  # fmt: skip
    if REWRITE in asked:
        service: AnswerService = extras.setdefault(_ANSWERS, AnswerService(visit.context, runtime))
        text = service.answer(found.configuration, question).text
        annotation.suggest(
            visit.actor, item_id, question=REWRITE, value=text, agent=agent, command_id=f"{command_id}:{REWRITE}"
        )
