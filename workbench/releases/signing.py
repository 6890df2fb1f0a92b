"""What is signed around a release, by whom, and whether a signature holds.

- The instance signs each manifest when it is proposed and each move of a channel (key `release` in the keys folder).
- A person signs a decision with a key that only their password opens (`identity.signatures`).
"""

import base64
from datetime import datetime
from functools import partial
from typing import Any

from cryptography.exceptions import InvalidSignature

from workbench.core.canonical import canonical_bytes, content_hash
from workbench.core.keys import public_key, sign, signing_key
from workbench.core.settings import Settings
from workbench.identity.signatures import Signature, verify_signature
from workbench.releases.manifest import hash_of
from workbench.releases.models import Approval, ChannelMove, Release

KEY = "release"
"""Name of the instance's signing key for releases."""

APPROVED = "approved"
REJECTED = "rejected"

_DECISION = "workbench.release-decision/1"
_MOVE = "workbench.channel-move/1"
_MANIFEST = b"workbench.manifest/1\n"


def decision_statement(release: Release, *, meaning: str, reason: str) -> dict[str, Any]:
    """What a person signs when they decide: the manifest by its hash, the meaning and the reason."""
    return {
        "schema": _DECISION,
        "project_id": release.project_id,
        "release_id": release.id,
        "number": release.number,
        "manifest_hash": release.manifest_hash,
        "meaning": meaning,
        "reason": reason,
    }


def decision_holds(settings: Settings, release: Release, approval: Approval) -> bool:
    """Whether this row is what that person signed about exactly this manifest."""
    try:
        signature = Signature(**approval.signature)
        expected = decision_statement(release, meaning=approval.meaning, reason=approval.reason)
        return (
            approval.release_id == release.id
            and approval.statement == expected
            and signature.statement_hash == content_hash(approval.statement)
            and signature.meaning == approval.meaning
            and signature.person_id == approval.person_id
            and signature.printed_name == approval.person_name
            and verify_signature(settings, signature)
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        return False


def sign_manifest(settings: Settings, manifest_hash: str) -> str:
    """The instance's signature over a manifest's hash."""
    return sign(signing_key(settings, KEY), _MANIFEST + manifest_hash.encode())


def manifest_holds(settings: Settings, release: Release) -> bool:
    """Whether the release's manifest is the one that was proposed, and its columns say the same."""
    try:
        manifest = release.manifest
        return (
            hash_of(manifest) == release.manifest_hash
            and manifest["project"]["id"] == release.project_id
            and manifest["number"] == release.number
            and manifest["name"] == release.name
            and verify(settings, release.manifest_signature, _MANIFEST + release.manifest_hash.encode())
        )
    except (TypeError, ValueError, KeyError):
        return False


def move_statement(
    *,
    project_id: str,
    channel: str,
    number: int,
    kind: str,
    release: Release,
    previous: ChannelMove | None,
    by_id: str,
    by_name: str,
    reason: str,
    at: datetime,
) -> dict[str, Any]:
    """What the instance signs when a channel moves. Canary fields have their place and are empty."""
    return {
        "schema": _MOVE,
        "project_id": project_id,
        "channel": channel,
        "number": number,
        "kind": kind,
        "release": {"id": release.id, "manifest_hash": release.manifest_hash},
        "canary": None,
        "previous": None
        if previous is None
        else {
            "number": previous.number,
            "release_id": previous.release_id,
            "manifest_hash": previous.manifest_hash,
            "move_hash": move_hash(previous),
        },
        "by": {"id": by_id, "name": by_name},
        "reason": reason,
        "at": at.isoformat(),
    }


def sign_move(settings: Settings, statement: dict[str, Any]) -> str:
    """The instance's signature over a move."""
    return sign(signing_key(settings, KEY), canonical_bytes(statement))


def move_hash(move: ChannelMove) -> str:
    """The hash that names a move."""
    return content_hash(move.statement)


def move_holds(settings: Settings, move: ChannelMove) -> bool:
    """Whether the move's row says what the instance signed."""
    try:
        statement = move.statement
        previous = statement["previous"]
        return (
            statement["schema"] == _MOVE
            and statement["project_id"] == move.project_id
            and statement["channel"] == move.channel
            and statement["number"] == move.number
            and statement["kind"] == move.kind
            and statement["release"] == {"id": move.release_id, "manifest_hash": move.manifest_hash}
            and (None if previous is None else previous["release_id"]) == move.previous_release_id
            and statement["by"] == {"id": move.by_id, "name": move.by_name}
            and statement["reason"] == move.reason
            and verify(settings, move.signature, canonical_bytes(statement))
        )
    except (TypeError, ValueError, KeyError):
        return False


def verify(settings: Settings, signature: str, data: bytes) -> bool:
    """Whether the instance's release key signed these bytes."""
    check = partial(public_key(settings, KEY).verify, data=data)
    try:
        check(base64.b64decode(signature, validate=True))
    except (InvalidSignature, ValueError):
        return False
    return True
