"""Where profiles.toml, the store and the ledger lie outside a running ComfyUI.

Pure functions: the environment is handed in.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import ProfileError

COMFYUI_PATH = "COMFYUI_PATH"
"""The variable that names a ComfyUI, as comfy-cli and this pack's own demo use it."""


def user_data(environ: Mapping[str, str], platform: str) -> Path:
    """The platform's user data folder for MAI Image; it may not exist yet."""
    home = Path(os.path.expanduser("~"))
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(environ.get("XDG_DATA_HOME") or home)
        if not environ.get("XDG_DATA_HOME") or not base.is_absolute():
            base = home / ".local" / "share"
    return base / "mai-image"


def usual(pack: Iterable[Path], environ: Mapping[str, str], platform: str) -> tuple[Path, str]:
    """The folder to use and why: a ComfyUI's own, so that its nodes see the same, or the user's.

    $COMFYUI_PATH comes first, then the ComfyUI whose custom_nodes one of the `pack` folders lies
    in. ProfileError where the variable names no ComfyUI. A ComfyUI that is started with another
    --user-directory can't be known here.
    """
    named = environ.get(COMFYUI_PATH, "").strip()
    if named:
        root = Path(named).expanduser()
        if not _is_comfyui(root):
            raise ProfileError(
                f"{COMFYUI_PATH} is {named}, but no ComfyUI (main.py, nodes.py) is there.",
                "Correct the variable, or give the folder itself by --folder.",
            )
        return of_comfyui(root), f"of the ComfyUI that {COMFYUI_PATH} names"
    for folder in pack:
        if folder.parent.name == "custom_nodes" and _is_comfyui(folder.parent.parent):
            return of_comfyui(folder.parent.parent), "of the ComfyUI that this pack lies in"
    return user_data(environ, platform), "of this user, as no ComfyUI is around"


def of_comfyui(root: Path) -> Path:
    """The pack's folder in ComfyUI's system user directory (`get_system_user_directory("mai")`)."""
    return root / "user" / "__mai"


def _is_comfyui(root: Path) -> bool:
    return (root / "main.py").is_file() and (root / "nodes.py").is_file()
