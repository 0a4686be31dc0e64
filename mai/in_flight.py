"""Whose calls are in flight, and which of their processes are gone."""

from __future__ import annotations

import sqlite3

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


def lost(sql: sqlite3.Connection, now: float) -> list[tuple[int, int]]:
    """(row, 1 if it was out) of calls that nobody will finish: their process is dead, and no job
    can be resumed.
    """
    rows = sql.execute(
        "SELECT id, out, opened_at, machine, pid, started FROM calls"
        " WHERE outcome IS NULL AND (job_id IS NULL OR opened_at < ?)",
        (now - JOB_SECONDS,),
    ).fetchall()
    return [(row[0], row[1]) for row in rows if not lives(Owner(*row[3:]), row[2], now)]
