"""Checkpoints: the signed size and root of the ledger at one moment.

The text is a C2SP tlog-checkpoint (origin, size, base64 root, one a line), signed as a C2SP signed note with Ed25519:

    learning-workbench/0198…
    1204
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — learning-workbench/0198… Az3grlgtzPICa5OS…

Source: c2sp.org/tlog-checkpoint and c2sp.org/signed-note.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
"""Signature type of an Ed25519 key in a signed note."""

_DASH = "\N{EM DASH} "


class BadCheckpoint(ValueError):
    """The text is no checkpoint, or no listed key has signed it."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says."""

    origin: str
    """Name of the ledger; the same in all its checkpoints."""
    size: int
    """How many events it covers: those with `seq` 1 to `size`."""
    root: bytes
    """Root of the Merkle tree over them, 32 bytes."""

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: Ed25519PrivateKey) -> str:
        """The signed note, with the origin as the key's name."""
        text = self.text()
        signature = key_hash(self.origin, key.public_key()) + key.sign(text.encode())
        return f"{text}\n{_DASH}{self.origin} {base64.b64encode(signature).decode()}\n"


def raw_key(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_hash(name: str, key: Ed25519PublicKey) -> bytes:
    """The 4 bytes by which a note's signature names its key."""
    return sha256(name.encode() + b"\n" + _ED25519 + raw_key(key)).digest()[:4]


def verifier_key(name: str, key: Ed25519PublicKey) -> str:
    """The public key as the one line `name+hash+key` that C2SP tools read."""
    return f"{name}+{key_hash(name, key).hex()}+{base64.b64encode(_ED25519 + raw_key(key)).decode()}"


def parse_verifier_key(line: str) -> tuple[str, Ed25519PublicKey]:
    """Name and key of a verifier key line.

    Raises:
        BadCheckpoint: it is none, or its hash does not match.
    """
    try:
        name, hash_text, key_text = line.strip().split("+", 2)
        raw = base64.b64decode(key_text, validate=True)
        if raw[:1] != _ED25519:
            raise ValueError("not an Ed25519 key")
        key = Ed25519PublicKey.from_public_bytes(raw[1:])
        if key_hash(name, key).hex() != hash_text:
            raise ValueError("its hash does not match its name and key")
    except (ValueError, binascii.Error) as error:
        raise BadCheckpoint(f"{line.strip()!r} is no verifier key: {error}") from error
    return name, key


def open_note(note: str, verifier_keys: list[str]) -> Checkpoint:
    """What a signed checkpoint says, after checking its signature.

    Args:
        note: the signed note.
        verifier_keys: lines of `ledger.vkey`; one of them must have signed.

    Raises:
        BadCheckpoint: malformed, or signed by none of the keys.
    """
    text, separator, signatures = note.rpartition("\n\n")
    if not separator:
        raise BadCheckpoint("the checkpoint carries no signature")
    text += "\n"
    lines = text.split("\n")
    try:
        origin, size, root = lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
        if str(size) != lines[1] or size < 0 or len(root) != 32 or not origin:
            raise ValueError(text)
    except (IndexError, ValueError, binascii.Error) as error:
        raise BadCheckpoint("the text is not a checkpoint: origin, size and root, one a line") from error
    for line in verifier_keys:
        name, key = parse_verifier_key(line)
        if name == origin and _signed_by(name, key, text, signatures):
            return Checkpoint(origin, size, root)
    raise BadCheckpoint("none of the ledger's keys has signed this checkpoint")


def _signed_by(name: str, key: Ed25519PublicKey, text: str, signatures: str) -> bool:
    for line in signatures.splitlines():
        if not line.startswith(f"{_DASH}{name} "):
            continue
        try:
            signature = base64.b64decode(line.removeprefix(f"{_DASH}{name} "), validate=True)
            if signature[:4] == key_hash(name, key):
                key.verify(signature[4:], text.encode())
                return True
        except (InvalidSignature, binascii.Error, ValueError):
            continue
    return False
