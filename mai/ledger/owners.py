"""Whose calls are in flight, and which of their processes are gone."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from .processes import Owner, alive, this_process

FOREIGN_SECONDS = 3600.0
"""A process of another machine or container can't be asked; no call of a living one is older."""

JOB_SECONDS = 7 * 86_400.0
"""How long a job of a service with job ids can be resumed; then its call is perhaps billed."""


def lives(owner: Owner, opened_at: float, now: float) -> bool:
    """Whether the process that opened a call can still finish it."""
    known = alive(owner)
    return known if known is not None else now - opened_at < FOREIGN_SECONDS


def elsewhere(sql: sqlite3.Connection, key: str, now: float) -> bool:
    """Whether another living process has the request `key` in flight."""
    rows = sql.execute(
        "SELECT machine, pid, started, opened_at FROM calls WHERE key = ? AND outcome IS NULL",
        (key,),
    ).fetchall()
    me = this_process()
    return any(
        owner != me and lives(owner, opened_at, now)
        for owner, opened_at in ((Owner(*row[:3]), row[3]) for row in rows)
    )


@dataclass(frozen=True, slots=True)
class Lost:
    """A call that nobody will finish. `out`: it may have been at the service; `newest`: no later
    call asked for the same key, so an image that is there can only be this one's; `job`: its
    service knows it by an id by which it can still be resumed.
    """

    row: int
    key: str
    out: bool
    newest: bool
    job: bool = False


def lost(sql: sqlite3.Connection, now: float) -> list[Lost]:
    """Calls in flight whose process is dead."""
    rows = sql.execute(
        "SELECT id, key, out, NOT EXISTS (SELECT 1 FROM calls AS later WHERE later.key = calls.key"
        " AND later.id > calls.id AND (later.outcome = 'delivered' OR later.outcome IS NULL)),"
        " job_id IS NOT NULL AND opened_at >= ?, opened_at, machine, pid, started FROM calls"
        " WHERE outcome IS NULL",
        (now - JOB_SECONDS,),
    ).fetchall()
    return [
        Lost(row[0], row[1], bool(row[2]), bool(row[3]), bool(row[4]))
        for row in rows
        if not lives(Owner(*row[6:]), row[5], now)
    ]
