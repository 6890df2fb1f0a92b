"""Events as sentences: who did what to what, and what it was before and after.

Known acts have a phrase of their own; any other is read from its type, `stage.past_participle`, so that a new act is
never shown as a bare code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.audit.events import Event

PHRASES: dict[str, str] = {
    "annotation.adjudicated": "settled a disagreement on {subject}",
    "annotation.draft_started": "began a response on {subject}",
    "annotation.flag_resolved": "resolved the flag on {subject}",
    "annotation.item_flagged": "flagged {subject}",
    "annotation.item_leased": "took {subject} to annotate",
    "annotation.item_released": "gave {subject} back",
    "annotation.item_skipped": "skipped {subject}",
    "annotation.items_added": "added items to {subject}",
    "annotation.queue_closed": "closed {subject}",
    "annotation.queue_created": "created {subject}",
    "annotation.submitted": "submitted a response on {subject}",
    "annotation.response_submitted": "submitted a response on {subject}",
    "annotation.suggestion_added": "suggested an answer on {subject}",
    "annotation.undone": "took back the last answer on {subject}",
    "audit.exported": "exported the audit ledger",
    "identity.account_locked": "was locked out after too many failed sign-ins",
    "identity.key_created": "created {subject}",
    "identity.key_revoked": "revoked {subject}",
    "identity.password_set": "set the password of {subject}",
    "identity.person_added": "added {subject}",
    "identity.project_added": "added {subject}",
    "identity.role_granted": "granted a role to {subject}",
    "identity.role_revoked": "revoked a role of {subject}",
    "identity.signed_in": "signed in",
    "identity.signed_out": "signed out",
    "jobs.cancel_requested": "asked {subject} to stop",
    "jobs.cancelled": "ended {subject} as cancelled",
    "jobs.failed": "ended {subject} as failed",
    "jobs.interrupted": "interrupted {subject}, to be resumed",
    "jobs.queued": "queued {subject}",
    "jobs.started": "started {subject}",
    "jobs.succeeded": "finished {subject}",
    "knowledge.certified": "certified {subject}",
    "knowledge.drafted": "drafted a new version of {subject}",
    "knowledge.drafts_certified": "certified drafts in {subject}",
    "knowledge.imported": "imported knowledge into {subject}",
    "knowledge.published": "published {subject}",
    "knowledge.restored": "restored {subject}",
    "knowledge.retired": "retired {subject}",
    "knowledge.reverted": "reverted the corpus to {subject}",
    "knowledge.undone": "undid {subject}",
    "knowledge.withdrawn": "withdrew {subject}",
    "releases.approved": "approved {subject}",
    "releases.proposed": "proposed {subject}",
    "releases.promoted": "promoted {subject}",
    "releases.rejected": "rejected {subject}",
    "releases.rolled_back": "rolled back to {subject}",
    "releases.signature_refused": "gave a wrong password when signing {subject}",
    "releases.withdrawn": "withdrew {subject}",
    "traces.bulk_begun": "began {subject}",
    "traces.bulk_ended": "ended {subject}",
    "traces.bulk_undo_begun": "began to undo {subject}",
    "traces.bulk_undone": "undid {subject}",
    "traces.export_downloaded": "downloaded the file of {subject}",
    "traces.exported": "exported traces to a file of their own",
    "traces.ingested": "delivered traces to {subject}",
    "traces.mapping_changed": "changed the mapping of trace attributes",
    "traces.masking_changed": "changed what is masked in traces",
    "traces.original_seen": "saw the originals of {subject}",
    "traces.person_forgotten": "erased the originals of an end user",
    "traces.remap_asked": "had stored traces read again",
}
"""What an actor did, for the types that read better with words of their own. `{subject}` stands for the thing."""

KINDS: dict[str, str] = {
    "annotation_item": "item",
    "annotation_queue": "queue",
    "api_key": "API key",
    "audit": "the ledger",
    "channel": "channel",
    "dataset_version": "dataset version",
    "item": "item",
    "knowledge_entry": "knowledge entry",
    "knowledge_version": "knowledge entry",
    "prompt_version": "prompt version",
    "queue": "queue",
    "trace_act": "act on many traces",
}
"""Kinds of subjects whose table name reads badly."""

_LABELS = ("title", "name", "key", "label", "email")
_PAIRS = (("old", "new"), ("from", "to"), ("before", "after"), ("former", "version"), ("former", "current"))
_HASH = 64
_SHOWN = 12


def sentence(event: Event, subjects: Mapping[str, str] | None = None) -> str:
    """What happened, in one sentence without its time and reason.

    Args:
        subjects: names of subjects by id, where the caller knows them.
    """
    change = changed({name: value for name, value in event.details.items() if not _is_hash(value)})
    return f"{event.actor_name} {phrase(event, subjects)}" + (f": {change}" if change else "")


def phrase(event: Event, subjects: Mapping[str, str] | None = None) -> str:
    """What the actor did, such as `certified knowledge entry “flexpay-limits”`."""
    subject = subject_words(event, subjects)
    if known := PHRASES.get(event.type):
        return known.format(subject=subject)
    _, _, act = event.type.rpartition(".")
    *noun, verb = act.split("_")
    if not noun:
        return f"{verb} {subject}"
    if _is_participle(noun[0]) and not _is_participle(verb):
        return f"{' '.join([*noun, verb])} {subject}"
    words = " ".join(noun)
    return f"{verb} {subject}" if kind_words(event.subject_kind).endswith(words) else f"{verb} {words} on {subject}"


def act_words(type_: str) -> str:
    """The act itself as filter lists name it: `Knowledge: certified`."""
    stage, _, act = type_.partition(".")
    return f"{stage.replace('_', ' ').capitalize()}: {act.replace('_', ' ')}" if act else stage.replace("_", " ").capitalize()


def kind_words(kind: str) -> str:
    """A subject's kind in words."""
    return KINDS.get(kind, kind.replace("_", " "))


def subject_words(event: Event, subjects: Mapping[str, str] | None = None) -> str:
    """The subject as a person names it: its kind, and its name or the end of its id."""
    kind = kind_words(event.subject_kind)
    name = (subjects or {}).get(event.subject_id) or next(
        (event.details[key] for key in _LABELS if isinstance(event.details.get(key), str) and event.details[key]), None
    )
    return f"{kind} “{name}”" if name else f"{kind} {shown(event.subject_id)}"


def changed(details: Mapping[str, Any]) -> str:
    """Old and new values as `3 → 5`, several as `rating 3 → 5, label none → cards`; empty when nothing says so."""
    for old, new in _PAIRS:
        if new in details and old in details:
            return f"{shown(details[old])} → {shown(details[new])}"
    inner = {name: changed(value) for name, value in details.items() if isinstance(value, dict)}
    nested = [f"{name.replace('_', ' ')} {change}" for name, change in inner.items() if change]
    return ", ".join(nested)


def shown(value: Any) -> str:
    """A value as it fits in a sentence: hashes and ids short, lists counted."""
    match value:
        case None | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case str() if _is_hash(value):
            return value.removeprefix("sha256:")[:_SHOWN]
        case str() if len(value) == 36 and value.count("-") == 4:
            # The beginning of a UUIDv7 is its time, so neighbours look alike: the end tells them apart.
            return "…" + value[-8:]
        case str():
            return value if len(value) <= 60 else value[:59] + "…"
        case list():
            return f"{len(value)} values" if len(value) > 4 else ", ".join(shown(item) for item in value) or "none"
        case dict():
            return f"{len(value)} values"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _is_hash(value: Any) -> bool:
    """A content hash: it belongs in the details, not in a sentence."""
    return isinstance(value, str) and len(value.removeprefix("sha256:")) == _HASH


def _is_participle(word: str) -> bool:
    return word.endswith(("ed", "en")) or word in {"set", "sent", "built", "undone", "begun", "taken", "put", "run"}
