"""Asking a trace's question again, now: by what is live, by what answered then, or by a candidate.

A replay is recorded as an act, with ids and hashes only. Its answer is shown and forgotten: it is no trace of the application,
so nothing counts it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from workbench.core.actors import Actor, Permission
from workbench.core.canonical import content_hash
from workbench.core.errors import InvalidInput, NotFound, Unavailable, WorkbenchError
from workbench.core.unit_of_work import Context
from workbench.knowledge.queries import head
from workbench.prompts.queries import list_versions
from workbench.releases.queries import find_release, releases
from workbench.releases.signing import manifest_holds
from workbench.releases.verify import LiveRelease, live
from workbench.serving.answer import AnswerService
from workbench.serving.configuration import ServingConfiguration
from workbench.serving.result import Answer
from workbench.serving.triage import Classification, classify
from workbench.traces.models import Trace
from workbench.traces.queries import get_trace, session_turns
from workbench.traces.talk import talk_of
from workbench.tuning.queries import adapters

LIVE, THEN = "live", "then"
MOST_ARMS = 2
"""Arms of one replay."""
_TURNS = 10
"""Turns of the conversation before the question that are asked along."""
_OFFERED = 12
"""Releases, adapters and prompt versions that are offered, of each the newest."""


@dataclass(frozen=True)
class ReplayArm:
    """What can answer again."""

    key: str
    """live, then, or `release:`, `adapter:`, `prompt:` and the id or hash."""
    name: str
    configuration: ServingConfiguration


@dataclass(frozen=True)
class Replay:
    """A replay that was permitted and recorded, ready to be answered."""

    trace: Trace
    messages: tuple[dict[str, Any], ...]
    """The conversation before the question, and the question."""
    arms: tuple[ReplayArm, ...]
    event_id: str | None
    """The audit event; None when this command was carried out before."""


@dataclass(frozen=True)
class Replayed:
    """What one arm says now."""

    arm: ReplayArm
    answer: Answer
    triage: Classification | None = None
    """None: the arm has no triage adapter."""


def replay_arms(context: Context, session: Session, trace: Trace) -> list[ReplayArm]:
    """Everything that can answer the trace again, what is live first.

    Raises:
        IntegrityError: what is live does not verify.
    """
    project_id = trace.project_id
    try:
        current: LiveRelease | None = live(context, project_id)
    except Unavailable:
        current = None
    found: list[ReplayArm] = []
    if current is not None:
        now = replace(current.configuration, corpus_commit=None)
        found.append(ReplayArm(LIVE, f"Live: {current.release.title}", now))
    found += _then(context, session, trace)
    for release in releases(session, project_id)[: _OFFERED * 2]:
        is_live = current is not None and release.id == current.release.id
        if is_live or release.status.is_terminal or not manifest_holds(context.settings, release):
            continue
        words = f"{release.title}, {release.state}"
        found.append(ReplayArm(f"release:{release.id}", words, replace(release.configuration, corpus_commit=None)))
    return found + _parts(session, project_id, current.configuration if current else None)


def begin_replay(
    context: Context, actor: Actor, project_id: str, trace_id: str, arms: list[str], *, command_id: str | None = None
) -> Replay:
    """Check that the actor may, record the act, and give what is to be asked.

    Args:
        arms: keys of `replay_arms`, one or two.

    Raises:
        NotAllowed: the actor may not replay traces.
        NotFound: no such trace, or an arm that is not there any more.
        InvalidInput: no arm, too many, or the trace has no question.
    """
    if not 1 <= len(set(arms)) <= MOST_ARMS:
        raise InvalidInput(f"Choose one or {MOST_ARMS} to answer again.")
    context.authorizer.require(actor, Permission.REPLAY_TRACES, project_id)
    with context.database.session() as session:
        trace = get_trace(session, project_id, trace_id)
        messages = conversation_of(session, trace)
        offered = {arm.key: arm for arm in replay_arms(context, session, trace)}
        commit = head(session, project_id)
    if missing := [key for key in arms if key not in offered]:
        raise NotFound(f"{missing[0][:80]!r} cannot answer any more.", todo="Choose again: the list was read anew.")
    chosen = tuple(offered[key] for key in dict.fromkeys(arms))
    with context.unit_of_work(actor) as work:
        if work.once(command_id) is not None:
            return Replay(trace, messages, chosen, None)
        work.require(Permission.REPLAY_TRACES, project_id)
        event_id = work.record(
            "traces.replayed",
            subject=("trace", trace.trace_id),
            project_id=project_id,
            arms=[
                {
                    "arm": arm.key,
                    "configuration": content_hash(arm.configuration.as_json()),
                    "release_id": arm.configuration.release_id,
                    "corpus_commit": arm.configuration.corpus_commit or (commit.id if commit else None),
                }
                for arm in chosen
            ],
            messages=len(messages),
        )
        work.remember(event_id=event_id)
    return Replay(trace, messages, chosen, event_id)


def answer_arm(service: AnswerService, replay: Replay, arm: ReplayArm, progress: Callable[[int], bool]) -> Replayed | None:
    """Ask one arm; None when `progress`, which is told the pieces written so far, says to stop.

    Raises:
        Unavailable: the runtime does not answer, or has another base model loaded.
        IntegrityError, NotFound: a component of the arm is not what it was.
    """
    answer = service.watch(arm.configuration, list(replay.messages), progress)
    if answer is None:
        return None
    triage = None
    if arm.configuration.triage_adapter is not None:
        (triage,) = classify(arm.configuration, service.runtime, [replay.trace.input])
    return Replayed(arm, answer, triage)


def conversation_of(session: Session, trace: Trace) -> tuple[dict[str, Any], ...]:
    """The question with the turns before it: those of its session, else those that the request itself carried.

    Raises:
        InvalidInput: the trace has no question.
    """
    if not trace.input.strip():
        raise InvalidInput("This trace has no question to ask again.", todo="Choose a trace whose input was sent.")
    before: list[dict[str, Any]] = []
    turns = session_turns(session, trace.project_id, trace.session_id) if trace.session_id else []
    for turn in [one for one in turns if (one.started_at, one.id) < (trace.started_at, trace.id or 0)][-_TURNS:]:
        before += [{"role": "user", "content": turn.input}, {"role": "assistant", "content": turn.output}]
    if not before:
        before = [
            {"role": message["role"], "content": message["content"]}
            for message in talk_of(trace).before[-2 * _TURNS :]
            if message.get("role") in ("user", "assistant") and message.get("content")
        ]
    kept = [message for message in before if message["content"].strip()]
    return (*kept, {"role": "user", "content": trace.input})


def _then(context: Context, session: Session, trace: Trace) -> list[ReplayArm]:
    """What answered then, over the corpus of then; nothing where that is not on record."""
    release = find_release(session, trace.project_id, trace.release) if trace.release else None
    if release is None or not trace.corpus_commit or not manifest_holds(context.settings, release):
        return []
    try:
        configuration = replace(release.configuration, corpus_commit=trace.corpus_commit)
    except WorkbenchError:
        return []
    return [ReplayArm(THEN, f"As then: {release.title} over the knowledge of that moment", configuration)]


def _parts(session: Session, project_id: str, current: ServingConfiguration | None) -> list[ReplayArm]:
    """Adapters and prompt versions, each in its slot over what is live, or over defaults while nothing is."""
    versions = list_versions(session, project_id)
    found: list[ReplayArm] = []
    for adapter in adapters(session, project_id, "generator")[:_OFFERED]:
        if current is not None and adapter.content_hash == current.generator_adapter:
            continue
        start = current or (ServingConfiguration(project_id, adapter.base_hash, versions[0].content_hash) if versions else None)
        if start is None:
            continue
        routing = replace(start.routing, mode="generate")
        made = replace(
            _unreleased(start), base_model=adapter.base_hash, generator_adapter=adapter.content_hash, routing=routing
        )
        found.append(ReplayArm(f"adapter:{adapter.content_hash}", f"{adapter.title}, the model writes", made))
    if current is None:
        return found
    for adapter in adapters(session, project_id, "triage")[:_OFFERED]:
        if adapter.content_hash != current.triage_adapter:
            made = replace(_unreleased(current), triage_adapter=adapter.content_hash)
            found.append(ReplayArm(f"adapter:{adapter.content_hash}", adapter.title, made))
    for version in sorted(versions, key=lambda one: one.created_at, reverse=True)[:_OFFERED]:
        if version.content_hash != current.prompt_version:
            routing = replace(current.routing, mode="generate")
            made = replace(_unreleased(current), prompt_version=version.content_hash, routing=routing)
            found.append(ReplayArm(f"prompt:{version.content_hash}", f"Prompt {version.name} v{version.number}", made))
    return found


def _unreleased(configuration: ServingConfiguration) -> ServingConfiguration:
    return replace(configuration, corpus_commit=None, release_id=None, manifest_hash=None)
