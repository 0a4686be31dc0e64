"""Where an image of a row is saved: a path below one folder, on every system."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from fnmatch import fnmatchcase

from ..errors import InputError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

_FORBIDDEN = str.maketrans(dict.fromkeys('<>:"|?*', "_"))
"""What Windows doesn't take in a name."""

_DEVICES = {"con", "prn", "aux", "nul", *(f"{one}{i}" for one in ("com", "lpt") for i in range(10))}
"""Names that mean a device on Windows, whatever their ending."""

_LONGEST_PART, _LONGEST = 200, 800
"""Bytes; systems take 255 for a part, and something is put behind a name while it is written."""


def is_image_name(path: str) -> bool:
    """Whether a path ends as an image's does; else it names a folder."""
    return path.lower().endswith(IMAGE_ENDINGS)


def path_below(text: str, reserved: Collection[str] = ()) -> str:
    """A relative path with "/" that is safe to join to a folder; InputError for any other.

    Characters that a system doesn't take become "_". `reserved` are patterns of the folder's own
    names, which no path begins with.
    """
    if leaves_folder(text):
        raise _outside(text)
    parts = [part.strip() for part in text.strip().replace("\\", "/").split("/")]
    parts = [_clean(part) for part in parts if part not in ("", ".")]
    path = "/".join(parts)
    if not parts or len(path.encode("utf-8", "replace")) > _LONGEST:
        raise InputError(f"The output {_shown(text)} is no usable name.", "Write a shorter one.")
    if any(fnmatchcase(parts[0].lower(), pattern) for pattern in reserved):
        raise InputError(
            f"The name {_shown(parts[0])} is that of the batch's own lists or contact sheet.",
            "Choose another one.",
        )
    return path


def leaves_folder(text: str) -> bool:
    """Whether a path is absolute, of a home or another drive, or goes up, on any system."""
    plain = text.strip().replace("\\", "/")
    if plain.startswith(("/", "~")) or plain[1:2] == ":":
        return True
    return ".." in (part.strip() for part in plain.split("/"))


def same_file(path: str) -> str:
    """A text that is the same for paths which some system takes for one file.

    The ending doesn't count: it follows the type of image that the service sends.
    """
    stem = path[: path.rindex(".")] if is_image_name(path) else path
    return unicodedata.normalize("NFC", stem).casefold()


def with_number(path: str, n: int) -> str:
    """The path with _n before its ending."""
    stem, dot, ending = path.rpartition(".")
    return f"{stem}_{n}{dot}{ending}"


def _clean(part: str) -> str:
    name = "".join(c if c.isprintable() else "_" for c in part.translate(_FORBIDDEN))
    name = name.rstrip(". ")
    if not name or name.split(".")[0].strip().lower() in _DEVICES:
        raise InputError(f"{_shown(part)} can't be a name on every system.", "Choose another one.")
    if len(name.encode("utf-8", "replace")) > _LONGEST_PART:
        raise InputError(
            f"The name {_shown(part)} is longer than {_LONGEST_PART} bytes.", "Write a shorter one."
        )
    return name


def _outside(text: str) -> InputError:
    return InputError(
        f"The output {_shown(text)} is out of the folder.",
        "Write a path below it, without .. and without a beginning / or drive.",
    )


def _shown(text: str) -> str:
    return repr(text[:60] + "…" if len(text) > 60 else text)
