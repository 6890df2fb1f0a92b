"""Electronic signatures of people.

Each person has an Ed25519 key whose private half is sealed with their password, so that nobody, an administrator of the
machine included, signs in their name without it. Public halves are pinned as files in the keys folder; what the
database says of them is never trusted.

Source: 21 CFR 11.50 (printed name, time, meaning) and 11.200 (password as the second component).
"""

import base64
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from workbench.core.canonical import canonical_bytes, hash_bytes
from workbench.core.clock import now
from workbench.core.errors import NotAllowed, NotFound
from workbench.core.keys import decode_public_key, encode_public_key, sign, write_once
from workbench.core.settings import Settings


@dataclass(frozen=True)
class Signature:
    """A person's signature over a statement."""

    person_id: str
    printed_name: str
    meaning: str
    """What the signature means, such as "approved"."""
    signed_at: str
    """ISO 8601, UTC."""
    statement_hash: str
    key_id: str
    value: str
    """Base64 of 64 bytes over the canonical JSON of all the other fields."""

    def signed_bytes(self) -> bytes:
        return canonical_bytes({k: v for k, v in self.__dict__.items() if k != "value"})

    def as_json(self) -> dict[str, Any]:
        return dict(self.__dict__)


def make_person_key(settings: Settings, person_id: str, password: str) -> str:
    """Make a person's key, sealed with the password; returns its key id. Older keys stay pinned for older signatures."""
    private = Ed25519PrivateKey.generate()
    public = encode_public_key(private.public_key())
    key_id = hash_bytes(public.encode())[7:23]
    salt, nonce = os.urandom(16), os.urandom(12)
    raw = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    sealed = AESGCM(_derive(password, salt)).encrypt(nonce, raw, person_id.encode())
    folder = _folder(settings, person_id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "key_id": key_id,
        "public": public,
        "salt": base64.b64encode(salt).decode(),
        "nonce": base64.b64encode(nonce).decode(),
        "sealed_private": base64.b64encode(sealed).decode(),
        "made_at": now().isoformat(),
    }
    write_once(folder / f"{key_id}.json", json.dumps(content, indent=1).encode(), mode=0o600)
    return key_id


def sign_statement(
    settings: Settings, *, person_id: str, printed_name: str, password: str, meaning: str, statement_hash: str
) -> Signature:
    """Sign the hash of a statement as a person.

    Raises:
        NotAllowed: the password does not open the person's key.
        NotFound: the person has no key.
    """
    entry = _newest_key(settings, person_id)
    try:
        raw = AESGCM(_derive(password, base64.b64decode(entry["salt"]))).decrypt(
            base64.b64decode(entry["nonce"]), base64.b64decode(entry["sealed_private"]), person_id.encode()
        )
    except InvalidTag:
        raise NotAllowed("That is not your password, so nothing was signed.", todo="Type it again.") from None
    unsigned = Signature(
        person_id=person_id,
        printed_name=printed_name,
        meaning=meaning,
        signed_at=now().isoformat(),
        statement_hash=statement_hash,
        key_id=str(entry["key_id"]),
        value="",
    )
    value = sign(Ed25519PrivateKey.from_private_bytes(raw), unsigned.signed_bytes())
    return Signature(**{**unsigned.__dict__, "value": value})


def verify_signature(settings: Settings, signature: Signature) -> bool:
    """Whether the signature was made with a key pinned for that person."""
    path = _folder(settings, signature.person_id) / f"{signature.key_id}.json"
    if not signature.key_id.isalnum() or not path.is_file():
        return False
    public = decode_public_key(json.loads(path.read_text())["public"])
    try:
        public.verify(base64.b64decode(signature.value), signature.signed_bytes())
    except (InvalidSignature, ValueError):
        return False
    return True


def signed_when(signature: Signature) -> datetime:
    """The moment of signing."""
    return datetime.fromisoformat(signature.signed_at)


def _folder(settings: Settings, person_id: str) -> Path:
    if not person_id.replace("-", "").isalnum():
        raise NotFound(f"{person_id!r} is not a person's id.")
    return settings.keys_folder / "people" / person_id


def _newest_key(settings: Settings, person_id: str) -> dict[str, Any]:
    entries = [json.loads(path.read_text()) for path in _folder(settings, person_id).glob("*.json")]
    if not entries:
        raise NotFound("You have no signing key yet.", todo="Ask an admin to set your password again, which makes one.")
    return dict(max(entries, key=lambda entry: entry["made_at"]))


def _derive(password: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(password.encode())
