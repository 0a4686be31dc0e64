"""What has still to be brought to the object store: an empty file for each key.

It is written before the image is, and removed when the object store has the image: neither kill -9
nor a restart makes an image be forgotten. The image itself lies in the local store, which doesn't
evict it as long as its file is here.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from ..disk import STALE_SECONDS, make_folder, remove, write_durable


class Uploads:
    """The keys whose files are in `folder`. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._announced: set[str] = set()
        """By this process, which lives: whatever the clocks say, these aren't stale."""

    def add(self, key: str) -> None:
        """On the disk when this returns."""
        self._announced.add(key)
        make_folder(self._folder)
        write_durable(self._folder / key, b"")

    def remove(self, key: str) -> None:
        """The object store has the image."""
        remove(self._folder / key)
        self._announced.discard(key)

    def remove_if_stale(self, key: str) -> None:
        """There is no image: whoever announced it died before it was written."""
        if key in self._announced:
            return
        with contextlib.suppress(FileNotFoundError):
            if (self._folder / key).stat().st_mtime < time.time() - STALE_SECONDS:
                self.remove(key)

    def keys(self) -> list[str]:
        """All of them, the oldest first."""
        found: list[tuple[int, str]] = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if len(path.name) == 64:
                    with contextlib.suppress(FileNotFoundError):
                        found.append((path.stat().st_mtime_ns, path.name))
        return [key for _, key in sorted(found)]
