"""The images of the store: facts for the sidebar tab, thumbnails, and whole files."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..mai.errors import AnswerError
from ..mai.formats import inspect
from ..mai.models import CATALOGUE
from ..mai.types import Usage

if TYPE_CHECKING:
    from ..mai.profiles import Profiles
    from ..mai.store import Search, Store

MOST = 60
"""Images of one answer: two or three screens of thumbnails."""

SIDE = 320
"""Pixels of a thumbnail's longer side: twice the width of a column in the sidebar."""

SERVED = frozenset({"image/png", "image/jpeg", "image/webp"})
"""Types that a browser shows as an image; anything else in the store isn't served."""

_KEPT_THUMBNAILS = 300
"""About 6 MB of JPEGs."""

_UNREADABLE = (
    AnswerError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for a damaged file."""

_FACTS = ("key", "width", "height", "model", "profile", "cost_usd", "seconds", "arrived_at")

_SETTINGS: Mapping[str, type] = {
    "kind": str,
    "seed": int,
    "auto_aspect_ratio": bool,
    "web_grounding": bool,
    "background": str,
}
"""What a node can be set to again, and its type."""


def history(
    store: Store,
    profiles: Profiles,
    wanted: Search,
    count: int,
    before: int | None,
    with_prompts: bool,
) -> dict[str, object]:
    """A page of images, newest first, and where the next one begins; blocks, raises StoreError.

    A prompt is there, and found, only if the image's profile keeps prompts, then and now, and
    `with_prompts` is true.
    """
    # "default" is the first profile where none has that name.
    names = {*profiles.names(), "default"}
    unread = frozenset(name for name in names if not profiles.keeps_prompts(name))
    wanted = replace(wanted, prompts=with_prompts, unread=unread)
    found = store.search(wanted, min(count, MOST), before)
    return {
        "images": [_facts(sidecar, profiles, with_prompts) for sidecar in found.sidecars],
        "with_prompts": with_prompts,
        "after": found.after,
        "undescribed": found.undescribed,
        "models": store.models(),
    }


def _facts(sidecar: dict[str, Any], profiles: Profiles, with_prompts: bool) -> dict[str, object]:
    """What the page is told of an image."""
    from ..mai.profiles import EMULATOR

    profile = str(sidecar["profile"])
    facts = {name: sidecar.get(name) for name in _FACTS}
    facts["emulated"] = profile == EMULATOR
    facts["real_usd"] = _real_price(sidecar) if facts["emulated"] else None
    facts["settings"] = _settings(sidecar)
    facts["profile_known"] = profile in profiles.names()
    if with_prompts and profiles.keeps_prompts(profile):
        facts["prompt"] = sidecar.get("prompt")
    return facts


def _settings(sidecar: dict[str, Any]) -> dict[str, object]:
    """What a node can be set to again; of an image of an earlier version less is known."""
    kept = sidecar.get("settings", {})
    known: dict[str, object] = {
        name: kept[name] for name, of in _SETTINGS.items() if type(kept.get(name)) is of
    }
    if known.get("kind") not in ("generate", "edit"):
        edited = bool((sidecar["usage"] or {}).get("image_in"))
        known["kind"] = "edit" if edited else "generate"
    if sidecar["asked"]:
        known["size"] = sidecar["asked"]
    return known


def _real_price(sidecar: dict[str, Any]) -> float | None:
    """What the service charges for such an image, None where nobody knows."""
    model, usage = CATALOGUE.get(sidecar["model"]), sidecar["usage"]
    if model is None or usage is None:
        return None
    return round(model.cost(Usage(**{each.name: usage[each.name] for each in fields(Usage)})), 6)


def image(store: Store, key: str) -> tuple[bytes, str] | None:
    """A whole file as the service sent it, with its MIME type; None where there is none.

    `key` must be 64 lower-case hex digits. Blocks on the disk, raises StoreError.
    """
    found = store.get(key)
    if found is None or found.media_type not in SERVED:
        return None
    return found.image, found.media_type


class Thumbnails:
    """Small JPEGs, made once; safe for threads, one is made at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The thumbnail of an image, None where there is none; blocks, raises StoreError."""
        with self._lock:
            if key not in self._made:
                found = image(self._store, key)
                made = None if found is None else thumbnail_jpeg(found[0])
                if made is None:
                    return None
                self._made[key] = made
                if len(self._made) > _KEPT_THUMBNAILS:
                    self._made.popitem(last=False)
            self._made.move_to_end(key)
            return self._made[key]


def thumbnail_jpeg(data: bytes) -> bytes | None:
    """An image's bytes as a JPEG of at most SIDE pixels; None where Pillow can't read it."""
    try:
        with Image.open(
            io.BytesIO(inspect(data).pixel_data(data)), formats=("PNG", "JPEG")
        ) as whole:
            whole.thumbnail((SIDE, SIDE))
            small = io.BytesIO()
            whole.convert("RGB").save(small, "JPEG", quality=82)
    except _UNREADABLE:
        return None
    return small.getvalue()
