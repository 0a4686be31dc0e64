"""Program starts that own calls, and which of them are dead.

An owner is one start of a program: a random token, made anew after exec and fork. Neither a host's
name nor a process number says who is alive: containers share the one and reuse the other. So an
owner that has calls in flight shows every few seconds that it lives, and who was silent for a
minute is dead. No time of one machine is ever compared with another's: in a file the sign is a
counter, and each process watches for itself how long it stands still; on a server that machines
share it is the time of a clock in the database, which stands still while nobody reaches the
database. Only where its death can be proved, on the same boot of the same machine, is an owner dead
at once, so that a restart after a crash waits for nothing.
"""

from __future__ import annotations

import functools
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from ..database import upsert
from .tables import OWNERS, STUDIO_CLOCK

BEAT_SECONDS = 5.0
"""How often an owner with calls in flight shows that it lives."""

DEAD_AFTER = 60.0
"""Seconds of silence after which an owner is dead: twelve beats."""

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


class OwnerSigns(Protocol):
    """How owners show that they live, and how others see it."""

    def show(self, sql: Connection) -> None:
        """Show that this owner lives."""

    def look(self, sql: Connection) -> None:
        """Let time pass: to be called every BEAT_SECONDS by everybody who looks."""

    def others(self, sql: Connection) -> tuple[set[str], dict[str, int]]:
        """The tokens of other owners: those that may live, and the dead with their last sign."""


class StudioClock:
    """Signs of life on a server that machines share: `beat` is a time in milliseconds.

    The clock goes by the server's time, but one look lets at most LONGEST_STEP pass. So a server
    that was down, or stood still, for however long has cost nobody more than that.
    """

    def __init__(self, dead_after: float = DEAD_AFTER) -> None:
        self._dead_after = dead_after

    def show(self, sql: Connection) -> None:
        """Write the clock's time as this owner's."""
        mine = upsert(sql, OWNERS).values(**asdict(this_owner()), beat=_STUDIO_TIME)
        beat = {"beat": mine.excluded.beat}
        sql.execute(mine.on_conflict_do_update(index_elements=[OWNERS.c.token], set_=beat))

    def look(self, sql: Connection) -> None:
        """Let the clock go on by the time since somebody looked last."""
        look = upsert(sql, STUDIO_CLOCK).values(id=1, looked_at=_SERVER_TIME, milliseconds=0)
        passed = 1000 * (look.excluded.looked_at - STUDIO_CLOCK.c.looked_at)
        most = 1000 * min(LONGEST_STEP, self._dead_after / 2)
        step = cast(func.least(func.greatest(passed, 0), most), BigInteger)
        sql.execute(
            look.on_conflict_do_update(
                index_elements=[STUDIO_CLOCK.c.id],
                set_={
                    "looked_at": look.excluded.looked_at,
                    "milliseconds": STUDIO_CLOCK.c.milliseconds + step,
                },
            )
        )

    def others(self, sql: Connection) -> tuple[set[str], dict[str, int]]:
        """As OwnerSigns says."""
        found = _other_owners(sql, _STUDIO_TIME)
        dead = {
            row.token: row.beat
            for row in found
            if row.time - row.beat >= 1000 * self._dead_after or is_proved_dead(_owner(row))
        }
        return {row.token for row in found} - dead.keys(), dead


_SERVER_TIME: ColumnElement[float] = literal_column(
    "extract(epoch FROM clock_timestamp())::double precision"
)
_STUDIO_TIME: ColumnElement[int] = func.coalesce(
    select(STUDIO_CLOCK.c.milliseconds).where(STUDIO_CLOCK.c.id == 1).scalar_subquery(), 0
)


def _other_owners(sql: Connection, time: ColumnElement[int]) -> Sequence[Any]:
    query = select(OWNERS, time.label("time")).where(OWNERS.c.token != this_owner().token)
    return sql.execute(query).all()


def _owner(row: Any) -> Owner:
    return Owner(*(getattr(row, each.name) for each in fields(Owner)))


class Watch:
    """Signs of life in a file: `beat` is a counter. This process watches how long each stands."""

    def __init__(
        self, dead_after: float = DEAD_AFTER, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._dead_after = dead_after
        self._clock = clock
        self._seen: dict[str, _Sight] = {}

    def show(self, sql: Connection) -> None:
        """Let this owner's counter grow."""
        mine = upsert(sql, OWNERS).values(**asdict(this_owner()), beat=0)
        beat = {"beat": OWNERS.c.beat + 1}
        sql.execute(mine.on_conflict_do_update(index_elements=[OWNERS.c.token], set_=beat))

    def look(self, sql: Connection) -> None:
        """Nothing: time passes in this process."""

    def others(self, sql: Connection) -> tuple[set[str], dict[str, int]]:
        """As OwnerSigns says; each call is a look at all of them."""
        found = _other_owners(sql, literal(0))
        dead = self.dead((_owner(row), row.beat) for row in found)
        beats = {row.token: row.beat for row in found}
        return beats.keys() - dead, {token: beats[token] for token in dead}

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
