"""Which pages the browser tests run on: the one that ComfyUI brings, and a later one.

A later page under the same ComfyUI shows what its users will meet next. It is pinned here; any
other version is tried with `python3 tasks.py frontend VERSION`, which decides nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mai_image.demo.find import ROOT, ComfyUI

PACKAGE = "comfyui-frontend-package"

PINNED = "1.58.1"

OWN = "own page"
"""The version that this ComfyUI asks for."""

CHOSEN = "MAI_IMAGE_FRONTEND"
"""The environment variable that names the one version to run on in place of OWN and PINNED."""

RUNS_PINNED = (0, 28)
"""The least ComfyUI that PINNED is tried with: it asks older servers for what they don't have."""


class NotHad(Exception):
    """Why a page can't be tried, in a sentence."""


def versions() -> list[str]:
    """What the browser tests run on."""
    chosen = os.environ.get(CHOSEN, "")
    return [chosen] if chosen else [OWN, PINNED]


def folder_of(version: str, comfyui: ComfyUI) -> Path | None:
    """Where that page's files are, None of the ComfyUI's own; got by pip, once. NotHad if not."""
    if version == OWN:
        return None
    if version == PINNED and _numbers(comfyui.version) < RUNS_PINNED:
        raise NotHad(f"page {version} isn't tried with ComfyUI {comfyui.version}")
    folder = ROOT / ".venv" / "frontends" / version
    if not folder.is_dir():
        _install(version, folder)
    return folder / "comfyui_frontend_package" / "static"


def _install(version: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "--target", str(unfinished), f"{PACKAGE}=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotHad(f"pip could not install {PACKAGE} {version}")
        with contextlib.suppress(OSError):  # another test process was faster
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
