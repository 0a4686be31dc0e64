"""Every call from its row, written before it is sent, to how it ended.

A call belongs to the local calendar day in which it was opened, written into its row as text then:
a clock set back, a change of time zone or of daylight-saving time never moves it or counts it
twice. Calls in flight count in every present period, whenever they were opened.

A ledger that can't be read or written is a StoreError, and nothing is sent, also where no budget is
set: an empty ledger in its place would silently set every budget back to zero, and a call without a
row could be paid and lost without a trace. The error says how to repair the file or put it aside.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import Connection, delete, insert, select, update

from ..database import (
    DatabaseGone,
    DatabaseServer,
    RolledBackError,
    Schema,
    ServerFacts,
    database_at,
    repeat_if_rolled_back,
)
from ..errors import InputError, RunningElsewhere, StoreError
from ..types import Budget, Usage
from .budgets import calls_in_flight, check_batch, check_budget, count, keys_in_flight, nano
from .owners import DEAD_AFTER, OwnerSigns, StudioClock, Watch, this_owner
from .push import PushedCalls, push_calls
from .spend import (
    PerhapsBilled,
    Share,
    Spend,
    Sum,
    call_rows,
    day_of,
    doubtful_calls,
    machine_sums,
    shares,
    summarize,
    write_csv,
)
from .spool import Entry, Kind, Spool
from .tables import CALLS, DOUBTFUL, FREE, OWNERS, PLACED, SCHEMA, ImagePlace, Outcome, add_to_sum

logger = logging.getLogger(__name__)

LONG_READ = 600.0
"""Seconds in which a server may read all calls, for a CSV or for sums by user."""

_KEYS_AT_ONCE = 1000
"""Keys in one statement."""

PAGE_ROWS = 5000
"""Rows that are read at once for a CSV."""

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


@dataclass(frozen=True, slots=True)
class SharedBefore:
    """An image that was brought to where all machines find it: who bought it, on which day."""

    machine: str
    day: str


class LostElsewhere(Exception):
    """The call that this one waited for ended as perhaps billed: nothing was sent or written."""

    def __init__(self, ended: EndedCall) -> None:
        super().__init__(ended.outcome.value)
        self.ended = ended


class Ledger:
    """The ledger in a file (0600), or on the server that a studio's machines share.

    A row is known by its token, which `open` gives. `now` gives seconds since 1970; None: this
    machine's clock for a file, the server's for a server. Another owner is dead after `dead_after`
    seconds without a sign of life. `machine` and `user` stand in each row; `shares_images`: images
    are brought to where other machines find them. While the server is gone nothing can be opened or
    marked sent, and how calls end is kept in the file `spool`. Nothing is opened before the first
    use. Every method raises StoreError when the ledger can't be used. Each waits for the disk or
    the server: call them off the loop.
    """

    def __init__(
        self,
        where: Path | DatabaseServer,
        now: Callable[[], float] | None = None,
        *,
        dead_after: float = DEAD_AFTER,
        schema: Schema = SCHEMA,
        spool: Path | None = None,
        machine: str = "",
        user: str = "",
        shares_images: bool = False,
    ) -> None:
        self._database = database_at(where, schema)
        self._server = where if isinstance(where, DatabaseServer) else None
        self._schema = schema
        self._now = now
        self._life: OwnerSigns = (StudioClock if self.shared else Watch)(dead_after)
        self._spool = Spool(spool) if spool is not None else None
        self._buyer = {"machine": machine or None, "user": user or None}
        self._shares_images = shares_images
        self._open_rows: dict[str, dict[str, object]] = {}
        self._lock = threading.Lock()

    @property
    def shared(self) -> bool:
        """Whether several machines write into it."""
        return self._database.shared

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
        request that this call waited for: LostElsewhere if that one was perhaps billed, and still
        RunningElsewhere until `recover` has closed the row of a process that died.
        """
        self.book_spooled()
        row: dict[str, object] = {
            "token": secrets.token_hex(16),
            "owner": this_owner().token,
            "key": call.key,
            "profile": call.profile,
            "service": call.service,
            "model": call.model,
            "kind": call.kind,
            "estimate_usd": call.estimate_usd,
            "estimate_nano": nano(call.estimate_usd),
            **self._buyer,
            "image": ImagePlace.AWAITED if self._shares_images else ImagePlace.ALONE,
        }
        token = str(row["token"])
        try:
            self._open(row, call, budget, check_room, joined)
        except DatabaseGone as error:
            if error.in_doubt:
                self._book_later("withdraw", token, {"key": call.key})
            raise
        with self._lock:
            self._open_rows[token] = row
        return token

    @repeat_if_rolled_back
    def _open(
        self,
        row: dict[str, object],
        call: NewCall,
        budget: Budget,
        check_room: Callable[[int], None],
        joined: str,
    ) -> None:
        """The transaction of `open`. Its locks keep others from this budget and this request."""
        locks = (f"budget {call.profile}", _request_lock(call.key))
        with self._database.transaction(locks=locks) as sql:
            now = self._time(sql)
            row.update(opened_at=now, day=day_of(now))
            self._require_open_rows(sql)
            other = self._row_of_another(sql, call.key, joined)
            if other is not None:
                raise RunningElsewhere(_describe(other), other.token)
            ended = _ended(_row(sql, CALLS.c.token == joined)) if joined else None
            if ended is not None and ended.outcome in DOUBTFUL:
                raise LostElsewhere(ended)
            counted = count(sql, call.profile, day_of(now))
            check_budget(counted, call.profile, budget, nano(call.estimate_usd), call.why_unbounded)
            check_room(counted.calls_in_flight + 1)
            self._life.show(sql)
            sql.execute(insert(CALLS).values(**row))

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

    @repeat_if_rolled_back
    def _mark(self, row: str, values: dict[str, object]) -> bool:
        mine = (CALLS.c.token == row) & CALLS.c.outcome.is_(None)
        with self._database.transaction() as sql:
            if sql.execute(update(CALLS).where(mine).values(**values)).rowcount == 1:
                return True
            self._require_open_rows(sql)
            return False

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
        The row of a file that was replaced meanwhile is written into the new one. While a studio's
        server is gone it is kept here and written later (`book_spooled`).
        """
        values: dict[str, object] = {
            "cost_usd": cost_usd,
            **_counts(usage),
            "request_id": _storable(request_id),
            "status": status,
            "code": _storable(code),
        }
        opened = self._open_rows.get(row)
        try:
            self._close(row, outcome, values, opened)
        except StoreError as error:
            values["closed_at"] = self._time(None)
            data: dict[str, object] = {"outcome": outcome.value, "values": values, "opened": opened}
            if not self._book_later("close", row, data, error):
                raise
        if outcome is not Outcome.NOT_KEPT:
            with self._lock:
                self._open_rows.pop(row, None)

    @repeat_if_rolled_back
    def _close(
        self,
        row: str,
        outcome: Outcome,
        values: dict[str, object],
        opened: dict[str, object] | None,
        locks: Iterable[str] = (),
    ) -> None:
        """The transaction of `close`; `opened` is what to write if the row isn't there."""
        cost_usd = values.get("cost_usd")
        cost = nano(cost_usd) if isinstance(cost_usd, (int, float)) else None
        with self._database.transaction(locks=locks) as sql:
            found = _row(sql, CALLS.c.token == row, lock=True)
            if found is None and opened is not None:
                sql.execute(insert(CALLS).values(**opened))
                found = _row(sql, CALLS.c.token == row, lock=True)
            if found is not None and _may_close(found):
                self._end(sql, found, outcome, cost, values)

    def set_job(self, row: str, job_id: str) -> None:
        """The service's id of a call in flight, by which it can be resumed."""
        job_id = _storable(job_id) or ""
        try:
            self._set_job(row, job_id)
        except StoreError as error:
            if not self._book_later("job", row, {"job_id": job_id}, error):
                raise

    @repeat_if_rolled_back
    def _set_job(self, row: str, job_id: str) -> None:
        unfinished = CALLS.c.outcome.is_(None) | (CALLS.c.recovered == 1)
        with self._database.transaction() as sql:
            mine = (CALLS.c.token == row) & unfinished
            sql.execute(update(CALLS).where(mine).values(job_id=job_id))

    def leave_job(self, row: str) -> None:
        """Nobody follows the job of this row now: any process may take it up."""
        try:
            self._leave_job(row)
        except StoreError as error:
            if not self._book_later("leave", row, {}, error):
                raise
        with self._lock:
            self._open_rows.pop(row, None)

    @repeat_if_rolled_back
    def _leave_job(self, row: str) -> None:
        mine = (CALLS.c.token == row) & CALLS.c.outcome.is_(None) & CALLS.c.job_id.is_not(None)
        with self._database.transaction() as sql:
            sql.execute(update(CALLS).where(mine).values(owner=None))

    def find_job(self, key: str) -> OpenJob | None:
        """The newest unfinished call of this request that has a job id.

        It is this process's from then on; None when there is none or another living process has it.
        One that is older than JOB_SECONDS is perhaps billed instead.
        """
        self.book_spooled()
        found = self._find_job(key)
        if found is None:
            return None
        with self._lock:
            row = {**found._mapping, "owner": this_owner().token}
            del row["id"]  # in a file that replaces this one it is another's
            self._open_rows[found.token] = row
        return OpenJob(found.token, found.job_id, found.profile)

    @repeat_if_rolled_back
    def _find_job(self, key: str) -> Any:
        unfinished = CALLS.c.outcome.is_(None) & CALLS.c.job_id.is_not(None) & (CALLS.c.key == key)
        query = select(CALLS).where(unfinished).order_by(CALLS.c.id.desc())
        with self._database.transaction(locks=(_request_lock(key),)) as sql:
            found = sql.execute(query.with_for_update()).first()
            if found is None or found.owner in self._life.others(sql)[0]:
                return None
            if found.opened_at < self._time(sql) - JOB_SECONDS:
                self._end(sql, found, Outcome.PERHAPS_BILLED, None, {})
                return None
            mine = update(CALLS).where(CALLS.c.id == found.id).values(owner=this_owner().token)
            sql.execute(mine)
            self._life.show(sql)
            return found

    def recover(self, delivered: Callable[[str], bool] = lambda key: False) -> int:
        """Calls in flight of owners that died become perhaps billed; gives how many.

        Calls that were not sent become withdrawn, uncounted; the newest of a key whose image
        `delivered` knows becomes delivered: its owner died between image and row. Those with a job
        id stay in flight for a day, as they can be resumed. Should the owner live after all (it was
        stopped for long), what it delivers still counts as delivered.
        """
        self.book_spooled()
        dead, abandoned = self._find_abandoned()
        if not dead and not abandoned:
            return 0
        # Not inside a transaction: to look for an image may take long.
        arrived = {row.token: row.sent and delivered(row.key) for row in abandoned}
        return self._close_abandoned(dead, arrived)

    @repeat_if_rolled_back
    def _find_abandoned(self) -> tuple[dict[str, int], list[Any]]:
        """Dead owners with their last sign of life, and the calls in flight that are nobody's."""
        with self._database.transaction(read_only=not self.shared) as sql:
            self._life.look(sql)
            dead = self._life.others(sql)[1]
            return dead, list(sql.execute(select(CALLS).where(_nobodys(dead))).all())

    @repeat_if_rolled_back
    def _close_abandoned(self, dead: dict[str, int], arrived: dict[str, bool]) -> int:
        """Close those calls of which it is known whether their image `arrived`."""
        perhaps = 0
        with self._database.transaction(locks=("recover",)) as sql:
            for token, beat in dead.items():  # unless it has shown life meanwhile
                gone = (OWNERS.c.token == token) & (OWNERS.c.beat == beat)
                sql.execute(delete(OWNERS).where(gone))
            abandoned = select(CALLS).where(_nobodys(())).order_by(CALLS.c.id).with_for_update()
            for row in sql.execute(abandoned).all():
                if row.token not in arrived:
                    continue
                outcome = self._outcome_of_abandoned(sql, row, arrived[row.token])
                if outcome is not None:
                    perhaps += outcome is Outcome.PERHAPS_BILLED
                    self._end(sql, row, outcome, None, {"recovered": 1})
        return perhaps

    def book_spooled(self) -> int:
        """Write what was kept here while the server was gone; gives how many entries.

        Raises StoreError while it still is.
        """
        if self._spool is None:
            return 0
        booked = 0
        for entry in self._spool.entries():
            try:
                self._book(entry)
            except (DatabaseGone, RolledBackError):
                raise
            except StoreError as error:
                # Its call stays in flight, which counts. It must not keep all others from sending.
                logger.error("The end of a call can't be booked: %s", error)
                continue
            self._spool.remove(entry)
            booked += 1
        if booked:
            logger.info("%d ends of calls were booked that the database missed", booked)
        return booked

    def _book(self, entry: Entry) -> None:
        data: Any = entry.data
        if entry.kind == "close":
            self._close(entry.token, Outcome(data["outcome"]), data["values"], data["opened"])
        elif entry.kind == "withdraw":
            # The server may still have to commit what opened it, and holds this lock until then.
            locks = (_request_lock(data["key"]),) if "key" in data else ()
            self._close(entry.token, Outcome.WITHDRAWN, {}, None, locks)
        elif entry.kind == "job":
            self._set_job(entry.token, data["job_id"])
        else:
            self._leave_job(entry.token)

    def _book_later(
        self, kind: Kind, row: str, data: dict[str, object], error: StoreError | None = None
    ) -> bool:
        """Keep an entry until the server is back; False where this ledger has no spool."""
        if self._spool is None:
            return False
        self._spool.add(kind, row, data)
        if error is not None:
            logger.warning("%s How a call ended is kept here and booked later.", error.what)
        return True

    def awaited_from(self, key: str) -> str | None:
        """The machine that has an image which others can't have yet; None where there is none."""
        found = self._find_image(key, ImagePlace.AWAITED)
        return None if found is None else found.machine or "another machine"

    def shared_before(self, key: str) -> SharedBefore | None:
        """Who brought an image last to where all machines find it; None where nobody did."""
        found = self._find_image(key, ImagePlace.SHARED)
        return (
            None if found is None else SharedBefore(found.machine or "another machine", found.day)
        )

    def _find_image(self, key: str, place: ImagePlace) -> Any:
        """Machine and day of the newest call whose image of a key is in this place, or None."""
        mine = (CALLS.c.key == key) & PLACED & (CALLS.c.image == int(place))
        delivered = mine & (CALLS.c.outcome == Outcome.DELIVERED.value)
        query = select(CALLS.c.machine, CALLS.c.day).where(delivered).order_by(CALLS.c.id.desc())
        with self._database.transaction(read_only=True) as sql:
            return sql.execute(query.limit(1)).first()

    def has_shared_images(self) -> bool:
        """Whether any image was ever brought to where other machines find it."""
        brought = select(CALLS.c.id).where(PLACED & (CALLS.c.image == int(ImagePlace.SHARED)))
        with self._database.transaction(read_only=True) as sql:
            return sql.execute(brought.limit(1)).first() is not None

    @repeat_if_rolled_back
    def set_image(
        self,
        key: str,
        place: ImagePlace,
        cost_usd: float | None = None,
        usage: Usage | None = None,
        request_id: str | None = None,
    ) -> None:
        """Note that an awaited image is where others find it now (SHARED), or that what others
        await or have of a key is given up (ALONE), but for what is still in flight.

        A call of this machine that another one took for lost has arrived after all, unless the
        request was sent again since: it cost `cost_usd`.
        """
        placed = (CALLS.c.key == key) & PLACED
        lost = placed & (CALLS.c.image == int(ImagePlace.AWAITED)) & (CALLS.c.recovered == 1)
        lost &= CALLS.c.machine == self._buyer["machine"]
        lost &= CALLS.c.outcome == Outcome.PERHAPS_BILLED.value
        values = {"cost_usd": cost_usd, "request_id": _storable(request_id), **_counts(usage)}
        with self._database.transaction() as sql:
            query = select(CALLS).where(lost).order_by(CALLS.c.id.desc()).limit(1)
            found = sql.execute(query.with_for_update()).first()
            is_its = found is not None and not _was_sent_later(sql, found)
            if is_its and place is ImagePlace.SHARED:
                cost = None if cost_usd is None else nano(cost_usd)
                self._end(sql, found, Outcome.DELIVERED, cost, values)
            if place is ImagePlace.ALONE:
                placed &= CALLS.c.outcome.is_not(None)
            sql.execute(update(CALLS).where(placed).values(image=int(place)))

    def set_shared(self, keys: Sequence[str]) -> None:
        """Note that images which were bought for one machine alone are where others find them."""
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            self._set_shared(keys[begin : begin + _KEYS_AT_ONCE])

    @repeat_if_rolled_back
    def _set_shared(self, keys: Sequence[str]) -> None:
        """A part of `set_shared`: no index finds these rows, so all are read."""
        mine = CALLS.c.key.in_(keys) & (CALLS.c.outcome == Outcome.DELIVERED.value)
        alone = mine & (CALLS.c.image == int(ImagePlace.ALONE))
        with self._database.transaction() as sql:
            sql.execute(update(CALLS).where(alone).values(image=int(ImagePlace.SHARED)))

    def push_to(self, shared: Ledger, *, dry_run: bool = False) -> PushedCalls:
        """Bring the calls of this ledger into one that machines share; again changes nothing.

        Rows that name no buyer get the other ledger's machine and user.
        """
        return push_calls(self._database, shared._database, shared._buyer, dry_run)

    def verify(self) -> None:
        """Raise DamagedError where the file doesn't hold together (reads all of it)."""
        self._database.verify()

    def keep_alive(self) -> bool:
        """Show that this process lives; False when nobody needs to be looked after.

        That is when no call is in flight, here or elsewhere; machines that share a server always
        look after each other.
        """
        self.book_spooled()
        if not self.shared:
            with self._database.transaction(read_only=True) as sql:
                if not calls_in_flight(sql):
                    return False
        if self._open_rows or self.shared:
            self._show_life()
        return True

    @repeat_if_rolled_back
    def _show_life(self) -> None:
        with self._database.transaction() as sql:
            self._life.look(sql)
            if self._open_rows:
                self._life.show(sql)

    @repeat_if_rolled_back
    def settle(self, row_id: int, billed: bool) -> PerhapsBilled:
        """Close a doubtful call by hand, as the invoice says; InputError: it isn't doubtful."""
        outcome = Outcome.SETTLED_BILLED if billed else Outcome.SETTLED_FREE
        with self._database.transaction() as sql:
            for call in doubtful_calls(sql, None):
                if call.row == row_id:
                    row = _row(sql, CALLS.c.id == row_id, lock=True)
                    assert row is not None
                    self._end(sql, row, outcome, row.counted_nano if billed else 0, {})
                    return call
        raise InputError(
            f"Call {row_id} isn't one that was perhaps billed.",
            "`mai-image spend --doubtful` lists them with their numbers.",
        )

    def doubtful(self, profile: str | None = None) -> list[PerhapsBilled]:
        """Every call of which nobody here knows whether it was charged, the newest first."""
        with self._database.transaction(read_only=True) as sql:
            return list(doubtful_calls(sql, profile))

    def spend(self, profile: str | None = None, *, but_profile: str | None = None) -> Spend:
        """The sums of one profile, or of all, or of all but one."""
        with self._database.transaction(read_only=True) as sql:
            return summarize(sql, day_of(self._time(sql)), profile, but_profile)

    def spend_here(self, but_profile: str | None = None) -> tuple[Sum, Sum]:
        """What this machine spent today and this month, by the name under which it writes."""
        with self._database.transaction(read_only=True) as sql:
            today = day_of(self._time(sql))
            return machine_sums(sql, today, self._buyer["machine"], but_profile)

    def spend_by(
        self, column: str, since: str | None = None, profile: str | None = None
    ) -> list[Share]:
        """Who or what the money went to, the largest first: see SHARES for the columns.

        `since` is the first local day that counts ("2026-11-20"). Reads all calls of that time.
        """
        with self._database.transaction(read_only=True, patience=LONG_READ) as sql:
            return shares(sql, column, since, profile)

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
        with self._database.transaction(read_only=True) as sql:
            counted = count(sql, profile, day_of(self._time(sql)))
            joined = keys_in_flight(sql)
        check_batch(counted, profile, budget, estimates, lambda key: key in joined or is_free(key))

    def rows(self, limit: int | None = 100) -> list[dict[str, object]]:
        """The newest calls, newest first, with the columns of the CSV; None: all.

        Times are seconds since 1970, None where unknown; `outcome` can be "in flight".
        """
        with self._database.transaction(read_only=True) as sql:
            return list(call_rows(sql, limit))

    def export_csv(
        self, stream: TextIO, since: str | None = None, profile: str | None = None
    ) -> int:
        """Write the calls since a day as CSV, newest first; give how many.

        Open files with newline="".
        """
        return write_csv(self._all_rows(since, profile), stream)

    def _all_rows(self, since: str | None, profile: str | None) -> Iterator[dict[str, object]]:
        """The calls since a day, newest first. Each page is a transaction of its own: a server ends
        one that is left alone while a million rows are written."""
        before: object = None
        while True:
            with self._database.transaction(read_only=True, patience=LONG_READ) as sql:
                page = list(call_rows(sql, PAGE_ROWS, since, profile, before))
            yield from page
            if len(page) < PAGE_ROWS:
                return
            before = page[-1]["id"]

    def look_at_server(self) -> ServerFacts | None:
        """What a person wants to know of the server, None for a file. Raises StoreError."""
        return self._server.look(self._schema) if self._server is not None else None

    def close_file(self) -> None:
        """Close the file; the next use opens it again."""
        self._database.close_file()
        if self._spool is not None:
            self._spool.close_file()

    def _require_open_rows(self, sql: Connection) -> None:
        """StoreError where the file was replaced or deleted while this process has calls out."""
        with self._lock:
            newest = next(reversed(self._open_rows), None)
            count = len(self._open_rows)
        if newest is not None and _row(sql, CALLS.c.token == newest) is None:
            raise StoreError(
                f"The ledger {self._database.place} was replaced or deleted while {count} calls "
                "are in flight, so budgets can't be checked. Nothing more is sent.",
                "Put the file back, or wait until those calls have ended: they are written into "
                "the new file.",
            )

    def _row_of_another(self, sql: Connection, key: str, joined: str) -> Any:
        """The row of the same request that another living process has in flight.

        Or the row `joined` that a dead one had sent: how it ended is known once it is recovered.
        """
        columns = (CALLS.c.token, CALLS.c.opened_at, CALLS.c.owner, CALLS.c.sent)
        others = (
            select(*columns, OWNERS.c.machine, OWNERS.c.pid)
            .join_from(CALLS, OWNERS, CALLS.c.owner == OWNERS.c.token)
            .where(CALLS.c.outcome.is_(None) & (CALLS.c.key == key))
            .where(OWNERS.c.token != this_owner().token)
        )
        found = sql.execute(others).all()
        living = self._life.others(sql)[0] if found else set()
        return next(
            (row for row in found if row.owner in living or (row.token == joined and row.sent)),
            None,
        )

    def _time(self, sql: Connection | None) -> float:
        """Seconds since 1970 by the clock that counts here; without a connection as it is known."""
        return self._database.now(sql) if self._now is None else self._now()

    def _outcome_of_abandoned(self, sql: Connection, row: Any, arrived: bool) -> Outcome | None:
        """How a call of a dead owner ends; None: its job may still be resumed."""
        if not row.sent:
            return Outcome.WITHDRAWN
        if arrived and not _was_sent_later(sql, row):
            return Outcome.DELIVERED
        if row.job_id is not None and row.opened_at >= self._time(sql) - JOB_SECONDS:
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
        if is_free and row.image == ImagePlace.AWAITED:
            values = {**values, "image": int(ImagePlace.ALONE)}
        sql.execute(
            update(CALLS)
            .where(CALLS.c.id == row.id)
            .values(
                **{
                    "closed_at": self._time(sql),
                    "outcome": outcome.value,
                    "counted_nano": counted,
                    "counted_calls": calls,
                    "recovered": 0,
                    **values,
                }
            )
        )


def _was_sent_later(sql: Connection, row: Any) -> bool:
    """Whether a later call asked for the same image: one that is there is that one's, then."""
    later = (CALLS.c.key == row.key) & (CALLS.c.id > row.id) & (CALLS.c.sent == 1)
    later &= CALLS.c.outcome.is_(None) | (CALLS.c.outcome == Outcome.DELIVERED.value)
    return sql.execute(select(CALLS.c.id).where(later).limit(1)).first() is not None


def _request_lock(key: str) -> str:
    return f"request {key}"


def _counts(usage: Usage | None) -> dict[str, object]:
    """The columns of the tokens that a call used."""
    return {name: getattr(usage, name, None) for name in ("text_in", "image_in", "image_out")}


def _row(sql: Connection, where: Any, lock: bool = False) -> Any:
    query = select(CALLS).where(where)
    return sql.execute(query.with_for_update() if lock else query).first()


def _may_close(row: Any) -> bool:
    """Whether it isn't known yet how the call ended: it is in flight, was closed by others, or its
    image waits for room on the disk."""
    return row.outcome in (None, Outcome.NOT_KEPT.value) or row.recovered == 1


def _nobodys(dead: Iterable[str]) -> Any:
    """Which calls in flight have no owner, or one that is gone or `dead`."""
    owner = CALLS.c.owner
    gone = owner.is_(None) | owner.not_in(select(OWNERS.c.token)) | owner.in_(list(dead))
    return CALLS.c.outcome.is_(None) & gone


def _storable(text: str | None) -> str | None:
    """A server's word without what no database takes: NUL, and halves of characters."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _ended(row: Any) -> EndedCall | None:
    if row is None or row.outcome is None:
        return None
    # A row of version 0.1 may have ended in a way that none ends in now.
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = known.get(row.outcome, Outcome.REFUSED)
    return EndedCall(outcome, row.status, row.code, row.request_id)


def _describe(other: Any) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(other.opened_at))
    return f"process {other.pid} on {other.machine}, since {since}"
