"""Files that survive a crash: written beside, synced, then renamed into place."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ParamSpec, TypeVar

if sys.platform == "darwin":
    import fcntl

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TEMPORARY = ".tmp"

_DIGITS = 32
"""Hex digits in a temporary file's name: PROCESS-DIGITS.tmp."""

STALE_SECONDS = 3600.0
"""No write takes an hour: an older temporary file belongs to a process that died."""

_BUSY_TRIES = 10
_BUSY_PAUSE = 0.02
"""Seconds. Windows refuses to replace or remove a file that is open, which here lasts moments."""


def _patient(action: Callable[P, T]) -> Callable[P, T]:
    """Decorates what Windows refuses while another process has the file open: it tries again."""
    if sys.platform != "win32":
        return action

    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(_BUSY_TRIES):
            try:
                return action(*args, **kwargs)
            except PermissionError:
                time.sleep(_BUSY_PAUSE)
        return action(*args, **kwargs)

    return repeated


@_patient
def replace(source: Path, target: Path) -> None:
    """Renames a file over another one, or to a new name; raises OSError."""
    os.replace(source, target)


@_patient
def remove(path: Path) -> None:
    """Removes a file; one that is gone already is fine. Raises OSError."""
    path.unlink(missing_ok=True)


@_patient
def read_file(path: Path) -> bytes:
    """The file's bytes; raises OSError."""
    return path.read_bytes()


def make_folder(folder: Path) -> None:
    """Makes a folder, and its parents, for this user only (0700); raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def write_temporary(folder: Path, data: bytes, mode: int = 0o600) -> Path:
    """Writes `data` to a new file in `folder` and syncs it; raises OSError, leaving none.

    The file is this user's only, or has the rights `mode` that the process's umask leaves.
    """
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex}{TEMPORARY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            if sys.platform == "darwin":  # fsync leaves it in the drive's own cache there
                with contextlib.suppress(OSError):
                    fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return path


@contextlib.contextmanager
def temporary_files(folder: Path, *contents: bytes, mode: int = 0o600) -> Iterator[list[Path]]:
    """A new file for each of the contents, to be renamed by the body; none is left if it fails."""
    paths: list[Path] = []
    try:
        for data in contents:
            paths.append(write_temporary(folder, data, mode))
        yield paths
    except BaseException:
        for path in paths:
            with contextlib.suppress(OSError):
                remove(path)
        raise


def write_durable(path: Path, data: bytes) -> None:
    """Puts `data` at `path` (0600) so that a reader sees the old file or the new, never a part."""
    with temporary_files(path.parent, data) as (temporary,):
        replace(temporary, path)
    sync_folder(path.parent)


def write_new(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Puts files for everybody to read into `folder`, by name, all of them whole or none.

    FileExistsError: one of the names is taken; no file is ever replaced. Raises OSError.
    """
    with temporary_files(folder, *contents.values(), mode=0o666) as temporary:
        made: list[Path] = []
        try:
            for source, name in zip(temporary, contents, strict=True):
                _name_new(source, folder / name)
                made.append(folder / name)
        except BaseException:
            for path in made:
                with contextlib.suppress(OSError):
                    remove(path)
            raise
    sync_folder(folder)


def _name_new(source: Path, target: Path) -> None:
    """Renames a file to a name that nobody has; FileExistsError where somebody does."""
    if sys.platform == "win32":
        os.rename(source, target)  # refuses a name that is taken
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, such as exFAT: take the name first
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            replace(source, target)
        except BaseException:
            remove(target)
            raise
        return
    remove(source)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable where the system can (Windows need not)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes temporary files that dead processes left in `folder`, and no file of another's."""
    limit = time.time() - STALE_SECONDS
    for path in folder.glob(f"*-*{TEMPORARY}"):
        process, _, digits = path.stem.partition("-")
        with contextlib.suppress(OSError):
            is_own = process.isdigit() and len(digits) == _DIGITS
            if is_own and path.lstat().st_mtime < limit:
                path.unlink()
                logger.info("Removed a temporary file that a dead process left.")


def create_private(path: Path) -> None:
    """Makes sure that `path` exists and is this user's only (0600); raises OSError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            with contextlib.suppress(OSError):
                path.chmod(0o600)
