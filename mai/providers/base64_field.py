"""The image in an answer: its base64 in the JSON, taken out before the JSON is read, or a data URI.

Nearly all of an answer is one base64 string. To parse it as a JSON string and to decode it by the
standard library costs as much as half of the image's decompression; here it is found, cut out and
decoded by pydantic's Rust code.
"""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from ..errors import AnswerError, BlockedError, ServiceError, UnreadableError
from ..http import HttpAnswer
from .answers import error_in_200, find_error, unusable

logger = logging.getLogger(__name__)

PLACEHOLDER = "image"
"""What stands in the JSON where the image was."""

SLICE = 1 << 16
"""Characters decoded at a time, a multiple of 4: decoders hold the interpreter's lock, the standard
library for 2.5 ms a slice, and no event loop should wait for all of a large image. What is copied
on the way is a slice too."""

_FIELD = re.compile(rb'"b64_json"\s*:\s*"')

_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]{1,40};base64,", re.IGNORECASE)

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


def data_uri(image: bytes, media_type: str) -> str:
    """An image as a data URI (RFC 2397)."""
    return f"data:{media_type};base64,{base64.b64encode(image).decode('ascii')}"


def image_of_data_uri(uri: str) -> bytes | None:
    """The image in a data URI, None for an address; AnswerError for damaged base64."""
    if uri[:5].lower() != "data:":
        return None
    head = _DATA_URI.match(uri)
    try:
        return decode_base64(uri[head.end() :].encode("ascii") if head else b"!")
    except ValueError:
        raise AnswerError(
            "The image in the gateway's answer is cut or damaged.",
            "Check that no proxy changes or cuts its answers; then queue again.",
        ) from None


def first_image(
    body: Mapping[str, object],
    encoded: memoryview,
    answer: HttpAnswer,
    cost_usd: float | None,
    service: str,
) -> bytes:
    """The bytes of the first image in `data`; `encoded` is its base64 where that was cut out.

    `cost_usd` is what the `service` counted, for the error where there is none.
    """
    data = body.get("data")
    first = data[0] if isinstance(data, list) and data else None
    item = first if isinstance(first, dict) else {}
    text = item.get("b64_json")
    cut_out = text == PLACEHOLDER
    if not isinstance(text, str) or not text or (cut_out and not encoded):
        raise _without_image(body, item, answer, cost_usd, service)
    try:
        return decode_base64(encoded if cut_out else text.encode("ascii"))
    except ValueError:
        received = bytes(encoded) if cut_out else text.encode("utf-8", "replace")
        what = "The image's base64 is cut or damaged."
        raise unreadable(answer, what, received, cost_usd) from None


def unreadable(
    answer: HttpAnswer, what: str, received: bytes, cost_usd: float | None
) -> UnreadableError:
    """The error for an image that came and can't be read; it keeps what was received."""
    error = UnreadableError(
        what,
        "Another seed buys another image.",
        status=answer.status,
        request_id=answer.request_id,
        cost_usd=cost_usd,
    )
    error.received = received
    return error


def size_notes(asked: tuple[int, int] | None, size: tuple[int, int]) -> tuple[str, ...]:
    """A sentence for the user where another size came than was asked for."""
    if not asked or asked == size:
        return ()
    return (f"asked for {asked[0]}x{asked[1]}, the service sent {size[0]}x{size[1]}",)


def _without_image(
    body: Mapping[str, object],
    item: Mapping[str, object],
    answer: HttpAnswer,
    cost_usd: float | None,
    service: str,
) -> ServiceError:
    """What a 200 without an image stands for; `item` is the first of its list of images."""
    for holder in (body, item):
        if holder.get("error"):
            return error_in_200(answer, holder, service, cost_usd)
    data = body.get("data")
    if data == [] or (data is None and cost_usd is not None):
        return BlockedError(
            "The service answered without an image: usually the content filter stopped it.",
            "Change the prompt or a reference; the filter isn't deterministic, so another seed may "
            "pass too.",
            status=answer.status,
            code="empty_data",
            request_id=answer.request_id,
            cost_usd=cost_usd,
        )
    if data is None and find_error(body, answer.redactor).message:
        return error_in_200(answer, body, service, cost_usd)
    if isinstance(item.get("url"), str):
        what = "gives an address instead of the image, which is not followed"
    else:
        what = "has no image in it" if item else "has no list of images"
    return unusable(answer, what, service, cost_usd)
