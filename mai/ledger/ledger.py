"""Every call from its row, written before it is sent, to how it ended.

A call belongs to the local calendar day in which it was opened, written into its row as text then:
a clock set back, a change of time zone or of daylight-saving time never moves it or counts it
twice. Calls in flight count in every present period, whenever they were opened.

A ledger that can't be read or written is a StoreError, and nothing is sent, also where no budget is
set: an empty ledger in its place would silently set every budget back to zero, and a call without a
row could be paid and lost without a trace. The error says how to repair the file or put it aside.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import Connection, delete, func, insert, select, update

from ..database import DatabaseServer, Schema, database_at
from ..errors import InputError, RunningElsewhere, StoreError
from ..types import Budget, Usage
from .budgets import check_batch, check_budget, nano
from .owners import DEAD_AFTER, Owner, Watch, this_owner
from .spend import PerhapsBilled, Spend, call_rows, day_of, doubtful_calls, summarize, write_csv
from .tables import CALLS, DOUBTFUL, FREE, OWNERS, SCHEMA, Outcome, add_to_sum

JOB_SECONDS = 86_400.0
"""How long a job of a service with job ids can be resumed; then its call is perhaps billed."""


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that is about to be sent: `key` of its request, `kind` "generate" or "edit".

    `why_unbounded` is why the call may cost more than `estimate_usd`, "" where it can't.
    """

    key: str
    profile: str
    service: str
    model: str
    kind: str
    estimate_usd: float
    why_unbounded: str = ""


@dataclass(frozen=True, slots=True)
class OpenJob:
    """An unfinished call whose service knows it by a job id, now this process's to finish.

    `row` is the token of its row.
    """

    row: str
    job_id: str
    profile: str


@dataclass(frozen=True, slots=True)
class EndedCall:
    """How a call ended that somebody else had in flight."""

    outcome: Outcome
    status: int | None
    code: str | None
    request_id: str | None


class LostElsewhere(Exception):
    """The call that this one waited for ended as perhaps billed: nothing was sent or written."""

    def __init__(self, ended: EndedCall) -> None:
        super().__init__(ended.outcome.value)
        self.ended = ended


class Ledger:
    """The ledger in the file `path` (0600), safe for threads and processes.

    A row is known by its token, which `open` gives. `now` gives seconds since 1970; another owner
    is dead after `dead_after` seconds without a sign of life. Nothing is opened before the first
    use. Every method raises StoreError when the file can't be used. Each write waits for the disk:
    call them off the loop.
    """

    def __init__(
        self,
        where: Path | DatabaseServer,
        now: Callable[[], float] = time.time,
        *,
        dead_after: float = DEAD_AFTER,
        schema: Schema = SCHEMA,
    ) -> None:
        self._file = database_at(where, schema)
        self._now = now
        self._watch = Watch(dead_after)
        self._open_rows: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()

    def open(
        self,
        call: NewCall,
        budget: Budget,
        check_room: Callable[[int], None] = lambda in_flight: None,
        joined: str = "",
    ) -> str:
        """Write the call down as in flight, not sent yet, and give its row's token.

        In one transaction with its checks. Another living process that has the same request in
        flight is RunningElsewhere. What was spent + what is in flight + this estimate must be
        within the budget's day and month, else BudgetError with the sums. `check_room` hears how
        many calls are in flight with this one, and may raise. `joined` is the row of the same
        request that this call waited for: LostElsewhere if that one was perhaps billed.
        """
        estimate, now, me = nano(call.estimate_usd), self._now(), this_owner()
        day = day_of(now)
        row = {
            "token": secrets.token_hex(16),
            "owner": me.token,
            "opened_at": now,
            "day": day,
            "key": call.key,
            "profile": call.profile,
            "service": call.service,
            "model": call.model,
            "kind": call.kind,
            "estimate_usd": call.estimate_usd,
            "estimate_nano": estimate,
        }
        token = str(row["token"])
        with self._file.transaction() as sql:
            self._require_open_rows(sql)
            other = self._row_of_another(sql, call.key)
            if other is not None:
                raise RunningElsewhere(_describe(other), other.token)
            ended = _ended(_row(sql, CALLS.c.token == joined)) if joined else None
            if ended is not None and ended.outcome in DOUBTFUL:
                raise LostElsewhere(ended)
            check_budget(sql, call.profile, budget, day, estimate, call.why_unbounded)
            check_room(_in_flight(sql) + 1)
            self._show_life(sql)
            sql.execute(insert(CALLS).values(**row))
        with self._lock:
            self._open_rows[token] = row
        return token

    def mark_sent(self, row: str, deployment: str | None = None) -> bool:
        """The call may be at the service from now on; `deployment` None: as it was.

        To be written before the first byte is sent: a process that dies leaves a call that is sent
        perhaps billed, and one that isn't withdrawn. False: another process took this one for dead
        and closed the row, so the call must be opened anew, with its budget's check.
        """
        values: dict[str, object] = {"sent": 1}
        if deployment is not None:
            values["deployment"] = deployment
        if self._mark(row, values):
            return True
        self.close(row, Outcome.WITHDRAWN)
        return False

    def mark_not_sent(self, row: str) -> bool:
        """The call isn't at the service, and surely nothing was billed: it may be sent again.

        False: as for `mark_sent`; the row is closed as refused.
        """
        if self._mark(row, {"sent": 0}):
            return True
        self.close(row, Outcome.REFUSED)
        return False

    def _mark(self, row: str, values: dict[str, object]) -> bool:
        mine = (CALLS.c.token == row) & CALLS.c.outcome.is_(None)
        with self._file.transaction() as sql:
            self._require_open_rows(sql)
            return sql.execute(update(CALLS).where(mine).values(**values)).rowcount == 1

    def close(
        self,
        row: str,
        outcome: Outcome,
        *,
        cost_usd: float | None = None,
        usage: Usage | None = None,
        request_id: str | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        """Write how the call ended. A row that is closed already, or unknown, stays as it is.

        Counted is `cost_usd`, or the estimate where that is None; nothing for a call that is free.
        The row of a file that was replaced meanwhile is written into the new one.
        """
        values: dict[str, object] = {
            "cost_usd": cost_usd,
            "text_in": usage.text_in if usage else None,
            "image_in": usage.image_in if usage else None,
            "image_out": usage.image_out if usage else None,
            "request_id": request_id,
            "status": status,
            "code": code,
        }
        may_close = (
            CALLS.c.outcome.is_(None)
            | (CALLS.c.recovered == 1)
            | (CALLS.c.outcome == Outcome.NOT_KEPT.value)
        )
        with self._file.transaction() as sql:
            found = _row(sql, CALLS.c.token == row)
            if found is None and row in self._open_rows:
                sql.execute(insert(CALLS).values(**self._open_rows[row]))
            found = _row(sql, (CALLS.c.token == row) & may_close)
            if found is not None:
                self._end(sql, found, outcome, None if cost_usd is None else nano(cost_usd), values)
        if outcome is not Outcome.NOT_KEPT:
            with self._lock:
                self._open_rows.pop(row, None)

    def set_job(self, row: str, job_id: str) -> None:
        """The service's id of a call in flight, by which it can be resumed."""
        unfinished = CALLS.c.outcome.is_(None) | (CALLS.c.recovered == 1)
        with self._file.transaction() as sql:
            mine = (CALLS.c.token == row) & unfinished
            sql.execute(update(CALLS).where(mine).values(job_id=job_id))

    def leave_job(self, row: str) -> None:
        """Nobody follows the job of this row now: any process may take it up."""
        mine = (CALLS.c.token == row) & CALLS.c.outcome.is_(None) & CALLS.c.job_id.is_not(None)
        with self._file.transaction() as sql:
            sql.execute(update(CALLS).where(mine).values(owner=None))
        with self._lock:
            self._open_rows.pop(row, None)

    def find_job(self, key: str) -> OpenJob | None:
        """The newest unfinished call of this request that has a job id.

        It is this process's from then on; None when there is none or another living process has it.
        One that is older than JOB_SECONDS is perhaps billed instead.
        """
        unfinished = CALLS.c.outcome.is_(None) & CALLS.c.job_id.is_not(None) & (CALLS.c.key == key)
        me = this_owner()
        with self._file.transaction() as sql:
            query = select(CALLS).where(unfinished).order_by(CALLS.c.id.desc())
            found = sql.execute(query).first()
            if found is None or found.owner in self._others(sql)[0]:
                return None
            if found.opened_at < self._now() - JOB_SECONDS:
                self._end(sql, found, Outcome.PERHAPS_BILLED, None, {})
                return None
            sql.execute(update(CALLS).where(CALLS.c.id == found.id).values(owner=me.token))
            self._show_life(sql)
        with self._lock:
            self._open_rows[found.token] = {**found._mapping, "id": None, "owner": me.token}
        return OpenJob(found.token, found.job_id, found.profile)

    def recover(self, delivered: Callable[[str], bool] = lambda key: False) -> int:
        """Calls in flight of owners that died become perhaps billed; gives how many.

        Calls that were not sent become withdrawn, uncounted; the newest of a key whose image
        `delivered` knows becomes delivered: its owner died between image and row. Those with a job
        id stay in flight for a day, as they can be resumed. Should the owner live after all (it was
        stopped for long), what it delivers still counts as delivered.
        """
        perhaps = 0
        nobodys = CALLS.c.owner.is_(None) | CALLS.c.owner.not_in(select(OWNERS.c.token))
        abandoned = select(CALLS).where(CALLS.c.outcome.is_(None) & nobodys)
        with self._file.transaction(read_only=True) as sql:
            _, dead = self._others(sql)
            if not dead and sql.execute(abandoned).first() is None:
                return 0
        with self._file.transaction() as sql:
            sql.execute(delete(OWNERS).where(OWNERS.c.token.in_(dead)))
            for row in sql.execute(abandoned).all():
                outcome = self._outcome_of_abandoned(sql, row, delivered)
                if outcome is not None:
                    perhaps += outcome is Outcome.PERHAPS_BILLED
                    self._end(sql, row, outcome, None, {"recovered": 1})
        return perhaps

    def verify(self) -> None:
        """Raise DamagedError where the file doesn't hold together (reads all of it)."""
        self._file.verify()

    def keep_alive(self) -> bool:
        """Show that this process lives; False when no call is in flight, here or elsewhere."""
        with self._file.transaction(read_only=True) as sql:
            if not _in_flight(sql):
                return False
        if self._open_rows:
            with self._file.transaction() as sql:
                self._show_life(sql)
        return True

    def settle(self, row_id: int, billed: bool) -> PerhapsBilled:
        """Close a doubtful call by hand, as the invoice says; InputError: it isn't doubtful."""
        outcome = Outcome.SETTLED_BILLED if billed else Outcome.SETTLED_FREE
        with self._file.transaction() as sql:
            for call in doubtful_calls(sql, None):
                if call.row == row_id:
                    row = _row(sql, CALLS.c.id == row_id)
                    assert row is not None
                    self._end(sql, row, outcome, row.counted_nano if billed else 0, {})
                    return call
        raise InputError(
            f"Call {row_id} isn't one that was perhaps billed.",
            "`mai-image spend --doubtful` lists them with their numbers.",
        )

    def doubtful(self, profile: str | None = None) -> list[PerhapsBilled]:
        """Every call of which nobody here knows whether it was charged, the newest first."""
        with self._file.transaction(read_only=True) as sql:
            return list(doubtful_calls(sql, profile))

    def spend(self, profile: str | None = None, *, but_profile: str | None = None) -> Spend:
        """The sums of one profile, or of all, or of all but one."""
        with self._file.transaction(read_only=True) as sql:
            return summarize(sql, day_of(self._now()), profile, but_profile)

    def check_batch(
        self,
        profile: str,
        budget: Budget,
        prices: Mapping[str, float],
        is_free: Callable[[str], bool],
    ) -> None:
        """Raise BudgetError where the budget can't pay for all of a batch; nothing is written.

        `prices` are estimates in USD by the requests' keys. What is in flight is free, and what
        `is_free`. No money is set aside: `open` checks each call again.
        """
        if budget.day is None and budget.month is None:
            return
        estimates = {key: nano(price) for key, price in prices.items()}
        with self._file.transaction(read_only=True) as sql:
            check_batch(sql, profile, budget, day_of(self._now()), estimates, is_free)

    def rows(self, limit: int | None = 100) -> list[dict[str, object]]:
        """The newest calls, newest first, with the columns of the CSV; None: all.

        Times are seconds since 1970, None where unknown; `outcome` can be "in flight".
        """
        with self._file.transaction(read_only=True) as sql:
            return list(call_rows(sql, limit))

    def export_csv(self, stream: TextIO) -> int:
        """Write every call as CSV, newest first; give how many. Open files with newline=""."""
        with self._file.transaction(read_only=True) as sql:
            return write_csv(call_rows(sql), stream)

    def close_file(self) -> None:
        """Close the file; the next use opens it again."""
        self._file.close_file()

    def _require_open_rows(self, sql: Connection) -> None:
        """StoreError where the file was replaced or deleted while this process has calls out."""
        with self._lock:
            newest = next(reversed(self._open_rows), None)
            count = len(self._open_rows)
        if newest is not None and _row(sql, CALLS.c.token == newest) is None:
            raise StoreError(
                f"{self._file.name} was replaced or deleted while {count} calls are in "
                "flight, so budgets can't be checked. Nothing more is sent.",
                "Put the file back, or wait until those calls have ended: they are written into "
                "the new file.",
            )

    def _row_of_another(self, sql: Connection, key: str) -> Any:
        """The row of the same request that another living process has in flight."""
        living, _ = self._others(sql)
        others = (
            select(CALLS.c.token, CALLS.c.opened_at, OWNERS.c.machine, OWNERS.c.pid)
            .join_from(CALLS, OWNERS, CALLS.c.owner == OWNERS.c.token)
            .where(CALLS.c.outcome.is_(None) & (CALLS.c.key == key) & CALLS.c.owner.in_(living))
        )
        return sql.execute(others).first()

    def _others(self, sql: Connection) -> tuple[set[str], set[str]]:
        """The tokens of other owners: those that may live, and those known to be dead."""
        found = sql.execute(select(OWNERS).where(OWNERS.c.token != this_owner().token)).all()
        dead = self._watch.dead((Owner(*row[:-1]), row.beat) for row in found)
        return {row.token for row in found} - dead, dead

    def _show_life(self, sql: Connection) -> None:
        """Let this owner's counter grow."""
        me = this_owner()
        mine = OWNERS.c.token == me.token
        grown = update(OWNERS).where(mine).values(beat=OWNERS.c.beat + 1)
        if not sql.execute(grown).rowcount:
            sql.execute(insert(OWNERS).values(**asdict(me), beat=0))

    def _outcome_of_abandoned(
        self, sql: Connection, row: Any, delivered: Callable[[str], bool]
    ) -> Outcome | None:
        """How a call of a dead owner ends; None: its job may still be resumed."""
        if not row.sent:
            return Outcome.WITHDRAWN
        # An image that is there can only be this call's if no later one asked for the same key.
        later = select(func.count()).where(
            (CALLS.c.key == row.key)
            & (CALLS.c.id > row.id)
            & (CALLS.c.outcome.is_(None) | (CALLS.c.outcome == Outcome.DELIVERED.value))
        )
        if not sql.execute(later).scalar_one() and delivered(row.key):
            return Outcome.DELIVERED
        if row.job_id is not None and row.opened_at >= self._now() - JOB_SECONDS:
            return None
        return Outcome.PERHAPS_BILLED

    def _end(
        self,
        sql: Connection,
        row: Any,
        outcome: Outcome,
        cost_nano: int | None,
        values: dict[str, object],
    ) -> None:
        """Close a row, or close it otherwise, and move what it counts from sum to sum."""
        is_free = outcome in FREE
        counted = 0 if is_free else row.estimate_nano if cost_nano is None else cost_nano
        calls = int(not is_free)
        add_to_sum(sql, row, row.outcome, -row.counted_nano, -row.counted_calls)
        add_to_sum(sql, row, outcome.value, counted, calls)
        sql.execute(
            update(CALLS)
            .where(CALLS.c.id == row.id)
            .values(
                **{
                    "closed_at": self._now(),
                    "outcome": outcome.value,
                    "counted_nano": counted,
                    "counted_calls": calls,
                    "recovered": 0,
                    **values,
                }
            )
        )


def _row(sql: Connection, where: Any) -> Any:
    return sql.execute(select(CALLS).where(where)).first()


def _ended(row: Any) -> EndedCall | None:
    if row is None or row.outcome is None:
        return None
    # A row of version 0.1 may have ended in a way that none ends in now.
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = known.get(row.outcome, Outcome.REFUSED)
    return EndedCall(outcome, row.status, row.code, row.request_id)


def _in_flight(sql: Connection) -> int:
    query = select(func.count()).select_from(CALLS).where(CALLS.c.outcome.is_(None))
    return sql.execute(query).scalar_one()


def _describe(other: Any) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(other.opened_at))
    return f"process {other.pid} on {other.machine}, since {since}"
