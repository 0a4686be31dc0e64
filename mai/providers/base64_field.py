"""The image in an answer's JSON, taken out before the JSON is read.

Nearly all of an answer is one base64 text. To parse it as a JSON string, to count its signs and to
decode it by the standard library costs as much as half of the image's decompression; here it is
found, cut out and, where pydantic is loaded anyway (ComfyUI does so), decoded by its Rust code.
"""

from __future__ import annotations

import base64
import logging
import re
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)

PLACE = "lifted"
"""What stands in the JSON where the image was."""

SLICE = 1 << 20
"""Characters decoded at a time, a multiple of 4: the standard library holds the interpreter's lock
for 2.5 ms a slice, and no event loop should wait for all of a large image."""

_FIELD = re.compile(rb'"b64_json"\s*:\s*"')

_TRIAL = b"AAECA/4="


def lift(body: bytes) -> tuple[bytes, memoryview]:
    """The JSON with PLACE for its first `b64_json`, and the text that stood there, as a view.

    The text is empty where there is nothing to lift: no such field, or one with escapes in it; the
    JSON is then the body itself. The field's name in quotes can't stand inside of another string,
    where its quotes would be escaped.
    """
    view, found = memoryview(body), _FIELD.search(body)
    end = body.find(b'"', found.end()) if found else -1
    if found is None or end < 0 or body.find(b"\\", found.end(), end) >= 0:
        return body, view[:0]
    json = b"".join((view[: found.end()], PLACE.encode("ascii"), view[end:]))
    return json, view[found.end() : end]


def unpack(text: bytes | memoryview) -> bytes:
    """The bytes of a base64 text, RFC 4648 section 4, strictly; ValueError for anything else."""
    fast, quoted = _pydantic(), b"".join((b'"', text, b'"'))
    # pydantic also takes the alphabet for addresses, and text without its padding.
    if fast is not None and len(text) % 4 == 0 and b"-" not in quoted and b"_" not in quoted:
        try:
            return fast(quoted)
        except ValueError:
            logger.debug("pydantic doesn't take a base64 text: the standard library decides")
    if 0 <= quoted.find(b"=") < len(quoted) - 3:
        raise ValueError("padding in the middle")
    view = memoryview(quoted)[1:-1]
    parts = [view[at : at + SLICE] for at in range(0, len(view), SLICE)]
    return b"".join(base64.b64decode(part, validate=True) for part in parts)


def _pydantic() -> Callable[[bytes], bytes] | None:
    """pydantic's way from base64 in a JSON string to bytes, if it is loaded and can do so.

    It isn't imported for this: that takes longer than the decoding of many images.
    """
    if not _checked and "pydantic" in sys.modules:
        _checked.append(_adapter())
    return _checked[0] if _checked else None


_checked: list[Callable[[bytes], bytes] | None] = []


def _adapter() -> Callable[[bytes], bytes] | None:
    try:
        from pydantic import ConfigDict, TypeAdapter

        validate = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64")).validate_json
        # Versions before 2.9 don't know the option and give the text back.
        return validate if validate(b'"%b"' % _TRIAL) == base64.b64decode(_TRIAL) else None
    except (ImportError, TypeError, ValueError):
        return None
