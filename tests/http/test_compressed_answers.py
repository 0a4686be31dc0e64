"""A compressed answer ends where its stream ends, whatever a server sends after that."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from mai_image.mai.auth import Headers, KeyCredential, Secret
from mai_image.mai.errors import AnswerError
from mai_image.mai.http import HttpAnswer, HttpRequest, Transport, transport
from mai_image.mai.profiles import Profile
from scripted_server import Connection, ReceivedRequest, Scripted, image_body, png, refuse

BODY = image_body(png(256, 256))


def bare(data: bytes) -> bytes:
    """Deflate without a header (RFC 1951)."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
}


@pytest.fixture
def server() -> Iterator[Scripted]:
    server = Scripted()
    yield server
    server.close()


def call(server: Scripted) -> HttpAnswer:
    key = KeyCredential(lambda: Secret("canary-key-0123456789"), "a test")
    profile = Profile("test", "foundry", server.url, key, timeout=20.0)

    async def run() -> HttpAnswer:
        transport = Transport()
        try:
            request = HttpRequest("POST", server.url + "/x", json={})
            return await transport.exchange(request, Headers(), profile)
        finally:
            await transport.close()

    return asyncio.run(run())


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    "after",
    [b"", b"\0" * 9, b"garbage", gzip.compress(b"more"), b"\x1f\x8b"],
    ids=["nothing", "zeros", "garbage", "another file", "half a head"],
)
def test_what_follows_the_end_is_not_read(packing: str, after: bytes, server: Scripted) -> None:
    name, pack = PACKINGS[packing]
    server.default = refuse(200, pack(BODY) + after, {"content-encoding": name})
    assert call(server).body == BODY


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    "piece", [bytes(65536), gzip.compress(bytes(65536))], ids=["plain", "packed"]
)
def test_an_answer_that_goes_on_without_end_is_delivered_at_once(
    packing: str, piece: bytes, server: Scripted
) -> None:
    name, pack = PACKINGS[packing]

    def endless(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(f"HTTP/1.1 200 X\r\ncontent-encoding: {name}\r\n\r\n".encode())
        connection.send(pack(BODY))
        while True:
            connection.send(piece)

    server.default = endless
    began = time.monotonic()
    assert call(server).body == BODY
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("packing", PACKINGS)
def test_an_answer_that_comes_byte_by_byte_is_read(packing: str, server: Scripted) -> None:
    name, pack = PACKINGS[packing]

    def slowly(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(f"HTTP/1.1 200 X\r\ncontent-encoding: {name}\r\n\r\n".encode())
        for byte in pack(b'{"a":1}'):
            connection.send(bytes([byte]))
            time.sleep(0.002)
        connection.hang_up()

    server.default = slowly
    assert call(server).body == b'{"a":1}'


def test_raw_bytes_that_decompress_to_nothing_are_limited(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty stored blocks: five bytes each, and nothing comes out."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 2**20)
    sent = []

    def endless(connection: Connection, request: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n")
        connection.send(gzip.compress(b"")[:10])
        while True:
            connection.send(b"\x00\x00\x00\xff\xff" * 10_000)
            sent.append(50_000)

    server.default = endless
    tracemalloc.start()
    with pytest.raises(AnswerError, match="larger than 1 MiB"):
        call(server)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * 2**20
    assert sum(sent) < 64 * 2**20
