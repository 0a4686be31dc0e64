"""What arrived and was paid for, but can't be read as an image: kept, and never bought again.

    store/unreadable/abcdef….png   the bytes as they arrived, its ending by what they begin with
    store/unreadable/abcdef….json  a sidecar like an image's, with the reason

A file of a key's name keeps its request from being sent, whatever it holds. None is counted by the
store's limit or evicted: only `forget` removes them.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..disk import make_folder, read_file, remove, replace, sync_folder, temporary_files
from ..errors import UnreadableError
from .sidecar import DamagedImage, parse_unreadable_sidecar

logger = logging.getLogger(__name__)

_SIDECAR = ".json"
_ENDINGS = (".png", ".jpg", ".webp", ".bin")

_LONGEST_REASON = 1000
"""Characters of a reason that an error shows."""


class Unreadable:
    """The files in `folder`; temporary ones are written to `incoming`. Raises OSError."""

    def __init__(self, folder: Path, incoming: Path, set_aside: Path) -> None:
        self._folder = folder
        self._incoming = incoming
        self._set_aside = set_aside

    def keep(self, key: str, data: bytes, sidecar: bytes, stamp: int) -> None:
        """Both files, on the disk when this returns. Other bytes of the same key are set aside."""
        make_folder(self._incoming)
        make_folder(self._folder)
        with temporary_files(self._incoming, data, sidecar) as (image, facts):
            self._move_away(key, data, stamp)
            # The bytes first: without them the sidecar is worth nothing, the bytes alone hold.
            replace(image, self._folder / f"{key}{_guess_ending(data)}")
            replace(facts, self._folder / f"{key}{_SIDECAR}")
        sync_folder(self._folder)

    def find(self, key: str) -> UnreadableError | None:
        """The error for whoever asks for this key; None where nothing unreadable came for it."""
        try:
            self._folder.stat()  # as a rule there is none: that is all a look-up costs
        except FileNotFoundError:
            return None
        paths = self._files(key)
        if not paths:
            return None
        try:
            facts = read_file(self._folder / f"{key}{_SIDECAR}")
            reason, request_id = parse_unreadable_sidecar(facts, key)
        except (OSError, DamagedImage) as error:
            logger.debug("The sidecar of an unreadable image can't be read: %s", error)
            reason, request_id = "its sidecar, which says why, is damaged", None
        path = paths[0]
        gone = path.suffix == _SIDECAR
        where = f"Its bytes are gone, its sidecar is {path}." if gone else in_place(path)
        return describe_unreadable(key, where, reason, request_id)

    def read(self, key: str) -> tuple[bytes, bytes] | None:
        """The bytes and the sidecar; None where one of them isn't there."""
        paths = self._files(key)
        if len(paths) != 2:
            return None
        return read_file(paths[0]), read_file(paths[1])

    def forget(self, key: str) -> bool:
        """Removes both files; whether there were any."""
        paths = self._files(key)
        for path in paths:
            remove(path)
        return bool(paths)

    def keys(self, prefix: str) -> set[str]:
        """The keys that begin so."""
        return {path.stem for path in self._folder.glob(f"{prefix}*.*")}

    def _files(self, key: str) -> list[Path]:
        """Those of the key that are there, the bytes before the sidecar."""
        paths = (self._folder / f"{key}{ending}" for ending in (*_ENDINGS, _SIDECAR))
        return [path for path in paths if path.exists()]

    def _move_away(self, key: str, data: bytes, stamp: int) -> None:
        """Other bytes that came for the key before were paid for too."""
        paths = self._files(key)
        if not paths or (paths[0].suffix != _SIDECAR and read_file(paths[0]) == data):
            return
        make_folder(self._set_aside)
        for path in paths:
            replace(path, self._set_aside / f"{key}.{stamp}{path.suffix}")


def _guess_ending(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if data.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return ".bin"


def in_place(place: object) -> str:
    """Where the bytes are, as a sentence of the error."""
    return f"Its bytes are in {place}."


def describe_unreadable(
    key: str, where: str, reason: str, request_id: str | None
) -> UnreadableError:
    """The error for whoever asks for the key; `where` is a sentence on its bytes."""
    reason = reason.strip().rstrip(".")[:_LONGEST_REASON]
    return UnreadableError(
        f"The image of this request arrived and was paid for, but it can't be read: {reason}. "
        f"{where}",
        "Nothing is sent again for this request until you run "
        f"`mai-image store forget {key}`, or take another seed.",
        request_id=request_id,
    )
