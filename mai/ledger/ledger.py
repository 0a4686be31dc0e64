"""Every call from its row, written before it is sent, to how it ended.

SQLite in WAL mode with synchronous=FULL: a row is on the disk before its call is sent, so neither
`kill -9` nor a power cut can hide a call that may have been billed. One row a call; triggers keep
the sums of each profile, day and model, so a budget is checked at the same cost with 100 rows and
with 100,000.

A call belongs to the local calendar day in which it was opened, written into its row as text then:
a clock set back, a change of time zone or of daylight-saving time never moves it or counts it
twice. Calls in flight count in every present period, whenever they were opened.

A ledger that can't be read or written is a StoreError, and nothing is sent, also where no budget is
set: an empty ledger in its place would silently set every budget back to zero, and a call without a
row could be paid and lost without a trace. The error says how to repair the file or put it aside.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TextIO

from ..disk import Database, Schema
from ..errors import RunningElsewhere
from ..types import Budget, Usage
from .budgets import check_budget, nano
from .processes import Owner, can_finish, this_process
from .spend import Spend, call_rows, day_of, summarize, write_csv

JOB_SECONDS = 7 * 86_400.0
"""How long a job of a service with job ids can be resumed; then its call is perhaps billed."""

SCHEMA = Schema(
    name="The ledger",
    version=1,
    statements=(
        "CREATE TABLE calls (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " opened_at REAL NOT NULL, day TEXT NOT NULL, closed_at REAL, outcome TEXT,"
        " key TEXT NOT NULL, profile TEXT NOT NULL, service TEXT NOT NULL, model TEXT NOT NULL,"
        " kind TEXT NOT NULL, deployment TEXT, out INTEGER NOT NULL,"
        " estimate_usd REAL NOT NULL, cost_usd REAL,"
        " text_in INTEGER, image_in INTEGER, image_out INTEGER, request_id TEXT, job_id TEXT,"
        " status INTEGER, code TEXT, machine TEXT NOT NULL, pid INTEGER NOT NULL,"
        " started TEXT NOT NULL, estimate_nano INTEGER NOT NULL,"
        " counted_nano INTEGER NOT NULL DEFAULT 0, counted_calls INTEGER NOT NULL DEFAULT 0,"
        " recovered INTEGER NOT NULL DEFAULT 0)",
        "CREATE INDEX in_flight ON calls (key) WHERE outcome IS NULL",
        "CREATE INDEX uncertain ON calls (id) WHERE outcome = 'perhaps billed'",
        "CREATE TABLE days (profile TEXT NOT NULL, day TEXT NOT NULL, model TEXT NOT NULL,"
        " nano INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (profile, day, model))"
        " WITHOUT ROWID",
        "CREATE TRIGGER counted AFTER UPDATE OF counted_nano, counted_calls ON calls BEGIN"
        " INSERT INTO days VALUES (NEW.profile, NEW.day, NEW.model,"
        " NEW.counted_nano - OLD.counted_nano, NEW.counted_calls - OLD.counted_calls)"
        " ON CONFLICT (profile, day, model) DO UPDATE SET"
        " nano = nano + excluded.nano, calls = calls + excluded.calls; END",
    ),
    synchronous="FULL",
    if_damaged="Nothing was sent, as budgets can't be checked without it. Stop every ComfyUI that "
    "uses this folder, then restore the file from a backup, or repair it (sqlite3 FILE .recover), "
    "or rename it: a new ledger starts then, and its budgets start from zero.",
)
"""`outcome` is NULL while a call is in flight. `counted_nano` is what a row adds to the sums, in
nano-dollars: 0 while in flight, its cost or estimate after. `out` is 1 from mark_sent() on: the
call may be at the service. `recovered` marks a row that another process closed, believing its owner
dead."""

_MARK = (
    "UPDATE calls SET out = ?, deployment = coalesce(?, deployment), outcome = NULL,"
    " closed_at = NULL, counted_nano = 0, counted_calls = 0, recovered = 0"
    " WHERE id = ? AND (outcome IS NULL OR recovered)"
)


class Outcome(str, Enum):
    """How a call ended. REFUSED is every answer, and every failure, that surely isn't billed;
    WITHDRAWN is a call that was never sent.
    """

    DELIVERED = "delivered"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    BLOCKED = "blocked"
    PERHAPS_BILLED = "perhaps billed"


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that is about to be sent: `key` of its request, `kind` "generate" or "edit"."""

    key: str
    profile: str
    service: str
    model: str
    kind: str
    estimate_usd: float


@dataclass(frozen=True, slots=True)
class OpenJob:
    """An unfinished call whose service knows it by a job id, now this process's to finish."""

    row: int
    job_id: str
    profile: str


class Ledger:
    """The ledger in the file `path` (0600), safe for threads and processes.

    `now` gives seconds since 1970. Nothing is opened before the first use. Every method raises
    StoreError when the file can't be used. Each write waits for the disk: call them off the loop.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._database = Database(path, SCHEMA)
        self._now = now

    def open(self, call: NewCall, budget: Budget) -> int:
        """Writes the call down as in flight, not sent yet, and gives its row.

        In one transaction with two checks. Another living process that has the same request in
        flight is RunningElsewhere. What was spent + what is in flight + this estimate must be
        within the budget's day and month, else BudgetError with the sums.
        """
        estimate = nano(call.estimate_usd)
        now = self._now()
        day = day_of(now)
        owner = this_process()
        with self._database.write() as sql:
            for machine, pid, started, opened_at in sql.execute(
                "SELECT machine, pid, started, opened_at FROM calls"
                " WHERE key = ? AND outcome IS NULL",
                (call.key,),
            ).fetchall():
                other = Owner(machine, pid, started)
                if other != owner and can_finish(other, opened_at, now):
                    raise RunningElsewhere("The same request is running in another process.")
            check_budget(sql, call.profile, budget, day, estimate)
            cursor = sql.execute(
                "INSERT INTO calls (opened_at, day, key, profile, service, model, kind, out,"
                " estimate_usd, estimate_nano, machine, pid, started)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)",
                (now, day, call.key, call.profile, call.service, call.model, call.kind,
                 call.estimate_usd, estimate, owner.machine, owner.pid, owner.started),
            )  # fmt: skip
            return int(cursor.lastrowid or 0)

    def mark_sent(self, row: int, deployment: str | None = None) -> None:
        """The call may be at the service from now on; `deployment` None: as it was.

        To be written before the first byte is sent: a process that dies leaves a call that is sent
        perhaps billed, and one that isn't withdrawn. A row that another process recovered while
        its owner lived is in flight again.
        """
        with self._database.write() as sql:
            sql.execute(_MARK, (1, deployment, row))

    def mark_not_sent(self, row: int) -> None:
        """The call isn't at the service, and surely nothing was billed: it may be sent again."""
        with self._database.write() as sql:
            sql.execute(_MARK, (0, None, row))

    def close(
        self,
        row: int,
        outcome: Outcome,
        *,
        cost_usd: float | None = None,
        usage: Usage | None = None,
        request_id: str | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        """Writes how the call ended. A row that is closed already, or unknown, stays as it is.

        Counted is `cost_usd`; where that is None, the estimate of a delivered or perhaps billed
        call, and nothing for any other.
        """
        cost = None if cost_usd is None else nano(cost_usd)
        tokens = (usage.text_in, usage.image_in, usage.image_out) if usage else (None, None, None)
        by_estimate = outcome in (Outcome.DELIVERED, Outcome.PERHAPS_BILLED)
        is_counted = outcome not in (Outcome.REFUSED, Outcome.WITHDRAWN)
        with self._database.write() as sql:
            sql.execute(
                "UPDATE calls SET closed_at = ?, outcome = ?, cost_usd = ?, text_in = ?,"
                " image_in = ?, image_out = ?, request_id = ?, status = ?, code = ?,"
                " counted_nano = coalesce(?, estimate_nano * ?), counted_calls = ?, recovered = 0"
                " WHERE id = ? AND (outcome IS NULL OR recovered)",
                (self._now(), outcome.value, cost_usd, *tokens, request_id, status, code,
                 cost, by_estimate, is_counted, row),
            )  # fmt: skip

    def set_job(self, row: int, job_id: str) -> None:
        """The service's id of a call in flight, by which it can be resumed."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE calls SET job_id = ? WHERE id = ? AND outcome IS NULL", (job_id, row)
            )

    def leave_job(self, row: int) -> None:
        """Nobody follows the job of this row now: any process may take it up."""
        with self._database.write() as sql:
            sql.execute(
                "UPDATE calls SET pid = 0 WHERE id = ? AND outcome IS NULL AND job_id IS NOT NULL",
                (row,),
            )

    def find_job(self, key: str) -> OpenJob | None:
        """The newest unfinished call of this request that has a job id.

        It is this process's from then on; None when there is none or another living process has it.
        """
        me = this_process()
        with self._database.write() as sql:
            found = sql.execute(
                "SELECT id, job_id, profile, machine, pid, started, opened_at FROM calls"
                " WHERE key = ? AND outcome IS NULL AND job_id IS NOT NULL ORDER BY id DESC",
                (key,),
            ).fetchone()
            if found is None:
                return None
            job, owner = OpenJob(*found[:3]), Owner(*found[3:6])
            if owner != me and can_finish(owner, found[6], self._now()):
                return None
            sql.execute(
                "UPDATE calls SET machine = ?, pid = ?, started = ? WHERE id = ?",
                (me.machine, me.pid, me.started, job.row),
            )
            return job

    def recover(self, delivered: Callable[[str], bool] = lambda key: False) -> int:
        """Calls in flight of processes that died become perhaps billed; gives how many.

        For the start; it also checks that the file holds together. Calls that were not sent become
        withdrawn, uncounted; the newest of a key whose image `delivered` knows becomes delivered:
        its process died between image and row. Others with a job id stay in flight for a week, as
        they can be resumed. Should the owner live after all (unseen, in another container), its
        mark_sent() and close() still hold.
        """
        now = self._now()
        self._database.verify()
        perhaps = 0
        with self._database.write() as sql:
            for row, key, sent, newest, resumable in _abandoned(sql, now):
                outcome = Outcome.PERHAPS_BILLED if sent else Outcome.WITHDRAWN
                if sent and newest and delivered(key):
                    outcome = Outcome.DELIVERED
                elif resumable:
                    continue
                perhaps += outcome is Outcome.PERHAPS_BILLED
                sql.execute(
                    "UPDATE calls SET outcome = ?, closed_at = ?, counted_nano = estimate_nano * ?,"
                    " counted_calls = ?, recovered = 1 WHERE id = ?",
                    (outcome.value, now, sent, sent, row),
                )
        return perhaps

    def spend(self, profile: str | None = None) -> Spend:
        """The sums of one profile, or of all."""
        with self._database.read() as sql:
            return summarize(sql, day_of(self._now()), profile)

    def rows(self, limit: int | None = 100) -> list[dict[str, object]]:
        """The newest calls, newest first, with the columns of the CSV; None: all.

        Times are seconds since 1970, None where unknown; `outcome` can be "in flight".
        """
        with self._database.read() as sql:
            return list(call_rows(sql, limit))

    def export_csv(self, stream: TextIO) -> int:
        """Writes every call as CSV, newest first; gives how many. Open files with newline=""."""
        with self._database.read() as sql:
            return write_csv(call_rows(sql), stream)

    def close_file(self) -> None:
        """Closes the file; the next use opens it again."""
        self._database.close_file()


def _abandoned(sql: sqlite3.Connection, now: float) -> list[tuple[int, str, bool, bool, bool]]:
    """Calls in flight whose process is dead: row, key, and three facts.

    Whether it may have been sent; whether no later call asked for the same key, so that an image
    that is there can only be this one's; whether it can still be resumed by its job id.
    """
    found = sql.execute(
        "SELECT id, key, out, NOT EXISTS (SELECT 1 FROM calls AS later WHERE later.key = calls.key"
        " AND later.id > calls.id AND (later.outcome = 'delivered' OR later.outcome IS NULL)),"
        " job_id IS NOT NULL AND opened_at >= ?, opened_at, machine, pid, started FROM calls"
        " WHERE outcome IS NULL",
        (now - JOB_SECONDS,),
    ).fetchall()
    return [row[:5] for row in found if not can_finish(Owner(*row[6:]), row[5], now)]
