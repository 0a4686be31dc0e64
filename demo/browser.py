"""Node, Chromium and packages of npm, for whatever drives the real page: tests, a benchmark."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .find import ROOT

SCRIPTS = ROOT / "tests" / "browser"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Missing(Exception):
    """What is not on this machine, and how it could be."""


def run_script(script: str, *arguments: str, timeout: float = 900.0) -> str:
    """Run a script of tests/browser with Node; gives what it printed.

    Missing where a tool isn't there, AssertionError with its last words where it failed.
    """
    command = [_program("node"), str(SCRIPTS / script), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environ(), check=False
    )
    assert done.returncode == 0, f"{script} failed:\n{done.stderr[-2000:]}{done.stdout[-500:]}"
    return done.stdout


def environ() -> Mapping[str, str]:
    """This process's environment with what the scripts need; Missing where something isn't there.

    playwright-core is taken from $PLAYWRIGHT_CORE, from where Node finds it, or it is put into
    .venv by npm, once.
    """
    _program("node")
    found = {"CHROMIUM": _browser(), "PLAYWRIGHT_CORE": _playwright_core()}
    return {**os.environ, **found}


def _browser() -> str:
    names = [os.environ.get("CHROMIUM", ""), *BROWSERS]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise Missing("no Chromium on this machine: install one, or set CHROMIUM to its path")
    return found


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"no {name} on this machine: install Node.js")
    return found


def _playwright_core() -> str:
    named = os.environ.get("PLAYWRIGHT_CORE", "")
    if named:
        return named
    find = "console.log(require('path').dirname(require.resolve('playwright-core/package.json')))"
    done = _quiet(_program("node"), "-e", find, folder=SCRIPTS)
    if done.returncode == 0:
        return done.stdout.strip()
    return str(installed("playwright-core"))


def axe_core() -> Path:
    """The script of axe-core, which looks for what keeps people from using a page.

    Taken from beside playwright-core, or put into .venv by npm, once; Missing where it can't be.
    """
    beside = Path(_playwright_core()).parent / "axe-core"
    package = beside if beside.is_dir() else installed("axe-core")
    return package / "axe.min.js"


def installed(name: str, asked_in: Path = SCRIPTS) -> Path:
    """A package of a folder's package.json in .venv, installed there the first time; or Missing."""
    wanted = (asked_in / "package.json").read_bytes()
    folder = ROOT / ".venv" / f"{asked_in.name}-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not folder.is_dir():
        _install(wanted, folder)
    package = folder / "node_modules" / name
    if not package.is_dir():
        raise Missing(f"{name} is not installed, and npm could not install it")
    return package


def _install(wanted: bytes, folder: Path) -> None:
    """Install what package.json asks for; whole or not at all, as test processes come together."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    try:
        (unfinished / "package.json").write_bytes(wanted)
        done = _quiet(_program("npm"), "install", *options, folder=unfinished)
        if done.returncode == 0:
            with contextlib.suppress(OSError):  # another process was faster
                unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _quiet(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
