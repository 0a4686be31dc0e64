"""Bodies of answers: the image as the service sends it, and every way to get that wrong."""

from __future__ import annotations

import base64
import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PIL import Image

from . import paint
from .refusal import Refusal, of_status
from .tokens import Tokens

JSON = "application/json"
HTML = "text/html; charset=utf-8"
PAGE = (
    b"<!DOCTYPE html><html><body><h1>Bad gateway</h1><p>The emulator was asked.</p></body></html>"
)
GARBAGE = bytes((index * 151 + 17) % 256 for index in range(4096))

HUGE_BYTES = 70 * 2**20
"""Over the 64 MiB that a client should take."""

BOMB_SIDE = 30_000
"""Pixels a side of the image that a few bytes claim to be."""


@dataclass(frozen=True)
class Answer:
    """What goes out. `headers` are besides Content-Type and Content-Length."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def of_refusal(refused: Refusal) -> Answer:
    """An error in its envelope."""
    return Answer(refused.status, _json(refused.envelope()), JSON, refused.headers)


def of_json(status: int, value: object) -> Answer:
    """A JSON answer of this status."""
    return Answer(status, _json(value))


def of_fault(status: int, body: str, code: str | None) -> Answer:
    """An error that was asked for; `body` is envelope, html, empty or garbage."""
    if body == "envelope":
        return of_refusal(of_status(status, code))
    content, kind = {"html": (PAGE, HTML), "empty": (b"", JSON), "garbage": (GARBAGE, JSON)}[body]
    return Answer(status, content, kind)


def success(
    image: Image.Image,
    model: str,
    usage: Tokens,
    usage_form: str,
    kind: str | None,
    url: Callable[[bytes], str],
) -> Answer:
    """A 200. `kind` is one of directives.ANSWERS or None; `url` publishes a file and says where.

    The kinds that are no image at all are made of the good answer, so that they look like it.
    """
    if kind == "html":
        return Answer(200, PAGE, HTML)
    if kind in ("garbage", "empty-body"):
        return Answer(200, GARBAGE if kind == "garbage" else b"")
    width, height = image.size
    file = image_file(image, kind)
    whole: dict[str, object] = {
        "created": int(time.time()),
        "model": model,
        "size": f"{width}x{height}",
        **_usage(usage, usage_form),
        "data": _data(file, kind, url),
    }
    if kind == "wrong-shape":
        whole = {"result": {"images": [_base64(file)]}}
    body = _json([whole] if kind == "list" else whole)
    return Answer(200, body[: len(body) * 3 // 4] if kind == "cut-json" else body)


def _usage(usage: Tokens, form: str) -> dict[str, object]:
    if form == "top level":
        return {"num_output_tokens": usage.image_out}
    if form == "absent":
        return {}
    return {
        "usage": {
            "num_output_tokens": usage.image_out,
            "num_input_text_tokens": usage.text_in,
            "num_input_image_tokens": usage.image_in,
        }
    }


def _data(file: bytes, kind: str | None, url: Callable[[bytes], str]) -> list[dict[str, object]]:
    if kind == "empty-data":
        return []
    if kind == "no-image":
        return [{}]
    if kind == "url":
        return [{"url": url(file)}]
    text = _base64(file)
    if kind == "truncated-base64":
        text = text[: len(text) * 3 // 4 // 4 * 4 + 1]
    elif kind == "bad-base64":
        text = text[:100] + "!$!$" + text[100:]
    elif kind == "huge":
        text = "A" * HUGE_BYTES
    return [{"b64_json": text}]


def image_file(image: Image.Image, kind: str | None) -> bytes:
    """The file: a good PNG, or one of another kind."""
    if kind == "not-a-image":
        return b"This is no image. " * 50
    if kind == "bomb":
        return _bomb()
    if kind == "jpeg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return buffer.getvalue()
    modes = {"alpha": "RGBA", "grey": "L", "palette": "P"}
    if kind in modes:
        return paint.png(image.convert(modes[kind]))
    if kind == "16-bit":
        grey = image.convert("L").convert("I").point(lambda value: value * 257)
        return paint.png(grey.convert("I;16"))
    data = paint.png(image)
    return data[: len(data) // 2] if kind == "truncated-image" else data


def encoded(image: Image.Image, kind: str) -> bytes:
    """The file of an image as "png", "jpeg" or "webp"."""
    if kind == "png":
        return paint.png(image)
    buffer = io.BytesIO()
    image.save(buffer, kind.upper(), quality=90)
    return buffer.getvalue()


def spoilt(file: bytes, kind: str) -> bytes:
    """A good file made into one of the kinds of directives.ANSWERS."""
    plain = {"html": PAGE, "garbage": GARBAGE, "empty-body": b"", "huge": bytes(HUGE_BYTES)}
    if kind in plain:
        return plain[kind]
    with Image.open(io.BytesIO(file)) as image:
        return image_file(image.convert("RGB"), kind)


def _bomb() -> bytes:
    """A PNG whose header claims 900 megapixels, and whose data are one row."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(BOMB_SIDE * 3 + 1))
    chunks = ((b"IHDR", header), (b"IDAT", row), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
