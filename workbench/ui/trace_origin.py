"""Where an answer came from, in words and links: entry versions and corpus commit, prompt version, release, guard rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlmodel import Session

from workbench.core.errors import NotFound
from workbench.knowledge.models import KnowledgeEntryVersion
from workbench.knowledge.queries import get_commit, live_by_key, versions_by_id
from workbench.prompts.queries import by_hash
from workbench.releases.queries import find_release
from workbench.traces.models import Trace
from workbench.traces.queries import attribute_in
from workbench.ui import page

_DONE = {
    "marked": "delivered as written, and marked",
    "dropped": "that passage was kept out of the prompt",
    "masked": "masked in the answer",
    "evidence": "the cited sentence was delivered instead",
    "decline": "the assistant declined instead",
}


@dataclass(frozen=True)
class Origin:
    """The knowledge behind a passage; empty for what another application retrieved elsewhere."""

    key: str = ""
    title: str = ""
    words: str = ""
    """Such as `version 3 · commit 12`."""
    since: str = ""
    """What became of it since, when it is no longer what is live."""
    link: str = ""
    correct: str = ""
    """Where the entry is edited."""


def origins(session: Session, trace: Trace, documents: list[dict[str, Any]]) -> list[Origin]:
    """One origin a document."""
    versions = versions_by_id(session, trace.project_id, [_text(d, "version") for d in documents if _text(d, "version")])
    keys = [versions[_text(d, "version")].key if _text(d, "version") in versions else _text(d, "id") for d in documents]
    live = live_by_key(session, trace.project_id, [key for key in keys if key])
    commit = commit_words(session, trace)
    return [
        _origin(document, key, versions.get(_text(document, "version")), live, commit)
        for document, key in zip(documents, keys, strict=True)
    ]


def commit_words(session: Session, trace: Trace) -> str:
    """The corpus commit by its number; by the beginning of its id where it is not one of ours; empty without."""
    if not trace.corpus_commit:
        return ""
    try:
        return f"commit {get_commit(session, trace.project_id, trace.corpus_commit).number}"
    except NotFound:
        return f"commit {page.short(trace.corpus_commit, 8)}"


def prompt_words(session: Session, trace: Trace) -> str:
    """The prompt version by name and number; as the application calls it where it is not one of ours; empty without."""
    try:
        version = by_hash(session, trace.project_id, trace.prompt_version or "")
    except NotFound:
        return trace.prompt_version or ""
    return f"{version.name} v{version.number}"


def release_link(session: Session, trace: Trace) -> str:
    """The release's page, when it is one of ours."""
    release = find_release(session, trace.project_id, trace.release) if trace.release else None
    return "/releases?" + urlencode({"release": release.id}) if release else ""


def release_names(session: Session, project_id: str, names: Iterable[str]) -> dict[str, str]:
    """What a trace calls its release → what people call it: one of ours by its number."""
    found = {name: find_release(session, project_id, name) for name in dict.fromkeys(names)}
    return {name: f"release {ours.number}" if ours else page.short(name, 24) for name, ours in found.items()}


def fired(trace: Trace) -> list[dict[str, str]]:
    """The validators and policies that fired: what each found and what was done about it."""
    return [
        {
            "rule": _plain(rule.get("rule") or rule.get("name") or "rule"),
            "done": done_words(rule.get("action")),
            "detail": str(rule.get("detail") or rule.get("reason") or "")[:2000],
        }
        for rule in trace.guard[:50]
    ]


def done_words(action: Any) -> str:
    """What was done about a rule that fired, in words."""
    return _DONE.get(str(action), _plain(action or ""))


def written_before_guard(session: Session, trace: Trace) -> str:
    """What the model wrote where the guard delivered something else."""
    if not trace.guard or trace.span_count > 1000:
        return ""
    return attribute_in(session, trace.project_id, trace.trace_id, "workbench.written") or ""


def new_entry_link(question: str) -> str:
    """The form of a new entry, with the question to start from."""
    return "/knowledge?" + urlencode({"new": "1", "title": " ".join(question.split())[:150]})


def _origin(
    document: dict[str, Any],
    key: str,
    version: KnowledgeEntryVersion | None,
    live: dict[str, KnowledgeEntryVersion | None],
    commit: str,
) -> Origin:
    named = _text(document, "version")
    if key not in live:  # retrieved elsewhere
        words = f"version {named[:20]}" if named else ""
        return Origin(words=" · ".join(part for part in (words, commit) if part))
    now = live[key]
    words = f"version {version.number}" if version else f"version {named[:20]}" if named else ""
    since = ""
    if now is None:
        since = "not live any more"
    elif version is not None and version.id != now.id and version.content_hash != now.content_hash:
        since = f"version {now.number} is live now"
    elif version is None and document.get("content") and document["content"] != now.text:
        since = f"the live version {now.number} says something else"
    query = {"entry": key, **({"version": version.id} if version else {})}
    return Origin(
        key=key,
        title=version.title if version else now.title if now else "",
        words=" · ".join(part for part in (words, commit) if part),
        since=since,
        link="/knowledge?" + urlencode(query),
        correct="/knowledge?" + urlencode({"entry": key, "edit": "1"}),
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = str(document.get(name) or "")
    return value if len(value) <= 200 else ""


def _plain(name: Any) -> str:
    return str(name).replace("_", " ").replace("-", " ")[:200]
