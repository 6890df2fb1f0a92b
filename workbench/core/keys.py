"""Ed25519 signing keys as files, made once, readable by their owner only."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from workbench.core.settings import Settings


def signing_key(settings: Settings, name: str) -> Ed25519PrivateKey:
    """The private key `name`, made at first use as `name.key` beside `name.pub`."""
    folder = settings.keys_folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.key"
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        private = base64.b64encode(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
        write_once(path, private, mode=0o600)
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes()))
    public = folder / f"{name}.pub"
    if not public.exists():  # a process that was killed here wrote the private half alone
        write_once(public, encode_public_key(key.public_key()).encode(), mode=0o644)
    return key


def write_once(path: Path, data: bytes, *, mode: int) -> None:
    """Write a whole file unless it exists; when two processes try at once, the first one's bytes stay."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()


def public_key(settings: Settings, name: str) -> Ed25519PublicKey:
    """The public half of `name`."""
    return signing_key(settings, name).public_key()


def encode_public_key(key: Ed25519PublicKey) -> str:
    """32 bytes as base64 text."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def decode_public_key(text: str) -> Ed25519PublicKey:
    """The inverse of `encode_public_key`."""
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))


def sign(key: Ed25519PrivateKey, data: bytes) -> str:
    """The signature over `data`, 64 bytes as base64 text."""
    return base64.b64encode(key.sign(data)).decode()


def secret_key(settings: Settings, name: str) -> bytes:
    """32 random bytes for hashing and encrypting, made at first use as `name.key`."""
    folder = settings.keys_folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.key"
    if not path.exists():
        write_once(path, base64.b64encode(os.urandom(32)), mode=0o600)
    return base64.b64decode(path.read_bytes())
