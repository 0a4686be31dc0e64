"""Where profiles.toml, the store and the ledger lie outside a running ComfyUI."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..disk import make_folder, write_durable
from ..errors import ProfileError
from .environment import reader

COMFYUI_PATH = "COMFYUI_PATH"
"""The variable that names a ComfyUI, as comfy-cli and this pack's own demo use it."""


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
    return base / "mai-image"


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
        root = Path(named).expanduser()
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


def _of_comfyui(root: Path) -> Path:
    """The pack's folder in ComfyUI's system user directory (`get_system_user_directory("mai")`)."""
    return root / "user" / "__mai"


def _is_comfyui(root: Path) -> bool:
    return (root / "main.py").is_file() and (root / "nodes.py").is_file()
