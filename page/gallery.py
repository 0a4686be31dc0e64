"""The last images of the store: facts for the sidebar tab, thumbnails, and whole files."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image

from ..mai.errors import AnswerError
from ..mai.image_formats import inspect
from ..mai.models import CATALOGUE
from ..mai.types import Usage

if TYPE_CHECKING:
    from ..mai.profiles import Profiles
    from ..mai.store import Store

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

_TOKENS = ("text_in", "image_in", "image_out")

_FACTS = ("key", "width", "height", "model", "profile", "cost_usd", "seconds", "arrived_at")


def recent(
    store: Store, profiles: Profiles, count: int, with_prompts: bool
) -> list[dict[str, object]]:
    """The newest images, newest first; blocks on the disk, raises StoreError.

    A prompt is there only if the image's profile keeps prompts, then and now, and
    `with_prompts` is true. `real_usd` is what an emulated image would have cost, else None.
    """
    from ..mai.profiles import EMULATOR

    images = []
    for sidecar in store.recent(min(count, MOST)):
        profile = str(sidecar.get("profile", ""))
        facts = {name: sidecar.get(name) for name in _FACTS}
        facts["emulated"] = profile == EMULATOR
        facts["real_usd"] = _real_usd(sidecar) if profile == EMULATOR else None
        if with_prompts and profiles.keeps_prompts(profile):
            facts["prompt"] = sidecar.get("prompt")
        images.append(facts)
    return images


def _real_usd(sidecar: Mapping[str, object]) -> float | None:
    """What the tokens of an emulated image would cost; None where they aren't known."""
    model, usage = CATALOGUE.get(str(sidecar.get("model"))), sidecar.get("usage")
    if model is None or not isinstance(usage, dict):
        return None
    return round(model.cost(Usage(*(int(usage[one]) for one in _TOKENS))), 6)


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
