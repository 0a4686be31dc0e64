"""The JSON file beside every kept image: what it is, what it cost, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from ..safe_json import parse_json
from ..types import Result, Usage

VERSION = 1

_STRINGS = (
    "key", "sha256", "media_type", "model", "service", "profile", "arrived_at", "prompt_sha256",
)  # fmt: skip
_COUNTS = ("version", "bytes", "width", "height")
_USAGE = ("text_in", "image_in", "image_out")

_MAX_NUMBER = 2**53
"""The largest number up to which every JSON reader gives whole numbers exactly."""

_YEAR_10000 = 253_402_300_800
"""Seconds since 1970."""


class DamagedImage(Exception):
    """An image and its sidecar don't fit; the text says how, without a path."""


def build_sidecar(
    key: str,
    result: Result,
    *,
    prompt: str,
    keep_prompt: bool,
    service: str,
    profile: str,
    settings: Mapping[str, object] | None = None,
    now_ns: int,
) -> bytes:
    """The sidecar's bytes: no credential, no endpoint, and the prompt only if it may be kept.

    Numbers that no image can have (a service may send any) become the nearest that can be read.
    """
    facts: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "sha256": hashlib.sha256(result.image).hexdigest(),
        "bytes": len(result.image),
        "media_type": result.media_type,
        "width": _bound(result.width),
        "height": _bound(result.height),
        "asked": None if result.asked is None else list(result.asked),
        "model": result.model,
        "service": service,
        "profile": profile,
        "arrived_at": _format_time(now_ns),
        "request_id": result.request_id,
        "usage": _usage_facts(result.usage),
        "cost_usd": _bound_amount(result.cost_usd),
        "seconds": _bound_amount(result.seconds),
        "notes": list(result.notes),
        "prompt_sha256": _hash_prompt(prompt),
    }
    if settings is not None:
        facts["settings"] = dict(settings)
    if keep_prompt:
        facts["prompt"] = prompt
    return json.dumps(facts, indent=1).encode("ascii")


def build_unreadable_sidecar(
    key: str,
    data: bytes,
    *,
    reason: str,
    request_id: str | None,
    cost_usd: float | None,
    model: str,
    prompt: str,
    keep_prompt: bool,
    service: str,
    profile: str,
    now_ns: int,
) -> bytes:
    """The sidecar of bytes that can't be read as an image: the same fields, and the reason."""
    facts: dict[str, object] = {
        "version": VERSION,
        "key": key,
        "reason": reason,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "model": model,
        "service": service,
        "profile": profile,
        "arrived_at": _format_time(now_ns),
        "request_id": request_id,
        "cost_usd": _bound_amount(cost_usd),
        "prompt_sha256": _hash_prompt(prompt),
    }
    if keep_prompt:
        facts["prompt"] = prompt
    return json.dumps(facts, indent=1).encode("ascii")


def parse_unreadable_sidecar(data: bytes, key: str) -> tuple[str, str | None]:
    """The reason, and the request id; raises DamagedImage where they aren't to be had."""
    facts = _parse_object(data, key)
    reason, request_id = facts.get("reason"), facts.get("request_id")
    if not isinstance(reason, str) or not reason.strip():
        raise DamagedImage("its sidecar has no reason")
    return reason, request_id if isinstance(request_id, str) else None


def parse_sidecar(data: bytes, key: str) -> dict[str, Any]:
    """The sidecar's facts, each of its type; raises DamagedImage where one isn't, or is missing.

    The image's bytes are still to be compared: see `restore`.
    """
    facts = _parse_object(data, key)
    try:
        valid = _is_valid(facts)
    except KeyError as error:
        raise DamagedImage(f"its sidecar lacks {error}") from error
    if not valid:
        raise DamagedImage("its sidecar has values of a wrong type")
    return facts


def restore(facts: dict[str, Any], image: bytes) -> Result:
    """The image as the store gives it, free. `facts` are `parse_sidecar`'s.

    Raises DamagedImage where the bytes have another length or hash than those that were kept.
    """
    if len(image) != facts["bytes"] or hashlib.sha256(image).hexdigest() != facts["sha256"]:
        raise DamagedImage(f"its {len(image)} bytes are not those that arrived")
    asked, usage = facts["asked"], facts["usage"]
    return Result(
        image=image,
        media_type=facts["media_type"],
        width=facts["width"],
        height=facts["height"],
        model=facts["model"],
        asked=None if asked is None else (asked[0], asked[1]),
        request_id=facts["request_id"],
        usage=None if usage is None else Usage(*(usage[name] for name in _USAGE)),
        cost_usd=0.0,
        from_store=True,
        seconds=float(facts["seconds"]),
        notes=tuple(facts["notes"]),
    )


def _parse_object(data: bytes, key: str) -> dict[str, Any]:
    """The JSON object of a sidecar; raises DamagedImage where it is none, or of another key."""
    try:
        facts = parse_json(data, read_whole_number=int)
    except ValueError as error:
        raise DamagedImage("its sidecar is not JSON") from error
    if not isinstance(facts, dict) or facts.get("key") != key:
        raise DamagedImage("its sidecar belongs to another image")
    return facts


def _format_time(now_ns: int) -> str:
    """ISO 8601, UTC. A clock beyond the year 9999 tells no time."""
    seconds = now_ns // 10**9
    if not 0 <= seconds < _YEAR_10000:
        seconds = 0
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()


def _hash_prompt(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def _usage_facts(usage: Usage | None) -> dict[str, int] | None:
    return None if usage is None else {n: _bound(count) for n, count in asdict(usage).items()}


def _bound(count: int) -> int:
    return min(max(count, 0), _MAX_NUMBER)


def _bound_amount(amount: float | None) -> float | None:
    """None stays None; NaN is 0."""
    if amount is None or _is_amount(amount):
        return amount
    return float(_MAX_NUMBER) if amount > 0 else 0.0


def _is_valid(facts: dict[str, Any]) -> bool:
    """Whether every field holds what `build_sidecar` can have written; KeyError: it isn't there."""
    asked, usage, notes = facts["asked"], facts["usage"], facts["notes"]
    request_id, cost_usd = facts["request_id"], facts["cost_usd"]
    return (
        all(isinstance(facts[name], str) for name in _STRINGS)
        and all(_is_count(facts[name]) for name in _COUNTS)
        and (asked is None or (isinstance(asked, list) and len(asked) == 2))
        and all(_is_count(side) for side in asked or ())
        and (usage is None or isinstance(usage, dict))
        and (usage is None or all(_is_count(usage[name]) for name in _USAGE))
        and (request_id is None or isinstance(request_id, str))
        and (cost_usd is None or _is_amount(cost_usd))
        and _is_amount(facts["seconds"])
        and (isinstance(notes, list) and all(isinstance(note, str) for note in notes))
        and isinstance(facts.get("prompt", ""), str)
        and isinstance(facts.get("settings", {}), dict)
    )


def _is_amount(value: object) -> bool:
    """NaN, which JSON can hold in Python, is none: it compares False."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 <= value <= _MAX_NUMBER


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_amount(value)
