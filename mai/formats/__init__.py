"""Files as bytes: images, read and changed by their own structure, and JSON from outside.

`inspect` says what a PNG or JPEG is. A `Mark` is the standard statement in a file that its image
was made by a model (IPTC's DigitalSourceType, in XMP): `read_mark`, `write_mark`. `find_manifest`
looks for content credentials (C2PA), which any change of a file breaks. `read_workflow` and
`add_workflow` are ComfyUI's graph in a file. Files that can't be followed are ImageErrors here;
`inspect`, which judges answers of the service, raises AnswerError. `parse_json` reads JSON that
somebody else wrote. No pixel is decoded.
"""

from __future__ import annotations

from .headers import MAX_PIXELS, PNG_SIGNATURE, ImageHeader, inspect
from .json_text import MAX_JSON_DEPTH, MAX_JSON_ITEMS, parse_json
from .manifests import Manifest, find_manifest
from .marks import read_mark, write_mark
from .parts import AVIF, JPEG, PNG, WEBP, media_type_of, png_chunk
from .workflows import add_workflow, as_service_sent, read_workflow
from .xmp import COMPOSITE, GENERATED, Mark, build_packet, mark_of_packet

__all__ = [
    "AVIF",
    "COMPOSITE",
    "GENERATED",
    "JPEG",
    "MAX_JSON_DEPTH",
    "MAX_JSON_ITEMS",
    "MAX_PIXELS",
    "PNG",
    "PNG_SIGNATURE",
    "WEBP",
    "ImageHeader",
    "Manifest",
    "Mark",
    "add_workflow",
    "as_service_sent",
    "build_packet",
    "find_manifest",
    "inspect",
    "mark_of_packet",
    "media_type_of",
    "parse_json",
    "png_chunk",
    "read_mark",
    "read_workflow",
    "write_mark",
]
