"""Request bodies, read and unpacked within limits."""

import zlib

from starlette.requests import ClientDisconnect, Request

from workbench.core.errors import InvalidInput, TooLarge, WorkbenchError

_PIECE = 1 << 20


class UnsupportedEncoding(WorkbenchError):
    """The body is packed in a way we do not unpack."""

    status = 415


async def read_limited(request: Request, limit: int) -> bytes:
    """The body as it came over the wire.

    Raises:
        TooLarge: more than `limit` bytes; the rest is not read.
        InvalidInput: the sender went away in the middle.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        raise InvalidInput("The sender closed the connection before the body was complete.") from error
    return bytes(body)


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo `Content-Encoding` piece by piece, so that a bomb never grows beyond the limit.

    Raises:
        UnsupportedEncoding: neither gzip nor deflate nor identity.
        InvalidInput: the packed data is damaged or cut short.
        TooLarge: it unpacks to more than `limit` bytes.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip"):
        return _inflate(body, zlib.MAX_WBITS | 16, limit)
    if encoding == "deflate":
        try:
            return _inflate(body, zlib.MAX_WBITS, limit)
        except InvalidInput:
            return _inflate(body, -zlib.MAX_WBITS, limit)  # some senders leave the zlib header out
    raise UnsupportedEncoding(f"The encoding {encoding[:40]!r} is not supported.", todo="Use gzip, deflate or none.")


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    unpacked = bytearray()
    waiting = body
    while waiting:  # gzip may hold several members
        machine = zlib.decompressobj(window)
        while not machine.eof:
            try:
                piece = machine.decompress(waiting, min(_PIECE, limit + 1 - len(unpacked)))
            except zlib.error as error:
                raise InvalidInput("The compressed body is damaged.", why=str(error)) from error
            unpacked += piece
            if len(unpacked) > limit:
                raise _too_large(limit)
            waiting = machine.unconsumed_tail
            if not piece and not waiting and not machine.eof:
                raise InvalidInput("The compressed body is cut short.")
        waiting = machine.unused_data
    return bytes(unpacked)


def _too_large(limit: int) -> TooLarge:
    size = f"{limit // (1 << 20)} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    return TooLarge(f"The body is larger than {size}.", todo="Send it in smaller batches.")
