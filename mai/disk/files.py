"""Files that survive a crash: written beside, synced, then renamed into place."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

if sys.platform == "darwin":
    import fcntl

log = logging.getLogger(__name__)

TEMPORARY = ".tmp"

STALE_SECONDS = 3600.0
"""No write takes an hour: an older temporary file belongs to a process that died."""

_BUSY_TRIES = 10
_BUSY_PAUSE = 0.02
"""Seconds. Windows refuses to replace or remove a file that is open, which here lasts moments."""

T = TypeVar("T")


def make_folder(folder: Path) -> None:
    """Makes a folder, and its parents, for this user only (0700); raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def write_temporary(folder: Path, data: bytes) -> Path:
    """Writes `data` to a new file (0600) in `folder` and syncs it; raises OSError, leaving none."""
    path = folder / f"{os.getpid()}-{uuid.uuid4().hex}{TEMPORARY}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            _sync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return path


def write_durable(path: Path, data: bytes) -> None:
    """Puts `data` at `path` (0600) so that a reader sees the old file or the new, never a part."""
    temporary = write_temporary(path.parent, data)
    try:
        replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def replace(source: Path, target: Path) -> None:
    """os.replace, patient where Windows has the target open."""
    patiently(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Removes a file; one that is gone already is fine. Raises OSError."""
    patiently(lambda: path.unlink(missing_ok=True))


def read(path: Path) -> bytes:
    """The file's bytes; raises OSError."""
    return patiently(path.read_bytes)


def patiently(action: Callable[[], T]) -> T:
    """Does `action`, on Windows again for a moment while another process has the file open."""
    if sys.platform == "win32":
        for _ in range(_BUSY_TRIES):
            try:
                return action()
            except PermissionError:
                time.sleep(_BUSY_PAUSE)
    return action()


def sync_folder(folder: Path) -> None:
    """Makes names in `folder` durable where the system can (Windows can't, and needs not)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse it
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(folder: Path) -> None:
    """Removes temporary files that dead processes left in `folder`."""
    limit = time.time() - STALE_SECONDS
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(TEMPORARY)]
    except FileNotFoundError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if entry.stat(follow_symlinks=False).st_mtime < limit:
                os.unlink(entry.path)
                log.info("Removed a left-over temporary file of a process that ended.")


def create_private(path: Path) -> None:
    """Makes sure that `path` exists and is this user's only (0600); raises OSError."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if sys.platform != "win32" and path.stat().st_mode & 0o077:
            with contextlib.suppress(OSError):
                path.chmod(0o600)


_BINARY: int = getattr(os, "O_BINARY", 0)


def _sync(descriptor: int) -> None:
    """fsync; on macOS also through the drive's own cache, which fsync leaves there."""
    if sys.platform == "darwin":
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)
