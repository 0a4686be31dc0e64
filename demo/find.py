"""Where a ComfyUI lies on this machine, and which Python runs it. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_PROBE = """
import json, sys
from importlib.util import find_spec
def has(name):
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
print(json.dumps({name: has(name) for name in sys.argv[1:]}))
"""

_GPU_PROBE = """
import torch
mps = getattr(torch.backends, "mps", None)
xpu = getattr(torch, "xpu", None)
print(any((torch.cuda.is_available(), mps and mps.is_available(), xpu and xpu.is_available())))
"""

_NEEDED = ("torch", "aiohttp")
_PACK = {"httpx": "httpx", "azure.identity": "azure-identity"}


class NotUsable(Exception):
    """A ComfyUI that can't be used, in a sentence that says why and what to do."""


@dataclass(frozen=True)
class ComfyUI:
    """A ComfyUI on this machine: its folder, the Python that runs it, and what that one lacks.

    `missing` are the requirements of the pack (names as in requirements.txt) that `python` can't
    import; the launcher puts them in a folder of its own rather than into the user's installation.
    """

    folder: Path
    python: Path
    missing: tuple[str, ...]

    @property
    def version(self) -> str:
        """ComfyUI's version, read from its own file; "unknown version" where there is none."""
        try:
            text = (self.folder / "comfyui_version.py").read_text(encoding="utf-8")
        except OSError:
            return "unknown version"
        parts = text.split('"')
        return parts[-2] if len(parts) >= 3 else "unknown version"

    def has_gpu(self) -> bool:
        """Whether its torch can use a GPU; raises NotUsable where torch doesn't import."""
        done = _run(self.python, _GPU_PROBE)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise NotUsable(
                f"{self.python} can't import torch ({last}); repair that ComfyUI first."
            )
        return done.stdout.strip() == "True"


def locate(environ: Mapping[str, str] | None = None, root: Path = ROOT) -> ComfyUI | None:
    """The ComfyUI to use, or None where there is none.

    $COMFYUI_PATH comes first, then ~/comfy/ComfyUI, then the one whose custom_nodes holds the
    clone `root`. NotUsable where $COMFYUI_PATH or $COMFYUI_PYTHON names something that isn't one,
    or where no Python of the one found can import torch and aiohttp.
    """
    environ = os.environ if environ is None else environ
    folder = _folder(environ, root)
    if folder is None:
        return None
    for python in _pythons(folder, environ):
        found = _probe(python)
        if found is not None and all(found[name] for name in _NEEDED):
            missing = tuple(pip for name, pip in _PACK.items() if not found[name])
            return ComfyUI(folder, python, missing)
    raise NotUsable(
        f"ComfyUI in {folder}: no Python found that can import torch and aiohttp. "
        "Set COMFYUI_PYTHON to the one that runs it, or leave it out with --in-process."
    )


def _folder(environ: Mapping[str, str], root: Path) -> Path | None:
    named = environ.get("COMFYUI_PATH", "").strip()
    if named:
        folder = Path(named).expanduser().resolve()
        if not _is_comfyui(folder):
            raise NotUsable(
                f"COMFYUI_PATH is {named}, but no ComfyUI (main.py, nodes.py) is there."
            )
        return folder
    candidates = [Path.home() / "comfy" / "ComfyUI"]
    if root.parent.name == "custom_nodes":
        candidates.append(root.parent.parent)
    return next((folder.resolve() for folder in candidates if _is_comfyui(folder)), None)


def _is_comfyui(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("main.py", "nodes.py", "folder_paths.py"))


def _pythons(folder: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get("COMFYUI_PYTHON", "").strip()
    if named:
        yield Path(named).expanduser()
        return
    for place in (folder, folder.parent):
        for name in (".venv", "venv"):
            yield venv_python(place / name)
    yield folder.parent / "python_embeded" / "python.exe"
    yield Path(sys.executable)


def venv_python(venv: Path) -> Path:
    """The interpreter of a virtual environment, on Windows and elsewhere."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _probe(python: Path) -> dict[str, bool] | None:
    if not python.is_file():
        return None
    done = _run(python, _PROBE, *_NEEDED, *_PACK)
    if done.returncode != 0:
        return None
    answer: dict[str, bool] = json.loads(done.stdout)
    return answer


def _run(python: Path, code: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-c", code, *args]
    # Not in the clone: its folders nodes/ and mai/ would be importable there.
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=str(python.parent)
    )
