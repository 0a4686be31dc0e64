"""The JSON file beside every kept image: what it is, what it cost, and what its bytes hash to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from ..errors import UnreadableError
from ..formats import parse_json
from ..types import Result, Usage

VERSION = 1

_STRINGS = (
    "key", "sha256", "media_type", "model", "service", "profile", "arrived_at", "prompt_sha256",
)  # fmt: skip
_COUNTS = ("version", "bytes", "width", "height")
USAGE = ("text_in", "image_in", "image_out")
"""The numbers of `usage`, in the order of `types.Usage`."""

_MAX_NUMBER = 2**53
"""The largest number up to which every JSON reader gives whole numbers exactly."""

_YEAR_10000 = 253_402_300_800
"""Seconds since 1970."""


class DamagedImage(Exception):
    """An image and its sidecar don't fit; the text says how, without a path."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an image was ordered with: the prompt, the service as the store knows it, the profile's
    name, whether the prompt itself may be kept, and what else the node was set to (kind, seed and
    options), to ask for it again."""

    prompt: str
    service: str
    profile: str
    keep_prompt: bool = True
    settings: Mapping[str, object] | None = None


def build_sidecar(key: str, result: Result, order: Order, now_ns: int) -> dict[str, Any]:
    """The sidecar's facts: no credential, no endpoint, and the prompt only if it may be kept.

    Numbers that no image can have (a service may send any) become the nearest that can be read.
    """
    usage = None if result.usage is None else asdict(result.usage)
    facts: dict[str, object] = {
        "media_type": result.media_type,
        "width": _bound(result.width),
        "height": _bound(result.height),
        "asked": None if result.asked is None else list(result.asked),
        "model": result.model,
        "request_id": result.request_id,
        "usage": usage and {name: _bound(count) for name, count in usage.items()},
        "cost_usd": _bound(result.cost_usd),
        "seconds": _bound(result.seconds),
        "notes": list(result.notes),
    }
    if order.settings is not None:
        facts["settings"] = dict(order.settings)
    return _with_order(key, result.image, facts, order, now_ns)


def build_unreadable_sidecar(
    key: str, model: str, error: UnreadableError, order: Order, now_ns: int
) -> dict[str, Any]:
    """The sidecar of bytes that can't be read as an image: the same fields, and the reason."""
    facts: dict[str, object] = {
        "reason": error.what,
        "model": model,
        "request_id": error.request_id,
        "cost_usd": _bound(error.cost_usd),
    }
    return _with_order(key, error.received, facts, order, now_ns)


def dump_sidecar(facts: dict[str, Any]) -> bytes:
    """The sidecar's file."""
    return json.dumps(facts, indent=1).encode("ascii")


def _with_order(
    key: str, data: bytes, facts: dict[str, object], order: Order, now_ns: int
) -> dict[str, Any]:
    prompt = order.prompt.encode("utf-8", "surrogatepass")
    facts = {
        "version": VERSION,
        "key": key,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "service": order.service,
        "profile": order.profile,
        "arrived_at": _format_time(now_ns),
        "prompt_sha256": hashlib.sha256(prompt).hexdigest(),
        **facts,
    }
    if order.keep_prompt:
        facts["prompt"] = order.prompt
    return facts


def parse_unreadable_sidecar(data: bytes, key: str) -> tuple[str, str | None]:
    """The reason, and the request id; raises DamagedImage where they aren't to be had."""
    facts = _parse_object(data, key)
    reason, request_id = facts.get("reason"), facts.get("request_id")
    if not isinstance(reason, str) or not reason.strip():
        raise DamagedImage("its sidecar has no reason")
    return reason, request_id if isinstance(request_id, str) else None


def unreadable_facts(sidecar: bytes, data: bytes, key: str) -> dict[str, Any]:
    """The facts of bytes that are no image; raises DamagedImage where they aren't those."""
    facts = _parse_object(sidecar, key)
    if hashlib.sha256(data).hexdigest() != facts.get("sha256"):
        raise DamagedImage("its bytes are not those that arrived")
    return facts


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
        usage=None if usage is None else Usage(*(usage[name] for name in USAGE)),
        cost_usd=0.0,
        from_store=True,
        seconds=float(facts["seconds"]),
        notes=tuple(facts["notes"]),
        key=facts["key"],
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


def _bound(number: float | None) -> float | None:
    """The nearest number that can be read again; NaN is 0."""
    if number is None or 0 <= number <= _MAX_NUMBER:
        return number
    return _MAX_NUMBER if number > 0 else 0


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
        and (usage is None or all(_is_count(usage[name]) for name in USAGE))
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
