"""The release note: a release as a text that stands alone, signed by the instance."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlmodel import Session

from workbench.core.canonical import hash_bytes
from workbench.core.keys import decode_public_key, encode_public_key, public_key, sign, signing_key
from workbench.core.settings import Settings
from workbench.identity.models import Project
from workbench.releases.changes import changes_of
from workbench.releases.models import PRODUCTION, Release
from workbench.releases.queries import decisions, live_spans, proofs
from workbench.releases.signing import KEY, decision_holds, manifest_holds

_MARK = "— workbench-release"


def release_note(session: Session, settings: Settings, release: Release, *, channel: str = PRODUCTION) -> str:
    """The note: what the release is made of, on which evidence, who made, approved and moved it; with a signature line."""
    changes = changes_of(session, settings, release)
    manifest = release.manifest
    project = session.get(Project, release.project_id)
    altered = "" if manifest_holds(settings, release) else " (ALTERED: its signature does not hold)"
    lines = [
        f"Release note: {release.title}",
        "",
        f"Project: {project.name if project else release.project_id}",
        f"State: {release.state}",
        f"Manifest: {release.manifest_hash}{altered}",
        f"Proposed: {release.proposed_at.isoformat()} by {release.proposed_by_name}: {_line(release.reason)}",
        f"Over: {changes.parent.title if changes.parent else 'nothing; it is the first release'}",
        "",
        "Components",
    ]
    for change in changes.slots:
        named = f" {change.after.content_hash}" if change.after.content_hash else ""
        mark = " (changed)" if change.changed else ""
        lines.append(f"- {change.title}: {_line(change.after.name)}{named}{mark}")
    lines += ["", "Evidence"]
    for proof in proofs(session, release):
        golden = proof.golden.title if proof.golden else "a golden set that is gone"
        found = proof.difference
        interval = (
            f": {found['value']:+.3f}, 95% interval {found['low']:+.3f} to {found['high']:+.3f}"
            if {"value", "low", "high"} <= found.keys()
            else ""
        )
        altered = "" if proof.intact else " (ALTERED since the proposal)"
        lines.append(f"- {proof.verdict} on {_line(golden)}{interval}, comparison {proof.recorded['comparison_id']}{altered}")
    for slot, why in manifest["unproven"].items():
        lines.append(f"- no comparison for the {slot.replace('_', ' ')}: {_line(why)}")
    if not manifest["evidence"] and not manifest["unproven"]:
        lines.append("- nothing changed that needs evidence")
    lines += ["", "People"]
    lines += [f"- {_line(maker['name'])} {_line(maker['did'])}" for maker in manifest["makers"]]
    for behind in changes.behind:
        people = ", ".join(f"{_line(name)} ({count})" for name, count in behind.people.items()) or "nobody on record"
        lines.append(f"- examples behind {behind.adapter.title.lower()}: {people}")
    lines += ["", "Decisions"]
    for decision in decisions(session, release.id):
        holds = "signature verified" if decision_holds(settings, release, decision) else "SIGNATURE DOES NOT HOLD"
        why = f": {_line(decision.reason)}" if decision.reason else ""
        signature = decision.signature
        lines.append(
            f"- {decision.meaning} by {_line(decision.person_name)}, {signature.get('signed_at', 'at an unknown time')}, "
            f"key {signature.get('key_id', 'unknown')}, {holds}{why}"
        )
    lines += ["", f"Live on {channel}"]
    for start, end in live_spans(session, settings, release.id, channel):
        lines.append(f"- {start.isoformat()} until {end.isoformat() if end else 'now'}")
    body = "\n".join(lines) + "\n"
    key = signing_key(settings, KEY)
    return f"{body}\n{_MARK} {_key_id(key.public_key())} {sign(key, body.encode())}\n"


def note_holds(note: str, key: Ed25519PublicKey) -> bool:
    """Whether a note carries a signature by this key over its whole text."""
    body, mark, signature = note.rpartition(f"\n{_MARK} ")
    parts = signature.split()
    if not mark or len(parts) != 2 or parts[0] != _key_id(key):
        return False
    try:
        key.verify(base64.b64decode(parts[1], validate=True), body.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def note_key(settings: Settings, text: str | None = None) -> Ed25519PublicKey:
    """The instance's public release key, or the one that `text` encodes."""
    return decode_public_key(text) if text else public_key(settings, KEY)


def _key_id(key: Ed25519PublicKey) -> str:
    return hash_bytes(encode_public_key(key).encode())[7:23]


def _line(text: str) -> str:
    """Outside text on one line, so that it cannot pretend to be another part of the note."""
    return " ".join(text.split())
