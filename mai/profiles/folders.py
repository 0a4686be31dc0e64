"""Where profiles.toml, the store and the ledger lie, and that they are this user's alone."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..disk import make_folder, write_durable
from ..errors import ProfileError
from .environment import reader

COMFYUI_PATH = "COMFYUI_PATH"
"""The variable that names a ComfyUI, as comfy-cli and this pack's own demo use it."""


COMFYUI_FOLDER = "__mai"
OWN_FOLDER = "mai-image"

_OWN_FILES = ("profiles.toml", "store", "ledger.sqlite", "quota.sqlite", "unbooked.sqlite")
"""What the pack makes in its folder, and how the names of its helper files begin."""

_OTHERS = 0o077
"""The bits of a mode that let other users in."""


def data_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """The platform's user data folder for MAI Image outside ComfyUI; it may not exist yet."""
    read = reader(environ)
    home = Path(os.path.expanduser("~"))
    if platform == "win32":
        base = Path(read("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        named = Path(read("XDG_DATA_HOME") or "")
        base = named if named.is_absolute() else home / ".local" / "share"
    return base / OWN_FOLDER


def usual_folder(
    pack: Iterable[Path],
    environ: Mapping[str, str] | None = None,
    platform: str = sys.platform,
) -> tuple[Path, str]:
    """The folder that a command line uses, and why: a ComfyUI's own, so that its nodes see the
    same profiles, or the user's.

    $COMFYUI_PATH comes first, then the ComfyUI whose custom_nodes one of the `pack` folders lies
    in. ProfileError where the variable names no ComfyUI. A ComfyUI that is started with another
    --user-directory can't be known here.
    """
    named = (reader(environ)(COMFYUI_PATH) or "").strip()
    if named:
        root = Path(os.path.expanduser(named))
        if not _is_comfyui(root):
            raise ProfileError(
                f"{COMFYUI_PATH} is {named}, but no ComfyUI (main.py, nodes.py) is there.",
                "Correct the variable, or give the folder itself by --folder.",
            )
        return _of_comfyui(root), f"of the ComfyUI that {COMFYUI_PATH} names"
    for folder in pack:
        if folder.parent.name == "custom_nodes" and _is_comfyui(folder.parent.parent):
            return _of_comfyui(folder.parent.parent), "of the ComfyUI that this pack lies in"
    return data_folder(environ, platform), "of this user, as no ComfyUI is around"


def write_private(path: Path, text: str) -> None:
    """Writes a file completely or not at all, for this user only (0600); raises OSError.

    A symbolic link is kept: the file that it points to is the one that is replaced.
    """
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    write_durable(target, text.encode("utf-8"))


def make_private(folder: Path) -> list[Path]:
    """Closes the folder (0700) and the pack's files in it (0600) to other users.

    Gives those that were open. A folder that holds other things too stays as it is, as do links:
    what they lead to may be meant for others. ProfileError where the folder is another user's.
    """
    if sys.platform == "win32" or not folder.is_dir():
        return []
    opened = []
    if _is_own(folder) and _is_open(folder):
        if not _close(folder):
            raise ProfileError(
                f"Other users of this machine can read the folder {folder}, and it belongs to one "
                "of them.",
                "Have its owner run `chown` and `chmod 700` on it, or move it away: a new one is "
                "made when it is needed.",
            )
        opened.append(folder)
    for path in _own_files(folder, deep=bool(opened)):
        if _is_open(path) and _close(path):
            opened.append(path)
    return opened


def _is_own(folder: Path) -> bool:
    """Whether it is the pack's by its name, or holds nothing else."""
    if folder.name in (COMFYUI_FOLDER, OWN_FOLDER):
        return True
    return all(path.name.startswith(_OWN_FILES) for path in folder.iterdir())


def _own_files(folder: Path, deep: bool) -> Iterator[Path]:
    """The pack's files at the folder's top, and with `deep` all below them."""
    by_name = folder.name in (COMFYUI_FOLDER, OWN_FOLDER)
    for path in folder.iterdir():
        if not path.is_symlink() and (by_name or path.name.startswith(_OWN_FILES)):
            yield path
            if deep and path.is_dir():
                for parent, folders, files in os.walk(path):
                    yield from (Path(parent, name) for name in (*folders, *files))


def _is_open(path: Path) -> bool:
    found = path.lstat()
    return bool(stat.S_IMODE(found.st_mode) & _OTHERS) and not stat.S_ISLNK(found.st_mode)


def _close(path: Path) -> bool:
    """Takes a path from other users; False where it belongs to one of them.

    A file system without modes (FAT, a Windows drive) has nothing to take away: True.
    """
    try:
        path.chmod(0o700 if path.is_dir() else 0o600)
    except OSError:
        return sys.platform == "win32" or path.stat().st_uid == os.geteuid()
    return True


def _of_comfyui(root: Path) -> Path:
    """The pack's folder in ComfyUI's system user directory (`get_system_user_directory("mai")`)."""
    return root / "user" / COMFYUI_FOLDER


def _is_comfyui(root: Path) -> bool:
    return (root / "main.py").is_file() and (root / "nodes.py").is_file()
