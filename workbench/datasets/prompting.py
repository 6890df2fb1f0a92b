"""The prompt of a trace as serving would build it now."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from workbench.datasets.builder import PromptOf
from workbench.knowledge.models import KnowledgeEntryVersion
from workbench.prompts.assemble import Passage, assemble_prompt
from workbench.traces.models import Trace


def prompt_builder(session: Session, project_id: str, content: Mapping[str, Any], passages: int) -> PromptOf:
    """A function from trace to prompt text, through the same assembly that serving uses.

    Args:
        content: a prompt version's content.
        passages: how many of the trace's documents are shown, best first.
    """
    titles = _Titles(session, project_id)

    def prompt_of(trace: Trace) -> str:
        shown = [
            Passage(str(document.get("id") or ""), titles.of(document), str(document.get("content") or ""))
            for document in trace.documents[:passages]
        ]
        return assemble_prompt(content, trace.input, shown)

    return prompt_of


class _Titles:
    """Titles of documents: as the trace has them, else those of the knowledge version that was retrieved."""

    def __init__(self, session: Session, project_id: str) -> None:
        statement = select(KnowledgeEntryVersion).where(KnowledgeEntryVersion.project_id == project_id)
        self._by_id: dict[str, str] = {}
        self._by_text: dict[tuple[str, str], str] = {}
        for version in session.exec(statement.order_by(col(KnowledgeEntryVersion.created_at))):
            self._by_id[version.id] = version.title
            self._by_text[(version.key, version.text)] = version.title

    def of(self, document: Mapping[str, Any]) -> str:
        key = (str(document.get("id") or ""), str(document.get("content") or ""))
        return str(document.get("title") or self._by_id.get(str(document.get("version"))) or self._by_text.get(key) or "")
