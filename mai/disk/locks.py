"""Who holds a SQLite file, and a lock on a whole folder for the moments in which files change."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

UNKNOWN_HOLDER = "another process"

_WAL_LOCKS = range(120, 123)
"""Bytes of the -shm file that a writer, a checkpoint and a recovery lock; the bytes after them are
held by readers too (sqlite.org/walformat.html, section 2.3)."""

_MAIN_LOCKS = range(0x40000000, 0x40000000 + 512)
"""Bytes of the main file that a writer locks without WAL (PENDING_BYTE in SQLite's os.h)."""

_WHOLE_FILE = range(1)
"""The first byte: flock() always locks them all."""

_PAUSE = 0.005
"""Seconds between two tries to lock a folder."""


def holder(path: Path) -> str:
    """The process that writes to the SQLite file now, such as "process 1234 (python)".

    "another process" where it can't be known: on other systems than Linux, in another container,
    or when it has just let go. Nothing is opened: closing a file drops this process's own locks
    on it, also those of a connection that is in use (sqlite.org/howtocorrupt.html, section 2.2).
    """
    shared_memory = path.with_name(f"{path.name}-shm")
    return (
        _find_writer(shared_memory, "POSIX", _WAL_LOCKS)
        or _find_writer(path, "POSIX", _MAIN_LOCKS)
        or _find_writer(path.parent, "FLOCK", _WHOLE_FILE)
        or UNKNOWN_HOLDER
    )


@contextlib.contextmanager
def lock_folder(folder: Path, seconds: float) -> Iterator[None]:
    """Holds the folder for this process; TimeoutError where another one has it for so long.

    The lock goes with the process, however it ends. Where there is none (Windows, some network file
    systems) the body runs without: Windows refuses to rename a file that anybody has open.
    """
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _wait_for_lock(descriptor, folder, seconds)
        yield
    finally:
        # A child forked meanwhile shares the lock: closing alone would leave it locked.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Holds the folder for as long as a program works in it; TimeoutError where another one does.

    The lock goes with the process, however it ends. It is another one than `lock_folder`'s only on
    Windows, where a file in the folder is locked, as a folder can't be.
    """
    if sys.platform == "win32":
        with (folder / ".in_use").open("a+b") as file:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                raise TimeoutError(f"{folder} is locked") from None
            yield
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        with lock_folder(folder, 0.0):
            yield


def _wait_for_lock(descriptor: int, folder: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError(f"{folder} is locked") from None
        except OSError:
            return
        time.sleep(_PAUSE)


def _find_writer(path: Path, kind: str, locked: range) -> str | None:
    """The process with a write lock on one of these bytes of the file, as Linux lists them.

    A line is "1: POSIX  ADVISORY  WRITE 1234 fd:01:5678 120 120": number, kind, mode, access,
    process, device and inode, first and last byte (proc_locks(5)). One with "->" only waits. The
    device is not compared: Btrfs and overlays show another one than stat() does.
    """
    try:
        inode = str(os.stat(path).st_ino)
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for words in map(str.split, lines):
        if len(words) != 8 or words[1] != kind or words[3] != "WRITE":
            continue
        process, file, first, last = words[4:]
        end = locked.stop if last == "EOF" else int(last) + 1
        if file.rpartition(":")[2] == inode and max(int(first), locked.start) < min(
            end, locked.stop
        ):
            return _describe_process(process)
    return None


def _describe_process(process: str) -> str | None:
    """None for one that can't be seen from this container."""
    try:
        name = Path("/proc", process, "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return f"process {process} ({name})"
