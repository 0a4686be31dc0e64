"""Which images go when the store passes its limit: the least recently used."""

from __future__ import annotations

import contextlib
import logging

from ..disk import remove
from ..errors import StoreError
from .index import StoreIndex
from .layout import Layout

log = logging.getLogger(__name__)

EVICT_TO = 0.9
"""Of the limit, so that it isn't done at every image."""

_AT_ONCE = 200
"""Images in one transaction: other processes wait for it, some 10 ms."""


def evict(layout: Layout, shelf: StoreIndex, limit_bytes: int, keep: str) -> None:
    """Brings the store under its limit, without ever removing the image `keep`.

    Never raises: a store that can't be made smaller still keeps what was paid for.
    """
    try:
        if shelf.total() <= limit_bytes:
            return
        tried = {keep}
        while (over := shelf.total() - int(limit_bytes * EVICT_TO)) > 0:
            with shelf.lock():
                batch = shelf.oldest(_AT_ONCE)
                if _send_back(layout, shelf, batch):
                    continue
                if not _remove(layout, shelf, batch, tried, over):
                    return
    except (OSError, StoreError) as error:
        log.warning("The store is over its limit and can't be made smaller: %s", error)


def _send_back(layout: Layout, shelf: StoreIndex, batch: list[tuple[str, int, int]]) -> bool:
    """Tells the index of uses that it didn't know; whether there were any."""
    any_used = False
    for key, _, used_at in batch:
        with contextlib.suppress(FileNotFoundError):
            used = layout.sidecar(key).stat().st_mtime_ns
            if used > used_at:
                shelf.used(key, used)
                any_used = True
    return any_used


def _remove(
    layout: Layout, shelf: StoreIndex, batch: list[tuple[str, int, int]], tried: set[str], over: int
) -> bool:
    """Removes images until `over` bytes are free or the batch ends; whether it tried any.

    The sidecar goes first: what is left of a removal that is cut off is never served.
    """
    fresh = [(key, size) for key, size, _ in batch if key not in tried]
    for key, size in fresh:
        if over <= 0:
            break
        tried.add(key)
        try:
            for path in layout.files(key):
                remove(path)
        except PermissionError as error:
            log.info("Image %s can't be removed now: %s", key[:12], error)
            continue
        shelf.drop(key)
        over -= size
    return bool(fresh)
