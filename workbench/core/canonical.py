"""Canonical bytes and the hashes that name content."""

import hashlib
from pathlib import Path
from typing import Any

import rfc8785

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

_CHUNK = 1 << 20


def canonical_bytes(value: Any) -> bytes:
    """The one byte form of a JSON value.

    Raises:
        rfc8785.CanonicalizationError: the value is not plain JSON (for example NaN or an integer beyond 2^53).

    Source: RFC 8785, JSON Canonicalization Scheme.
    """
    return rfc8785.dumps(value)


def hash_bytes(data: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def content_hash(value: Any) -> str:
    """The hash that names a JSON value, wherever it is stored."""
    return hash_bytes(canonical_bytes(value))


def hash_file(path: Path) -> str:
    """The hash of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def folder_manifest(folder: Path) -> dict[str, str]:
    """Relative POSIX path → hash, for every file below `folder`; links are refused.

    Raises:
        ValueError: the folder contains a symbolic link.
    """
    manifest: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link; only plain files can be named by their content")
        if path.is_file():
            manifest[path.relative_to(folder).as_posix()] = hash_file(path)
    return manifest


def hash_folder(folder: Path) -> str:
    """The hash of a folder: that of its canonical manifest of paths and file hashes."""
    return content_hash(folder_manifest(folder))


def short_hash(value: str, length: int = 12) -> str:
    """A hash as people read it in a page: the first hexadecimal digits."""
    return value.removeprefix("sha256:")[:length]
