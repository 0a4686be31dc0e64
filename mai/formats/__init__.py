"""Bytes that others wrote, read without using up this process's stack, memory or time.

`inspect` reads an image's header and checks its structure; it decodes no pixel. `parse_json` reads
JSON text with limits on its depth and its items.
"""

from __future__ import annotations

from .images import MAX_PIXELS, PNG_SIGNATURE, ImageHeader, inspect
from .json_text import MAX_JSON_DEPTH, MAX_JSON_ITEMS, parse_json

__all__ = [
    "MAX_JSON_DEPTH",
    "MAX_JSON_ITEMS",
    "MAX_PIXELS",
    "PNG_SIGNATURE",
    "ImageHeader",
    "inspect",
    "parse_json",
]
