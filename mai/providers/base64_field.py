"""The image in an answer's JSON, taken out before the JSON is read.

Nearly all of an answer is one base64 string. To parse it as a JSON string and to decode it by the
standard library costs as much as half of the image's decompression; here it is found, cut out and
decoded by pydantic's Rust code.
"""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Callable
from functools import lru_cache

logger = logging.getLogger(__name__)

PLACEHOLDER = "image"
"""What stands in the JSON where the image was."""

SLICE = 1 << 16
"""Characters decoded at a time, a multiple of 4: decoders hold the interpreter's lock, the standard
library for 2.5 ms a slice, and no event loop should wait for all of a large image. What is copied
on the way is a slice too."""

_FIELD = re.compile(rb'"b64_json"\s*:\s*"')

_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""How files of PNG, JPEG, WebP and GIF begin."""

_TRIAL = b"AAECA/4="


def holds_image(body: bytes) -> bool:
    """Whether an answer that can't be read has an image in it all the same: base64 in JSON that is
    cut or damaged, or a bare file."""
    if body.startswith(_IMAGE_STARTS):
        return True
    found = _FIELD.search(body)
    return found is not None and body[found.end() : found.end() + 1] not in (b"", b'"')


def cut_out_image(body: bytes) -> tuple[bytes, memoryview]:
    """The JSON with PLACEHOLDER for its first `b64_json`, and the text that stood there, as a view.

    The view is empty where there is nothing to cut out: no such field, or one with escapes in it.
    The JSON is then the body itself. The field's name in quotes can't stand inside of another
    string, where its quotes would be escaped.
    """
    view, found = memoryview(body), _FIELD.search(body)
    end = body.find(b'"', found.end()) if found else -1
    if found is None or end < 0 or body.find(b"\\", found.end(), end) >= 0:
        return body, view[:0]
    json = b"".join((view[: found.end()], PLACEHOLDER.encode("ascii"), view[end:]))
    return json, view[found.end() : end]


def decode_base64(text: bytes | memoryview, characters: int = SLICE) -> bytes:
    """The bytes of base64 (RFC 4648 section 4), strictly; ValueError for anything else.

    `characters` are decoded at a time, a multiple of 4.
    """
    decode, decoded, view = pydantic_decoder(), io.BytesIO(), memoryview(text)
    for at in range(0, len(view), characters):
        part = bytes(view[at : at + characters])
        last = at + characters >= len(view)
        if b"=" in (part[:-2] if last else part):
            raise ValueError("padding in the middle")
        decoded.write(_decode_slice(part, decode))
    return decoded.getvalue()


def _decode_slice(text: bytes, decode: Callable[[bytes], bytes] | None) -> bytes:
    # pydantic also takes the alphabet for addresses, and text without its padding.
    if decode is not None and len(text) % 4 == 0 and b"-" not in text and b"_" not in text:
        try:
            return decode(b'"%b"' % text)
        except ValueError:
            logger.debug("pydantic doesn't take this base64: the standard library decides")
    return base64.b64decode(text, validate=True)


@lru_cache(maxsize=1)
def pydantic_decoder() -> Callable[[bytes], bytes] | None:
    """pydantic's way from base64 in a JSON string to bytes; None for a version before 2.9, which
    doesn't know the option and gives the text back."""
    from pydantic import ConfigDict, TypeAdapter

    try:
        decode = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64")).validate_json
        return decode if decode(b'"%b"' % _TRIAL) == base64.b64decode(_TRIAL) else None
    except (TypeError, ValueError):
        return None
