"""Content credentials in a file: whether it has a C2PA manifest, or names one that lies elsewhere.

Nothing is verified here, and nothing is fetched. Where a manifest stands in each format: C2PA
Technical Specification 2.1, section 11.3 and appendix A.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ImageError
from .marks import find_packet
from .parts import (
    AVIF,
    JPEG,
    PNG,
    WEBP,
    avif_boxes,
    jpeg_segments,
    media_type_of,
    png_chunks,
    webp_chunks,
)
from .xmp import read_packet

_APP11 = b"\xeb"
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The type of the uuid box that holds a manifest in AVIF."""

_PROVENANCE = "http://purl.org/dc/terms/ provenance"
"""The property of XMP by which a file names a manifest that lies elsewhere."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Where a file's manifest is: `embedded` in it, or at the address `remote`, which is never
    asked."""

    embedded: bool
    remote: str = ""


def find_manifest(data: bytes, packet: bytes | None = None) -> Manifest | None:
    """The manifest of a PNG, JPEG, WebP or AVIF, None where it has none; ImageError: damaged.

    `packet` is the XMP that an AVIF holds as an item, which isn't looked for here.
    """
    if _is_embedded(data):
        return Manifest(embedded=True)
    packet = packet or find_packet(data)
    try:
        remote = "" if packet is None else read_packet(packet).values.get(_PROVENANCE, "")
    except ImageError:  # what can't be read names nothing
        remote = ""
    return Manifest(embedded=False, remote=remote.strip()) if remote.strip() else None


def _is_embedded(data: bytes) -> bool:
    media_type = media_type_of(data)
    if media_type == PNG:
        return any(part.kind == b"caBX" for part in png_chunks(data))
    if media_type == WEBP:
        return any(part.kind == b"C2PA" for part in webp_chunks(data))
    if media_type == AVIF:
        boxes = avif_boxes(data)
        return any(box.kind == b"uuid" and box.content.startswith(_C2PA_BOX) for box in boxes)
    if media_type == JPEG:
        segments = (part for part in jpeg_segments(data) if part.kind == _APP11)
        return any(part.content.startswith(b"JP") and b"c2pa" in part.content for part in segments)
    return False
