"""JSON that others wrote, read without using up this process's stack, memory or time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

MAX_JSON_ITEMS = 200_000
"""Braces, brackets and commas in an answer. One with an image has a few dozen, as base64 has none;
20 million empty lists, which fit into 64 MiB, would take 1.5 GB of memory."""

MAX_JSON_DEPTH = 64
"""Lists and objects inside of each other. The services' answers have 5. The parser would go down
to Python's own limit, where a garbage collection finds no stack left for what it has to call."""

_TOKEN = re.compile(r'"[^"]*"?|[\[\]{}]')


def parse_json(data: bytes, read_whole_number: Callable[[str], float] = float) -> object:
    """The value of a JSON text; ValueError for what isn't JSON, or is built to use up memory.

    Every number is a float, as Python takes minutes to read a whole number of a million digits;
    `read_whole_number` = int gives whole numbers, for data of this machine.
    """
    if sum(map(data.count, (b"{", b"[", b","))) > MAX_JSON_ITEMS:
        raise ValueError("too many items")
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    if text.count("[") + text.count("{") > MAX_JSON_DEPTH and _is_too_deep(text):
        raise ValueError("nested too deep")
    return json.loads(text, parse_int=read_whole_number)


def _is_too_deep(text: str) -> bool:
    """Whether lists and objects lie deeper inside of each other than MAX_JSON_DEPTH.

    What comes after the first mistake in a text doesn't matter: the parser stops there.
    """
    depth = strings = 0
    for token in _TOKEN.finditer(text.replace("\\\\", "").replace('\\"', "")):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        else:
            strings += 1
        if depth > MAX_JSON_DEPTH:
            return True
        # Valid JSON has no more closing brackets than opening ones, and two strings for an item.
        if depth < 0 or strings > 4 * MAX_JSON_ITEMS:
            return False
    return False
