"""Messages between the api and the process that takes spans in, over a pair of pipes.

A message is a head, which is a JSON object, and a body of bytes that go as they are.
"""

import struct
from typing import Any

import orjson

_SIZES = struct.Struct(">II")


def packed(head: dict[str, Any], body_size: int = 0) -> bytes:
    """A message but for its body, whose bytes follow."""
    written = orjson.dumps(head)
    return _SIZES.pack(len(written), body_size) + written


class Unpacker:
    """Takes bytes as they come and gives messages as they are complete."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[tuple[dict[str, Any], bytes]]:
        """The messages that are complete with this piece, as pairs of head and body."""
        self._bytes += piece
        found, place = [], 0
        while len(self._bytes) - place >= _SIZES.size:
            head_size, body_size = _SIZES.unpack_from(self._bytes, place)
            head_at = place + _SIZES.size
            body_at = head_at + head_size
            if len(self._bytes) < body_at + body_size:
                break
            found.append((orjson.loads(self._bytes[head_at:body_at]), bytes(self._bytes[body_at : body_at + body_size])))
            place = body_at + body_size
        del self._bytes[:place]
        return found
