"""The process's own answer service, which keeps its view of the corpus between questions."""

from workbench.core.runtime_client import RuntimeClient
from workbench.serving.answer import AnswerService
from workbench.ui.guard import Visit

_ANSWERS = "ui_answers"


def answers(visit: Visit) -> AnswerService:
    """The answer service of the pages; answers that it gives are shown and never logged as traces."""
    extras = visit.context.extras
    if _ANSWERS not in extras:
        extras[_ANSWERS] = AnswerService(visit.context, extras.get("runtime_client") or RuntimeClient(visit.context.settings))
    service: AnswerService = extras[_ANSWERS]
    return service
