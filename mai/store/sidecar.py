"""The JSON file beside every kept image: what it is, what it cost, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone

from ..types import Result, Usage

VERSION = 1

_ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}

_OTHER = ".bin"

ENDINGS: tuple[str, ...] = (*_ENDINGS.values(), _OTHER)
"""Every name that an image's file can end with."""


class DamagedImage(Exception):
    """An image and its sidecar don't fit; the text says how, without a path."""


def ending(media_type: str) -> str:
    """The file name's end for a MIME type."""
    return _ENDINGS.get(media_type, _OTHER)


def digest(data: bytes) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def encode(
    key: str,
    result: Result,
    *,
    prompt: str,
    keep_prompt: bool,
    service: str,
    profile: str,
    now_ns: int,
) -> bytes:
    """The sidecar's bytes: no credential, no endpoint, and the prompt only if it may be kept."""
    usage = result.usage
    facts: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "sha256": digest(result.image),
        "bytes": len(result.image),
        "media_type": result.media_type,
        "width": result.width,
        "height": result.height,
        "asked": None if result.asked is None else list(result.asked),
        "model": result.model,
        "service": service,
        "profile": profile,
        "arrived_at": datetime.fromtimestamp(now_ns // 10**9, timezone.utc).isoformat(),
        "request_id": result.request_id,
        "usage": None
        if usage is None
        else {
            "text_in": usage.text_in,
            "image_in": usage.image_in,
            "image_out": usage.image_out,
        },
        "cost_usd": result.cost_usd,
        "seconds": result.seconds,
        "notes": list(result.notes),
        "prompt_sha256": digest(prompt.encode("utf-8", "surrogatepass")),
    }
    if keep_prompt:
        facts["prompt"] = prompt
    return json.dumps(facts, indent=1).encode("ascii")


def decode(data: bytes, key: str) -> dict[str, object]:
    """The sidecar's facts; raises DamagedImage where it isn't the sidecar of `key`."""
    try:
        facts = json.loads(data)
    except ValueError as error:
        raise DamagedImage("its sidecar is not JSON") from error
    if not isinstance(facts, dict) or facts.get("key") != key:
        raise DamagedImage("its sidecar belongs to another image")
    return facts


def result(facts: Mapping[str, object], image: bytes) -> Result:
    """The image as it is given from the store, free; raises DamagedImage.

    `image` are the bytes read: another length or hash than the sidecar's is damage.
    """
    if len(image) != facts.get("bytes") or digest(image) != facts.get("sha256"):
        raise DamagedImage(f"its {len(image)} bytes are not those that arrived")
    try:
        return _result(facts, image)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedImage("its sidecar is incomplete") from error


def _result(facts: Mapping[str, object], image: bytes) -> Result:
    asked, usage, notes = facts.get("asked"), facts.get("usage"), facts.get("notes")
    request_id, seconds = facts.get("request_id"), facts.get("seconds")
    return Result(
        image=image,
        media_type=_text(facts["media_type"]),
        width=_whole(facts["width"]),
        height=_whole(facts["height"]),
        model=_text(facts["model"]),
        asked=(_whole(asked[0]), _whole(asked[1])) if isinstance(asked, list) else None,
        request_id=None if request_id is None else _text(request_id),
        usage=_usage(usage) if isinstance(usage, dict) else None,
        cost_usd=0.0,
        from_store=True,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else 0.0,
        notes=tuple(_text(note) for note in notes) if isinstance(notes, list) else (),
    )


def _usage(counted: Mapping[str, object]) -> Usage:
    return Usage(
        text_in=_whole(counted["text_in"]),
        image_in=_whole(counted["image_in"]),
        image_out=_whole(counted["image_out"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {type(value).__name__}")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"not a whole number: {type(value).__name__}")
    return value
