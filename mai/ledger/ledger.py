"""What was spent, what is in flight, and whether a budget allows one more call.

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

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..disk import Database
from ..errors import RunningElsewhere
from ..types import Usage
from . import owners as in_flight
from . import spend
from .budgets import check, nano
from .ledger_schema import SCHEMA
from .processes import Owner, this_process
from .spend import Spend

if TYPE_CHECKING:
    from ..types import Budget


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
class Call:
    """One call that is about to be sent: `key` of its request, `kind` "generate" or "edit"."""

    key: str
    profile: str
    service: str
    model: str
    kind: str
    estimate_usd: float
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """An unfinished call whose service knows it by a job id, now this process's to finish."""

    row: int
    job_id: str
    profile: str
    opened_at: float


class Ledger:
    """The ledger in the file `path` (0600), safe for threads and processes.

    `now` gives seconds since 1970. Nothing is opened before the first use. Every method raises
    StoreError when the file can't be used. Each write waits for the disk: call them off the loop.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._database = Database(path, SCHEMA)
        self._now = now

    def open(self, call: Call, budget: Budget, *, alone: bool = False, out: bool = True) -> int:
        """Writes the call down as in flight and gives its row; to be done before it is sent.

        In one transaction with the check: what was spent + what is in flight + this estimate must
        be within the budget's day and month, else BudgetError with the sums. With `alone`, the same
        request in flight in another living process is RunningElsewhere. `out=False` says that the
        call still waits for its turn: mark() must then come before it is sent.
        """
        estimate = nano(call.estimate_usd)
        now = self._now()
        day = spend.day_of(now)
        owner = this_process()
        with self._database.write() as sql:
            if alone and in_flight.elsewhere(sql, call.key, now):
                raise RunningElsewhere("The same request is running in another process.")
            check(sql, call.profile, budget, day, estimate)
            cursor = sql.execute(
                "INSERT INTO calls (opened_at, day, key, profile, service, model, kind,"
                " deployment, out, estimate_usd, estimate_nano, machine, pid, started)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    now,
                    day,
                    call.key,
                    call.profile,
                    call.service,
                    call.model,
                    call.kind,
                    call.deployment,
                    int(out),
                    call.estimate_usd,
                    estimate,
                    owner.machine,
                    owner.pid,
                    owner.started,
                ),
            )
            return int(cursor.lastrowid or 0)

    def mark(self, row: int, out: bool, deployment: str | None = None) -> None:
        """Whether a call in flight may be at the service; `deployment` None: as it was.

        A process that dies leaves a call that is out perhaps billed, and one that isn't withdrawn.
        True must be written before the first byte is sent, False only when surely nothing was
        billed. A row that another process recovered while its owner lived is in flight again.
        """
        with self._database.write() as sql:
            sql.execute(
                "UPDATE calls SET out = ?, deployment = coalesce(?, deployment), outcome = NULL,"
                " closed_at = NULL, counted_nano = 0, counted_calls = 0, recovered = 0"
                " WHERE id = ? AND (outcome IS NULL OR recovered)",
                (int(out), deployment, row),
            )

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
        by_estimate = outcome in (Outcome.DELIVERED, Outcome.PERHAPS_BILLED)
        with self._database.write() as sql:
            sql.execute(
                "UPDATE calls SET closed_at = ?, outcome = ?, cost_usd = ?, text_in = ?,"
                " image_in = ?, image_out = ?, request_id = ?, status = ?, code = ?,"
                " counted_nano = coalesce(?, estimate_nano * ?), counted_calls = ?, recovered = 0"
                " WHERE id = ? AND (outcome IS NULL OR recovered)",
                (
                    self._now(),
                    outcome.value,
                    cost_usd,
                    *((usage.text_in, usage.image_in, usage.image_out) if usage else (None,) * 3),
                    request_id,
                    status,
                    code,
                    cost,
                    int(by_estimate),
                    int(outcome not in (Outcome.REFUSED, Outcome.WITHDRAWN)),
                    row,
                ),
            )

    def running_elsewhere(self, key: str) -> bool:
        """Whether another living process has this request in flight."""
        with self._database.read() as sql:
            return in_flight.elsewhere(sql, key, self._now())

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

    def find_job(self, key: str) -> Job | None:
        """The newest unfinished call of this request that has a job id.

        It is this process's from then on; None when there is none or another living process has it.
        """
        with self._database.write() as sql:
            found = sql.execute(
                "SELECT id, job_id, profile, opened_at, machine, pid, started FROM calls"
                " WHERE key = ? AND outcome IS NULL AND job_id IS NOT NULL ORDER BY id DESC",
                (key,),
            ).fetchone()
            if found is None:
                return None
            owner = Owner(*found[4:])
            if owner != this_process() and in_flight.lives(owner, found[3], self._now()):
                return None
            sql.execute(
                "UPDATE calls SET machine = ?, pid = ?, started = ? WHERE id = ?",
                (this_process().machine, this_process().pid, this_process().started, found[0]),
            )
            return Job(*found[:4])

    def recover(self, landed: Callable[[str], bool] = lambda key: False) -> int:
        """Calls in flight of processes that died become perhaps billed; gives how many.

        For the start; it also checks that the file is whole. Calls that were not out (see mark)
        become withdrawn, uncounted; the newest of a key that `landed` knows becomes delivered: its
        process died between image and row. Others with a job id stay in flight for a week, as
        they can be resumed. Should the owner live after all (unseen, in another container), its
        mark() and close() still hold.
        """
        now = self._now()
        self._database.verify()
        with self._database.read() as sql:
            if not in_flight.lost(sql, now):
                return 0
        perhaps = 0
        with self._database.write() as sql:
            for lost in in_flight.lost(sql, now):
                outcome = Outcome.PERHAPS_BILLED if lost.out else Outcome.WITHDRAWN
                if lost.out and lost.newest and landed(lost.key):
                    outcome = Outcome.DELIVERED
                elif lost.job:
                    continue
                perhaps += outcome is Outcome.PERHAPS_BILLED
                sql.execute(
                    "UPDATE calls SET outcome = ?, closed_at = ?, counted_nano = estimate_nano * ?,"
                    " counted_calls = ?, recovered = 1 WHERE id = ?",
                    (outcome.value, now, lost.out, lost.out, lost.row),
                )
        return perhaps

    def spend(self, profile: str | None = None) -> Spend:
        """The sums of one profile, or of all."""
        with self._database.read() as sql:
            return spend.summary(sql, spend.day_of(self._now()), profile)

    def rows(self, limit: int | None = 100) -> list[dict[str, object]]:
        """The newest calls, newest first, with the columns of spend.COLUMNS; None: all."""
        with self._database.read() as sql:
            return list(spend.rows(sql, limit))

    def export_csv(self, stream: TextIO) -> int:
        """Writes every call as CSV, newest first; gives how many. Open files with newline=""."""
        with self._database.read() as sql:
            return spend.write_csv(spend.rows(sql), stream)

    def dispose(self) -> None:
        """Closes the file; the next use opens it again."""
        self._database.dispose()
