"""Images of the store that went through a graph untouched, found again by their pixels."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..mai.errors import MaiError
from ..mai.formats import media_type_of
from ..mai.store import Store
from .imaging.codec import decode_batch
from .imaging.file_writer import FORMATS, FileForm, saved_levels

logger = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]


class Originals:
    """The images that an info names, as the store keeps them. `facts` are info's "images"."""

    def __init__(self, store: Store, facts: Sequence[object], form: FileForm) -> None:
        self._store = store
        self._form = form
        named = facts if form.name in ("png", "jpeg") else ()  # the service sends no other
        self._left = [fact for fact in named if isinstance(fact, dict) and _key(fact)]
        self._keys_by_digest: dict[str, str] = {}

    def find(self, levels: Bytes) -> bytes | None:
        """The file that the service sent of these pixels [H,W,3 or 4], in the format that is asked
        for; None: the pixels are others'. Blocks.

        The images are decoded in the order of the info, one of the same size after the other.
        """
        size, digest = [levels.shape[1], levels.shape[0]], _digest(levels)
        for fact in [fact for fact in self._left if fact.get("size_received") == size]:
            if digest in self._keys_by_digest:
                break
            self._left.remove(fact)
            self._read(_key(fact))
        key = self._keys_by_digest.get(digest)
        return None if key is None else self._file(key)

    def _read(self, key: str) -> None:
        data = self._file(key)
        if data is None:
            return
        try:
            decoded = decode_batch([data]).images[0]
            levels = saved_levels(decoded.image, decoded.mask, self._form)
        except MaiError as error:
            logger.debug("an image of the store can't be compared: %s", error)
            return
        self._keys_by_digest.setdefault(_digest(levels), key)

    def _file(self, key: str) -> bytes | None:
        try:
            kept = self._store.get(key)
        except MaiError as error:
            logger.info("An image is not compared with what the service sent: %s", error)
            return None
        if kept is None or media_type_of(kept.image) != FORMATS[self._form.name]:
            return None
        return kept.image


def _key(fact: Mapping[str, Any]) -> str:
    """The key that an info's image names; "" where it has none, or none that a store can have."""
    key = fact.get("key")
    is_key = isinstance(key, str) and len(key) == 64 and set(key) <= set("0123456789abcdef")
    return key if is_key and isinstance(key, str) else ""


def _digest(levels: Bytes) -> str:
    """The same for the same pixels; alpha that hides nothing is as none."""
    if levels.shape[2] == 4 and levels[..., 3].min() == 255:
        levels = levels[..., :3]
    digest = hashlib.blake2b(repr(levels.shape).encode())
    digest.update(np.ascontiguousarray(levels).data)
    return digest.hexdigest()
