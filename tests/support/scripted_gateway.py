"""A Pixazo gateway that breaks in the way that each prompt names, until it is mended.

The prompt is the id of its job and the name of a fault in FAULTS. While `mended` is False, a
finished job's status or image is what that fault says; from then on the image comes as it should.
"""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from scripted_server import png

STATUS = "/v2/requests/status/"
WHOLE = png(256, 256)

Answer = tuple[int, bytes]


def finished(media: object, **more: object) -> Answer:
    """The status of a completed job whose image is there."""
    return 200, json.dumps({"status": "COMPLETED", "output": {"media_url": media}, **more}).encode()


def with_wrong_checksum(image: bytes) -> bytes:
    """A PNG with one wrong CRC: that of its image data."""
    end = image.rindex(b"IEND") - 4
    return image[: end - 1] + bytes([image[end - 1] ^ 1]) + image[end:]


POLL_FAULTS: dict[str, Answer] = {
    **{f"poll-{status}": (status, b"{}") for status in (204, 302, 400, 401, 402, 403, 404, 410)},
    **{f"poll-{status}": (status, b"<html>") for status in (422, 429, 451, 500, 503)},
    "poll-html": (200, b"<html>"),
    "poll-empty": (200, b""),
    "poll-list": (200, b"[]"),
    "poll-error-without-status": (200, b'{"error":"Request not found"}'),
    "poll-unknown-status": (200, b'{"status":"EXPIRED"}'),
    "poll-of-another-job": (200, b'{"request_id":"another","status":"FAILED"}'),
    "no-output": (200, b'{"status":"COMPLETED"}'),
    "output-is-null": (200, b'{"status":"COMPLETED","output":null}'),
    "output-is-list": (200, b'{"status":"COMPLETED","output":[]}'),
    "no-address": finished([]),
    "address-is-a-number": finished([5]),
    "address-is-null-with-text": finished(None, error="still uploading"),
    "foreign-host": finished(["https://elsewhere.example/a.png"]),
    "plain-http": finished(["http://media.pixazo.ai/a.png"]),
    "no-url": finished(["not an address"]),
    "data-uri-cut": finished(["data:image/png;base64,iVBORw0KGgo"]),
    "data-uri-no-base64": finished(["data:image/png;base64,!!!!"]),
    "data-uri-other-type": finished(["data:text/html,hello"]),
    "data-uri-no-image": finished(
        [f"data:image/png;base64,{base64.b64encode(b'x' * 99).decode()}"]
    ),
}
"""What a poll of the finished job says."""

MEDIA_FAULTS: dict[str, Answer] = {
    **{f"media-{status}": (status, b"") for status in (204, 301, 401, 403, 404, 410, 429, 500)},
    "media-empty": (200, b""),
    "media-html": (200, b"<html>"),
    "media-webp": (200, b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(24)),
    "media-cut": (200, WHOLE[: len(WHOLE) // 2]),
    "media-wrong-checksum": (200, with_wrong_checksum(WHOLE)),
}
"""What the image's host says."""

FAULTS = (*POLL_FAULTS, *MEDIA_FAULTS)


class ScriptedGateway:
    """Listens on a free port from the start to `close`. `orders` are counted by prompt."""

    def __init__(self) -> None:
        self.mended = False
        self.end: bytes | None = None
        """A status for every poll, before all else."""
        self.orders: Counter[str] = Counter()
        self.asked: list[str] = []
        outer = self

        class Handler(_Handler):
            gateway = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()

    def order(self, prompt: str) -> Answer:
        """Begin the job of a prompt."""
        self.orders[prompt] += 1
        return 202, json.dumps({"request_id": prompt, "status": "QUEUED"}).encode()

    def status(self, job: str) -> Answer:
        """A poll."""
        if self.end is not None:
            return 200, self.end
        if not self.mended and job in POLL_FAULTS:
            return POLL_FAULTS[job]
        return finished([f"{self.url}/media/{job}"], request_id=job)

    def media(self, job: str) -> Answer:
        """The image."""
        return (200, WHOLE) if self.mended else MEDIA_FAULTS.get(job, (200, WHOLE))


class _Handler(BaseHTTPRequestHandler):
    gateway: ClassVar[ScriptedGateway]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(*self.gateway.order(json.loads(body)["prompt"]))

    def do_GET(self) -> None:
        self.gateway.asked.append(self.path)
        job = self.path.rpartition("/")[2]
        polled = self.path.startswith(STATUS)
        self._answer(*(self.gateway.status(job) if polled else self.gateway.media(job)))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status in (301, 302):
            self.send_header("location", "/")
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
