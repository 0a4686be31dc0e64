"""An answer's body, read and unpacked within a limit."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

_GZIP_OR_ZLIB = 47
"""zlib's window bits for both formats, told apart by their headers."""


async def read(chunks: AsyncIterator[bytes], encoding: str, limit: int) -> bytes | str:
    """The whole body, at most `limit` bytes; or what is wrong with it, as the end of a sentence.

    `encoding` is the answer's Content-Encoding. None is asked for, but a proxy may pack an answer
    that is paid for: gzip and deflate are unpacked step by step, so that a few kilobytes never
    become gigabytes in memory.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        return "is packed in a way that was not asked for (its Content-Encoding)"
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB) if encoding not in ("", "identity") else None
    received = bytearray()
    async for chunk in chunks:
        if unpacker is not None:
            try:
                chunk = unpacker.decompress(chunk, limit - len(received) + 1)
            except zlib.error:
                return "can't be unpacked"
        received += chunk
        if len(received) > limit:
            return f"is larger than {limit // 2**20} MiB; the rest was not read"
    if unpacker is not None and received and not unpacker.eof:
        return "ends before it can be unpacked whole"
    return bytes(received)
