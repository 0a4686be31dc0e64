"""The process that owns a call: whether it still runs, and may still finish the call."""

from __future__ import annotations

import functools
import importlib
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

FOREIGN_SECONDS = 3600.0
"""A process of another machine or container can't be asked; no call of a living one is older."""

_STATE, _START = 0, 19
"""Places in /proc/<pid>/stat after the command's closing bracket: fields 3 and 22 of proc(5)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One process: its machine's name, its number and when it started.

    `started` tells a process from a later one under the same number; "" where the system doesn't
    say.
    """

    machine: str
    pid: int
    started: str


def this_process() -> Owner:
    """Who we are."""
    return _this_process(os.getpid())


def alive(owner: Owner) -> bool | None:
    """Whether `owner` still runs; None when it ran on another machine (or container)."""
    if owner == this_process():
        return True
    if owner.machine != platform.node():
        return None
    started = _started(owner.pid)
    if started is None:
        return False
    return not owner.started or not started or started == owner.started


def can_finish(owner: Owner, opened_at: float, now: float) -> bool:
    """Whether the process that opened a call at a time (seconds since 1970) can still finish it."""
    lives = alive(owner)
    return lives if lives is not None else now - opened_at < FOREIGN_SECONDS


@functools.lru_cache(maxsize=1)
def _this_process(pid: int) -> Owner:
    return Owner(platform.node(), pid, _started(pid) or "")


def _started(pid: int) -> str | None:
    """A text that is the same for the whole life of a process; "" unknown, None no such process."""
    if pid <= 0:
        return None
    if sys.platform == "linux":
        return _started_linux(pid)
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return "" if _exists(pid) else None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""


def _started_linux(pid: int) -> str | None:
    """Clock ticks from the boot to the process's start, and which boot; a zombie is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[_STATE] in (b"Z", b"X"):
        return None
    return f"{fields[_START].decode()}@{_boot()}"


@functools.lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    """Liveness alone. os.kill(pid, 0) would end the process on Windows, so it isn't used there."""
    if sys.platform == "win32":
        import ctypes

        query_limited_information, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(query_limited_information, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == still_active
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
