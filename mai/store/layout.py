"""Where the store's files lie, and what to say when the disk refuses them."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import StoreError
from . import sidecar

_KEY = re.compile(r"[0-9a-f]{64}")

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}

_KEEP = " An image that isn't kept is paid again when it is asked for again: save it."


class Layout:
    """The paths of one store folder. A key that isn't 64 lower-case hex digits is a ValueError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.damaged = folder / "damaged"

    def sidecar(self, key: str) -> Path:
        """The JSON file of `key`."""
        if not _KEY.fullmatch(key):
            raise ValueError("a key must be 64 lower-case hex digits")
        return self.folder / key[:2] / f"{key}.json"

    def image(self, key: str, media_type: str) -> Path:
        """The image file of `key`, of this MIME type."""
        return self.sidecar(key).with_suffix(sidecar.ending(media_type))

    def images(self, key: str) -> Iterator[Path]:
        """Where the image of `key` can lie, whatever its type."""
        side = self.sidecar(key)
        return (side.with_suffix(end) for end in sidecar.ENDINGS)

    def files(self, key: str) -> Iterator[Path]:
        """Everything that can belong to `key`, the sidecar first."""
        yield self.sidecar(key)
        yield from self.images(key)

    def cant_read(self, error: OSError) -> StoreError:
        """What to raise when a file is there but can't be read."""
        return StoreError(f"The store {self.folder} can't be read: {_reason(error)}.", _hint(error))

    def cant_write(self, error: OSError) -> StoreError:
        """What to raise when an image can't be kept."""
        what = f"The store {self.folder} can't be written: {_reason(error)}."
        return StoreError(what, _hint(error) + _KEEP)

    def no_room(self, error: OSError) -> StoreError:
        """What to raise before an image is bought that could not be kept."""
        what = f"The store {self.folder} can't be written: {_reason(error)}. Nothing was sent."
        return StoreError(what, f"{_hint(error)} Then queue again.")


def _reason(error: OSError) -> str:
    if error.errno in _FULL:
        return "the disk (or your quota on it) is full"
    if error.errno in _FORBIDDEN:
        return "it isn't permitted"
    return error.strerror or str(error)


def _hint(error: OSError) -> str:
    if error.errno in _FULL:
        return "Free some space there, or lower the store's limit."
    if error.errno in _FORBIDDEN:
        return "Check that you own the folder and may write there."
    return "Check the folder and its disk."
