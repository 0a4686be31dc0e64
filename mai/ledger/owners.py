"""Program starts that own calls, and which of them are dead.

An owner is one start of a program: a random token, made anew after exec and fork. Neither a host's
name nor a process number says who is alive: containers share the one and reuse the other. So an
owner that has calls in flight lets a counter in the ledger grow every few seconds, and whoever has
seen that counter stand still for a minute takes it for dead. No time of one machine is ever
compared with another's. Only where its death can be proved, on the same boot of the same machine,
is it dead at once, so that a restart after a crash waits for nothing.
"""

from __future__ import annotations

import functools
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

BEAT_SECONDS = 5.0
"""How often an owner with calls in flight shows that it lives."""

DEAD_AFTER = 60.0
"""Seconds for which a counter must be seen to stand still: twelve beats."""

LONGEST_STEP = 2 * BEAT_SECONDS
"""Seconds that one look adds at most: whoever was stopped itself has seen nothing meanwhile."""

_STATE, _START = 0, 19
"""Places in /proc/<pid>/stat after the command's closing bracket: fields 3 and 22 of proc(5)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One start of a program. `boot`, `pid_namespace` and `started` are "" where the system
    doesn't say."""

    token: str
    machine: str
    boot: str
    pid_namespace: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine}"


def this_owner() -> Owner:
    """This start of this program."""
    return _owner_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _owner_of(pid: int) -> Owner:
    """After a fork the number is another one, after exec the cache is gone."""
    return Owner(
        secrets.token_hex(16),
        platform.node(),
        _read("/proc/sys/kernel/random/boot_id"),
        _pid_namespace(),
        pid,
        _started(pid) or "",
    )


def is_proved_dead(owner: Owner) -> bool:
    """Whether the owner surely runs no more: only a process of the same boot and the same process
    numbers can know."""
    me = this_owner()
    if owner.token == me.token or not owner.boot or not owner.started:
        return False
    if (owner.boot, owner.pid_namespace) != (me.boot, me.pid_namespace):
        return False
    if owner.pid == me.pid:  # the program that had our number before is gone by exec
        return True
    started = _started(owner.pid)
    return started is None or (started != "" and started != owner.started)


class Watch:
    """Looks at other owners' counters, and knows how long each was seen to stand still."""

    def __init__(
        self, dead_after: float = DEAD_AFTER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dead_after = dead_after
        self._clock = clock
        self._seen: dict[str, _Sight] = {}

    def dead(self, owners: Iterable[tuple[Owner, int]]) -> set[str]:
        """The tokens of those that are dead, of owners with their counters as they are now."""
        now = self._clock()
        seen, self._seen = self._seen, {}
        dead = set()
        for owner, beat in owners:
            sight = seen.get(owner.token)
            if sight is None or sight.beat != beat:
                sight = _Sight(beat, now)
            longest = min(LONGEST_STEP, self._dead_after / 2)
            sight.still_for += min(now - sight.looked_at, longest)
            sight.looked_at = now
            self._seen[owner.token] = sight
            if sight.still_for >= self._dead_after or is_proved_dead(owner):
                dead.add(owner.token)
        return dead


@dataclass
class _Sight:
    beat: int
    looked_at: float
    still_for: float = 0.0


def _started(pid: int) -> str | None:
    """Clock ticks from the boot to the process's start; "" unknown, None where there is none.

    A zombie is none.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return ""
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[_STATE] in (b"Z", b"X") else fields[_START].decode()


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
