"""OpenInference's annotations and evaluations: feedback that spans carry about themselves, or about a span they link to.

An ended span cannot change; so feedback that comes later travels on a new span, its carrier, with one link to what was
judged. The carrier's own trace is evaluation work: it is stored, and is no trace of the application.

Source: OpenInference specification, Annotations and Evaluations (scopes, inline and post-hoc feedback, single-result events).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from workbench.core.errors import InvalidInput
from workbench.traces.assemble import StoredSpan
from workbench.traces.feedback import EVENTS, event_values, feedback_row
from workbench.traces.messages import as_text, family
from workbench.traces.models import Feedback

_SCOPES = ("span", "trace", "session")
_FORMS = tuple(
    (scope, f"{'' if scope == 'span' else scope + '.'}{plural}.", singular)
    for scope in _SCOPES
    for plural, singular in (("annotations", "annotation"), ("evaluations", "evaluation"))
)
PREFIXES = tuple(prefix for _, prefix, _ in _FORMS)
"""How attributes that are feedback begin."""
_KIND = "openinference.span.kind"


def annotation_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """What an annotation means as feedback, without what it is about.

    A score has no declared range: it counts within 0 to 1 where it lies there, else within a range that holds it. People's
    judgements come from annotators as machines' do; neither is the end user's rating.

    Args:
        given: name, and score, label or explanation; perhaps annotator_kind.

    Raises:
        InvalidInput: it has no name, or says nothing.
    """
    name = as_text(given.get("name")).strip()
    if not name:
        raise InvalidInput("An annotation has no name.")
    label, explanation = as_text(given.get("label")).strip(), as_text(given.get("explanation")).strip()
    words = ": ".join(part for part in (label, explanation) if part)
    score = given.get("score")
    if isinstance(score, str):
        try:
            score = float(score)
        except ValueError:
            score = None
    if isinstance(score, int | float) and not isinstance(score, bool):
        low, high = min(0.0, float(score)), max(1.0, float(score))
        return {
            "name": name,
            "kind": "float",
            "value": score,
            "minimum": low,
            "maximum": high,
            "comment": words,
            "source": "annotator",
        }
    if not words:
        raise InvalidInput(f"The annotation {name[:60]!r} has neither score nor label nor explanation.")
    return {"name": name, "kind": "comment", "value": words, "source": "annotator"}


def feedback_carried(project_id: str, trace_id: str, spans: Sequence[StoredSpan]) -> list[Feedback]:
    """Every signal that a trace's spans carry; reading the same spans again gives the same rows.

    What makes no valid feedback stays what it is, attributes and events of the stored span.
    """
    found: list[Feedback] = []
    for span in spans:
        for number, (scope, values, key) in enumerate(_carried(span)):
            target = judged_by(span, trace_id)
            about = target or (trace_id, span.span_id if span.parent_span_id else None)
            session = span.attributes.get("session.id")
            place: dict[str, Any] = {"trace_id": about[0], "span_id": about[1] if scope == "span" else None}
            if scope == "session":
                if not session:
                    continue
                place = {"session_id": as_text(session)}
            event_key = f"{trace_id}:{span.span_id}:{key if key is not None else f'annotation:{number}'}"
            try:
                found.append(
                    feedback_row(project_id, **{"at": _ended(span), **values}, **place, key=event_key, sent_by="trace")
                )
            except (InvalidInput, TypeError, ValueError):
                continue
    return found


def judged_by(span: StoredSpan, trace_id: str) -> tuple[str, str] | None:
    """Trace and span that this span judges by its one link to another span; None where it judges none."""
    if not span.links:
        return None
    targets = {(str(link.get("trace_id")), str(link.get("span_id"))) for link in span.links}
    targets.discard((trace_id, span.span_id))
    if len(targets) != 1 or not carries(span):
        return None
    return next(iter(targets))


def carries(span: StoredSpan) -> bool:
    """Whether feedback travels on this span."""
    if any(name.startswith(PREFIXES) for name in span.attributes):
        return True
    return any(event["name"] in EVENTS for event in span.events)


def is_evaluation(trace_id: str, spans: Sequence[StoredSpan]) -> bool:
    """Whether a trace is nothing but evaluation of others: all its topmost spans judge a span of another trace."""
    if not any(span.links for span in spans):
        return False
    known = {span.span_id for span in spans}
    tops = [span for span in spans if span.parent_span_id not in known]
    targets = [judged_by(span, trace_id) for span in tops]
    whole = bool(tops) and all(target is not None and target[0] != trace_id for target in targets)
    if whole:
        return True
    # A root that only groups the carriers below it says nothing itself.
    carriers = [span for span in spans if (target := judged_by(span, trace_id)) and target[0] != trace_id]
    return bool(carriers) and all(str(span.attributes.get(_KIND, "")).upper() == "EVALUATOR" for span in tops)


def _carried(span: StoredSpan) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """(scope, values, key) of every signal on a span; both forms of one result count once."""
    for number, event in enumerate(span.events):
        if event["name"] in EVENTS:
            yield "span", event_values(span, event), str(number)
    if not any(name.startswith(PREFIXES) for name in span.attributes):
        return
    seen: set[tuple[Any, ...]] = set()
    for scope, prefix, singular in _FORMS:
        listed = family(span.attributes, prefix)
        for item in listed if isinstance(listed, list) else []:
            inner = item.get(singular) if isinstance(item, dict) else None
            if not isinstance(inner, dict):
                continue
            same = (scope, *(as_text(inner.get(name)) for name in ("name", "score", "label", "explanation", "identifier")))
            if same in seen:
                continue
            seen.add(same)
            try:
                yield scope, annotation_values(inner), None
            except InvalidInput:
                continue


def _ended(span: StoredSpan) -> datetime:
    return datetime.fromtimestamp(span.ended_ns / 1e9, UTC)
