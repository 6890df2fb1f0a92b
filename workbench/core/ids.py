"""Identifiers: UUIDv7, so that ids sort by the time they were made."""

import os
import time
import uuid


def new_id() -> str:
    """A new UUID version 7 as 36 lower-case characters.

    Source: RFC 9562, section 5.7 (48 bits of Unix milliseconds, then random bits).
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & ((1 << 48) - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=value))


def is_id(text: str) -> bool:
    """Whether `text` is the canonical form of a UUID."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
