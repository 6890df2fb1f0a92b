"""From submitted responses to rows: which are taken, and why the others are not. Reads only, and always the same way."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from workbench.annotation.models import Suggestion
from workbench.annotation.queries import SubmittedResponse, adjudications, submitted
from workbench.annotation.schema import RATING, REWRITE, TRIAGE
from workbench.core.errors import InvalidInput
from workbench.datasets.rows import Row, normal, split_of
from workbench.datasets.settings import BuildSettings
from workbench.traces.models import Trace
from workbench.traces.queries import traces_by_id

PromptOf = Callable[[Trace], str]
"""The prompt that serving would give the model for a trace's question and documents."""

GOOD = 4
"""Least rating of an answer that may become an example as it is."""


@dataclass(frozen=True)
class Excluded:
    """A submission that is not in the version, and why."""

    trace_id: str
    response_id: str
    reason: str

    def as_json(self) -> dict[str, str]:
        return {"trace_id": self.trace_id, "response_id": self.response_id, "reason": self.reason}


@dataclass
class Collected:
    """What a build would contain."""

    rows: list[Row] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    considered: int = 0
    """Submitted responses within queues, dates, languages, people and rating."""

    def exclude(self, response: SubmittedResponse, reason: str) -> None:
        self.excluded.append(Excluded(response.trace_id, response.response_id, reason))

    def drop(self, row: Row, reason: str) -> None:
        self.excluded.append(Excluded(row.trace_id, row.response_id, reason))


def collect(session: Session, project_id: str, settings: BuildSettings, prompt_of: PromptOf | None) -> Collected:
    """The rows of a version, in a fixed order, before the checks against golden sets and for personal data.

    Args:
        prompt_of: needed for generation.
    """
    found = Collected()
    responses = submitted(session, project_id, queue_ids=settings.queue_ids or None)
    traces = traces_by_id(session, project_id, [response.trace_id for response in responses])
    usable = []
    for response in responses:
        trace = traces.get(response.trace_id)
        if trace is None or not _selected(response, trace, settings):
            continue
        found.considered += 1
        if not response.consent:
            found.exclude(response, "no consent to training")
        else:
            usable.append(response)
    if settings.task == "triage":
        rows = _triage(session, project_id, usable, traces, found)
    else:
        if prompt_of is None:
            raise InvalidInput("Choose the prompt version that the model will be asked with.")
        rows = _generation(session, project_id, usable, traces, settings, prompt_of, found)
    rows.sort(key=lambda row: (row.started_at, row.trace_id, row.response_id))
    rows = _without_conflicts(rows, found) if settings.task == "triage" else rows
    rows = _without_duplicates(rows, found)
    rows = _limited(rows, settings.max_per_user, found)
    for row in rows:
        row.split = split_of(row.session_id, row.trace_id, settings.validation_share)
    found.rows = rows
    return found


def _selected(response: SubmittedResponse, trace: Trace, settings: BuildSettings) -> bool:
    rating = response.values.get(RATING)
    return (
        (settings.since is None or trace.started_at >= settings.since)
        and (settings.before is None or trace.started_at < settings.before)
        and (not settings.languages or trace.language in settings.languages)
        and (not settings.people or response.person_id in settings.people)
        and (settings.minimum_rating is None or (rating is not None and rating >= settings.minimum_rating))
        and (not settings.only_rewrites or bool(response.values.get(REWRITE)))
    )


def _triage(
    session: Session, project_id: str, responses: Sequence[SubmittedResponse], traces: dict[str, Trace], found: Collected
) -> list[Row]:
    """One row a trace: the adjudicated label, else the majority's. A tie is left out."""
    decided = adjudications(session, project_id, TRIAGE)
    by_trace: dict[str, list[SubmittedResponse]] = defaultdict(list)
    for response in responses:
        if response.values.get(TRIAGE):
            by_trace[response.trace_id].append(response)
    rows = []
    for trace_id, given in by_trace.items():
        trace = traces[trace_id]
        if not trace.input.strip():
            _exclude_all(given, "the trace has no question", found)
            continue
        votes = Counter(str(response.values[TRIAGE]) for response in given).most_common()
        if trace_id in decided:
            label = str(decided[trace_id].value["value"])
        elif len(votes) > 1 and votes[0][1] == votes[1][1]:
            _exclude_all(given, f"people disagree: {' or '.join(sorted(vote[0] for vote in votes))}", found)
            continue
        else:
            label = votes[0][0]
        lead = next((response for response in given if response.values[TRIAGE] == label), given[0])
        rows.append(_row(trace, {"text": trace.input, "label": label}, label, lead, given))
    return rows


def _generation(
    session: Session,
    project_id: str,
    responses: Sequence[SubmittedResponse],
    traces: dict[str, Trace],
    settings: BuildSettings,
    prompt_of: PromptOf,
    found: Collected,
) -> list[Row]:
    """One row a trace: the adjudicated rewrite, else the latest one, else (as an option) an answer that people rated good."""
    decided = adjudications(session, project_id, REWRITE)
    machine = _machine_texts(session, project_id)
    by_trace: dict[str, list[SubmittedResponse]] = defaultdict(list)
    for response in responses:
        by_trace[response.trace_id].append(response)
    rows = []
    for trace_id, given in by_trace.items():
        trace = traces[trace_id]
        if not trace.input.strip():
            _exclude_all(given, "the trace has no question", found)
            continue
        rewrites = [response for response in given if response.values.get(REWRITE)]
        kept = None
        for response in reversed(rewrites):
            text = str(decided[trace_id].value["value"]) if trace_id in decided else str(response.values[REWRITE])
            unseen = _unseen(response, text, trace, machine.get(response.item_id, set()))
            if unseen:
                found.exclude(response, unseen)
            elif kept is None:
                kept = _row(trace, {}, text, response, given if trace_id in decided else [response])
            else:
                found.exclude(response, "another rewrite of the same trace was taken")
        if kept is None and not rewrites and settings.keep_good_answers:
            kept = _good_answer(trace, given, found)
        if kept is not None:
            prompt = prompt_of(trace)
            kept.answer = one_line(kept.answer)
            # What follows a prompt that ends in a word begins with a space, as the model itself would write it.
            lead = "" if prompt[-1:].isspace() or not prompt else " "
            kept.content = {"prompt": prompt, "completion": lead + kept.answer}
            rows.append(kept)
    return rows


def _good_answer(trace: Trace, given: Sequence[SubmittedResponse], found: Collected) -> Row | None:
    ratings = [response.values.get(RATING) or 0 for response in given]
    if not trace.output.strip() or min(ratings) < GOOD:
        return None
    if trace.guard or trace.status == "error":
        _exclude_all(given, "rated good, but a guard rejected the answer", found)
        return None
    return _row(trace, {}, trace.output, given[0], given)


def _unseen(response: SubmittedResponse, text: str, trace: Trace, proposed: set[str]) -> str:
    """Why this text would be machine-written text that no person judged; empty when it is not."""
    rating = response.values.get(RATING)
    if trace.machine_written and normal(text) == normal(trace.output):
        if rating is None:
            return "the model's own answer, which nobody rated"
        return "" if rating >= GOOD else f"the model's own answer, which was rated {rating}"
    if normal(text) in proposed and rating is None:
        return "a model's suggestion, which nobody rated"
    return ""


def _machine_texts(session: Session, project_id: str) -> dict[str, set[str]]:
    """Item id → texts that models proposed as its rewrite."""
    statement = select(Suggestion).where(Suggestion.project_id == project_id, Suggestion.question == REWRITE)
    texts: dict[str, set[str]] = defaultdict(set)
    for suggestion in session.exec(statement.where(col(Suggestion.kind) == "model")):
        texts[suggestion.item_id].add(normal(str(suggestion.value["value"])))
    return texts


def one_line(text: str) -> str:
    """A completion on one line, since generation stops at a line's end."""
    return re.sub(r"\s+", " ", text).strip()


def _row(
    trace: Trace, content: dict[str, str], answer: str, lead: SubmittedResponse, given: Sequence[SubmittedResponse]
) -> Row:
    return Row(
        content=content,
        question=trace.input,
        answer=answer,
        trace_id=trace.trace_id,
        session_id=trace.session_id,
        user_id=trace.user_id,
        started_at=trace.started_at,
        language=trace.language,
        response_id=lead.response_id,
        person_id=lead.person_id,
        responses=sorted(response.response_id for response in given),
        people=sorted({response.person_id for response in given}),
    )


def _without_conflicts(rows: list[Row], found: Collected) -> list[Row]:
    """Without texts that carry different labels: the model could learn neither."""
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        labels[normal(row.content["text"])].add(row.content["label"])
    kept = []
    for row in rows:
        given = labels[normal(row.content["text"])]
        if len(given) > 1:
            found.drop(row, f"the same text has the labels {' and '.join(sorted(given))}")
        else:
            kept.append(row)
    return kept


def _without_duplicates(rows: list[Row], found: Collected) -> list[Row]:
    seen: set[tuple[Any, ...]] = set()
    kept = []
    for row in rows:
        key = tuple(normal(value) for value in row.content.values())
        if key in seen:
            found.drop(row, "a duplicate of an earlier example")
        else:
            seen.add(key)
            kept.append(row)
    return kept


def _limited(rows: list[Row], limit: int | None, found: Collected) -> list[Row]:
    if limit is None:
        return rows
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        user = row.user_id or row.session_id or row.trace_id
        counts[user] += 1
        if counts[user] > limit:
            found.drop(row, f"more than {limit} of one end user")
        else:
            kept.append(row)
    return kept


def _exclude_all(given: Sequence[SubmittedResponse], reason: str, found: Collected) -> None:
    for response in given:
        found.exclude(response, reason)
