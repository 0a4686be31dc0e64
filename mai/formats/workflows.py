"""ComfyUI's graph in a file: the texts "prompt" and "workflow", where its page looks for them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from .headers import PNG_SIGNATURE
from .marks import KEYWORD
from .parts import PNG, WEBP, Part, add_png_texts, media_type_of, png_chunks, webp_chunks

NAMES = ("prompt", "workflow")

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ASCII, _MOST_TAGS = 2, 1000


def add_workflow(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG with these texts, as core's Save Image writes them; its pixels are not touched."""
    return add_png_texts(data, texts) if texts else data


def read_workflow(data: bytes) -> dict[str, str]:
    """The JSON texts "prompt" and "workflow" of a PNG or WebP; those that are there. ImageError."""
    media_type = media_type_of(data)
    texts: Iterator[tuple[str, str]] = iter(())
    if media_type == PNG:
        texts = (text for part in png_chunks(data) if (text := _text_of(part)) is not None)
    elif media_type == WEBP:
        exif = next((part.content for part in webp_chunks(data) if part.kind == b"EXIF"), b"")
        texts = _exif_texts(exif.removeprefix(b"Exif\0\0"))
    return {name: text for name, text in texts if name in NAMES}


def as_service_sent(data: bytes) -> bytes:
    """A PNG without what MAI Save Image puts into an image that it doesn't encode: the mark and
    the workflow. The bytes that arrived, if the file was one of these; else of no use."""
    if media_type_of(data) != PNG:
        return data
    kept = (data[part.start : part.end] for part in png_chunks(data) if not _is_added(part))
    return PNG_SIGNATURE + b"".join(kept)


def _is_added(part: Part) -> bool:
    text = _text_of(part)
    return part.content.startswith(KEYWORD) or (text is not None and text[0] in NAMES)


def _text_of(part: Part) -> tuple[str, str] | None:
    """Keyword and text of a chunk that holds any; not of a compressed one."""
    keyword, _, rest = part.content.partition(b"\0")
    if part.kind == b"tEXt":
        return keyword.decode("latin-1"), rest.decode("latin-1")
    if part.kind == b"iTXt" and rest[:1] == b"\0":
        text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        return keyword.decode("latin-1"), text.decode("utf-8", "replace")
    return None


def _exif_texts(exif: bytes) -> Iterator[tuple[str, str]]:
    """The first texts "name:value" of EXIF's first directory (CIPA DC-008, section 4.6), by NAMES:
    a thousand tags may all be the same 30 MB."""
    order = _ORDERS.get(exif[:4])
    if order is None:
        return
    left = set(NAMES)
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(min(count, _MOST_TAGS)):
            at = directory + 2 + 12 * entry
            _, kind, length, start = struct.unpack_from(f"{order}HHII", exif, at)
            name = exif[start : start + 9].partition(b":")[0].decode("latin-1").lower()
            if kind == _ASCII and length > 4 and name in left:
                left.remove(name)
                value = exif[start : start + length].rstrip(b"\0")
                yield name, value[len(name) + 1 :].decode("utf-8", "replace")
    except struct.error:
        return
