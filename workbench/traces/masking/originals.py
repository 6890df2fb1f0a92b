"""Originals that a project keeps: encrypted with a key per end user, so that deleting the key is the erasure.

A key is 32 random bytes, wrapped by a key in the keys folder (AES-256-GCM both times). A span that names no end user gets a
key of its trace alone; forgetting a person takes the keys of their traces along.
"""

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlmodel import Session, col, select

from workbench.core.clock import now
from workbench.core.errors import IntegrityError
from workbench.core.keys import secret_key
from workbench.core.settings import Settings
from workbench.traces.masking.models import MaskedValue, PersonKey

_NONCE = 12
_AT_ONCE = 500


@dataclass
class PersonKeys:
    """The keys of a project's end users, within one transaction."""

    session: Session
    settings: Settings
    project_id: str
    _known: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._master = secret_key(self.settings, "originals")

    def reference(self, person: str) -> str:
        """What stands for a person in the table of keys; whoever has only the table cannot say who it is."""
        return hmac.new(self._master, f"{self.project_id}\n{person}".encode(), hashlib.sha256).hexdigest()[:40]

    def of(self, person: str) -> tuple[str, bytes]:
        """Id and bytes of a person's key, made when there is none."""
        reference = self.reference(person)
        if reference not in self._known:
            row = self.session.exec(
                select(PersonKey).where(
                    PersonKey.project_id == self.project_id,
                    PersonKey.person == reference,
                    PersonKey.wrapped != None,  # noqa: E711
                )
            ).first()
            if row is None:
                key = AESGCM.generate_key(256)
                row = PersonKey(project_id=self.project_id, person=reference)
                row.wrapped = _sealed(self._master, key, row.id)
                self.session.add(row)
                self.session.flush()
            self._known[reference] = (row.id, self.open(row))
        return self._known[reference]

    def open(self, row: PersonKey) -> bytes:
        """The bytes of a key that is not erased."""
        assert row.wrapped is not None
        return _opened(self._master, row.wrapped, row.id)

    def ids_of(self, persons: Sequence[str]) -> list[str]:
        """Ids of the keys of these that are not erased."""
        references = [self.reference(person) for person in persons]
        found: list[str] = []
        for start in range(0, len(references), _AT_ONCE):
            found += self.session.exec(
                select(PersonKey.id).where(
                    PersonKey.project_id == self.project_id,
                    col(PersonKey.person).in_(references[start : start + _AT_ONCE]),
                    col(PersonKey.wrapped).is_not(None),
                )
            ).all()
        return found

    def forget(self, key_ids: Sequence[str]) -> None:
        """Erase these keys."""
        for start in range(0, len(key_ids), _AT_ONCE):
            for row in self.session.exec(select(PersonKey).where(col(PersonKey.id).in_(key_ids[start : start + _AT_ONCE]))):
                row.wrapped, row.erased_at = None, now()
                self.session.add(row)
        self.session.flush()


def seal(keys: PersonKeys, row: MaskedValue, original: str, person: str | None) -> None:
    """Put the original into the row, encrypted for the person; without one, for the trace."""
    row.key_id, key = keys.of(f"user:{person}" if person else f"trace:{row.scope}")
    row.original = _sealed(key, original.encode(), _bound_to(row))


def unseal(row: MaskedValue, key: bytes) -> str:
    """The original.

    Raises:
        IntegrityError: the bytes were changed, or belong to another row.
    """
    assert row.original is not None
    return _opened(key, row.original, _bound_to(row)).decode()


def _bound_to(row: MaskedValue) -> str:
    return f"{row.project_id}\n{row.scope}\n{row.kind}\n{row.number}"


def _sealed(key: bytes, data: bytes, bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound_to.encode())


def _opened(key: bytes, data: bytes, bound_to: str) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], bound_to.encode())
    except InvalidTag as error:
        raise IntegrityError("An original cannot be decrypted.", why="Its bytes or its key were changed.") from error
