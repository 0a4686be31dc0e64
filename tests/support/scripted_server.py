"""A MAI service made of raw sockets that does what a test tells it to, and keeps the bill."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field


@functools.lru_cache(maxsize=64)
def png(width: int = 1024, height: int = 1024, shade: int = 128) -> bytes:
    """A whole 8-bit RGB PNG of one colour, made without Pillow."""
    raw = (b"\0" + bytes([shade, shade // 2, 255 - shade]) * width) * height

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(raw, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def image_body(image: bytes, usage: dict[str, int] | None = None) -> bytes:
    """The body of a 200 with one image."""
    body: dict[str, object] = {
        "created": 1,
        "data": [{"b64_json": base64.b64encode(image).decode()}],
    }
    if usage is not None:
        body["usage"] = usage
    return json.dumps(body).encode()


def error_body(code: str, message: str) -> bytes:
    """The service's error envelope."""
    return json.dumps({"error": {"code": code, "message": message, "details": ""}}).encode()


@dataclass
class ReceivedRequest:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed


@dataclass
class Connection:
    """What a behaviour may do with a client."""

    socket: socket.socket
    server: Scripted

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.socket.sendall(data)

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send a whole answer."""
        self.send(response(status, body, headers))

    def hang_up(self) -> None:
        """Close with FIN at once."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with RST instead of FIN, and end the connection's thread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        raise ConnectionAbortedError


def response(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP/1.1 answer."""
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    fields.update(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


Behaviour = Callable[[Connection, ReceivedRequest], None]


def usage_of(width: int, height: int) -> dict[str, int]:
    """What the service counts for an image made from a short text."""
    return {
        "num_output_tokens": width * height // 1024,
        "num_input_text_tokens": 10,
        "num_input_image_tokens": 0,
    }


def deliver(width: int = 1024, height: int = 1024) -> Behaviour:
    """Bill one image and send it."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        connection.server.bill(request)
        connection.answer(200, image_body(png(width, height), usage_of(width, height)))

    return behave


def refuse(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, bill: bool = False
) -> Behaviour:
    """Answer with an error, billed or not."""

    def behave(connection: Connection, request: ReceivedRequest) -> None:
        if bill:
            connection.server.bill(request)
        connection.answer(status, body, headers)

    return behave


@dataclass
class Scripted:
    """The server. `script` holds what happens to the next requests; then `default` does.

    `before` runs on every new connection, before anything is read.
    """

    default: Behaviour = field(default_factory=deliver)
    script: list[Behaviour] = field(default_factory=list)
    before: Callable[[Connection], bool] | None = None
    requests: list[ReceivedRequest] = field(default_factory=list)
    billed: list[ReceivedRequest] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread on Linux
        self._listener.close()

    def bill(self, request: ReceivedRequest) -> None:
        """Write one image on the bill."""
        with self._lock:
            self.billed.append(request)

    def quiet(self, seconds: float = 5.0) -> None:
        """Wait until no client is connected: the bill is final then."""
        until = time.monotonic() + seconds
        while self._open:
            assert time.monotonic() < until, f"{self._open} clients are still connected"
            time.sleep(0.002)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        connection = Connection(client, self)
        try:
            if self.before is not None and not self.before(connection):
                return
            stream = client.makefile("rb")
            while (request := _read(stream)) is not None:
                with self._lock:
                    self.requests.append(request)
                    behave = self.script.pop(0) if self.script else self.default
                behave(connection, request)
        except OSError:
            pass
        finally:
            client.close()
            with self._lock:
                self._open -= 1


def _read(stream: socket.SocketIO | object) -> ReceivedRequest | None:
    line = stream.readline()  # type: ignore[attr-defined]
    if not line.strip():
        return None
    method, path, _ = line.decode().split()
    headers: dict[str, str] = {}
    while (line := stream.readline()).strip():  # type: ignore[attr-defined]
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _chunks(stream)
    else:
        length = int(headers.get("content-length", "0"))
        body = stream.read(length)  # type: ignore[attr-defined]
        if len(body) < length:
            return None
    return ReceivedRequest(method, path, headers, body, time.monotonic())


def _chunks(stream: object) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):  # type: ignore[attr-defined]
        body += stream.read(size)  # type: ignore[attr-defined]
        stream.readline()  # type: ignore[attr-defined]
    stream.readline()  # type: ignore[attr-defined]
    return body
