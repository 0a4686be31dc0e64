"""What the ledger says: sums by day, month, model and profile, the rows, and a CSV of them.

Money is summed in whole nano-dollars (1e-9 USD), so that sums are exact in any order.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO

from sqlalchemy import Connection, case, func, select

from ..types import client_request_id
from .tables import CALLS, DOUBTFUL, LOST, SUMS, Outcome

NANO = 1_000_000_000

COLUMNS = (
    "id", "opened_at", "closed_at", "outcome", "profile", "service", "model", "kind", "deployment",
    "estimate_usd", "cost_usd", "text_in", "image_in", "image_out", "request_id", "job_id",
    "status", "code", "key", "machine", "user",
)  # fmt: skip
"""A row as users see it."""


@dataclass(frozen=True, slots=True)
class Sum:
    """USD, and the calls that made it; refused and withdrawn calls, surely free, don't count."""

    usd: float = 0.0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Periods:
    """Sums of the local calendar's day and month, and of all time."""

    today: Sum = Sum()
    month: Sum = Sum()
    total: Sum = Sum()


@dataclass(frozen=True, slots=True)
class PerhapsBilled:
    """A call of which nobody here knows whether it was charged; `usd` is counted for it.

    `row` is its number in the ledger. `outcome` is "perhaps billed" (nothing arrived), "blocked,
    perhaps billed" or "delivered, not kept". `request_id` is the service's, None where no answer
    came; `client_request_id` was sent with the call.
    """

    row: int
    opened_at: float
    profile: str
    model: str
    usd: float
    request_id: str | None
    client_request_id: str
    status: int | None
    code: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent today, this month (local calendar) and ever, also by model and by profile.

    Those sums hold everything that counts in a budget; `spent` (images that arrived), `blocked`
    and `lost` (both perhaps billed, by estimate) are its three parts. `in_flight` are estimates of
    running calls, in none of the other sums.
    """

    today: Sum
    month: Sum
    total: Sum
    spent: Periods
    blocked: Periods
    lost: Periods
    in_flight: Sum
    by_model: Mapping[str, Periods]
    by_profile: Mapping[str, Periods]
    perhaps_billed: tuple[PerhapsBilled, ...]


SHARES = ("machine", "user", "model", "profile", "day")
"""What the money can be divided by."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one machine, user, model, profile or day took; `name` is "" for rows that don't say.

    `usd` and `calls` are all that counts in a budget; `perhaps_usd` is the part of `usd` that
    nobody here knows to be charged, by estimates.
    """

    name: str
    usd: float
    calls: int
    perhaps_usd: float


def day_of(moment: float) -> str:
    """The local calendar's day of a time in seconds since 1970: "2026-11-20"."""
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def month_of(day: str) -> tuple[str, str]:
    """The first and last possible day of a day's month, to compare days with."""
    return f"{day[:8]}01", f"{day[:8]}31"


def summarize(
    sql: Connection, today: str, profile: str | None, but_profile: str | None = None
) -> Spend:
    """Sums of one profile or of all, or of all but one, as of the local day `today`."""
    in_flight = select(func.coalesce(func.sum(CALLS.c.estimate_nano), 0), func.count()).where(
        CALLS.c.outcome.is_(None)
    )
    sums = select(SUMS)
    if profile is not None:
        in_flight = in_flight.where(CALLS.c.profile == profile)
        sums = sums.where(SUMS.c.profile == profile)
    if but_profile is not None:
        in_flight = in_flight.where(CALLS.c.profile != but_profile)
        sums = sums.where(SUMS.c.profile != but_profile)
    rows = [dict(row) for row in sql.execute(sums).mappings()]
    nano, calls = map(int, sql.execute(in_flight).one())
    everything = _periods(today, rows)
    return Spend(
        today=everything.today,
        month=everything.month,
        total=everything.total,
        spent=_periods(today, [row for row in rows if row["outcome"] not in DOUBTFUL]),
        blocked=_periods(today, [row for row in rows if row["outcome"] == Outcome.BLOCKED]),
        lost=_periods(today, [row for row in rows if row["outcome"] in LOST]),
        in_flight=Sum(nano / NANO, calls),
        by_model=_periods_by("model", today, rows),
        by_profile=_periods_by("profile", today, rows),
        perhaps_billed=tuple(
            call for call in doubtful_calls(sql, profile) if call.profile != but_profile
        ),
    )


def _periods(today: str, rows: Iterable[dict[str, Any]]) -> Periods:
    """What rows of SUMS add up to, today, in today's month, and ever."""
    first, last = month_of(today)
    everything = [(row["day"], row["nano"], row["calls"]) for row in rows]
    month = [row for row in everything if first <= row[0] <= last]
    return Periods(
        *(
            Sum(sum(row[1] for row in part) / NANO, sum(row[2] for row in part))
            for part in ([row for row in month if row[0] == today], month, everything)
        )
    )


def _periods_by(column: str, today: str, rows: Iterable[dict[str, Any]]) -> dict[str, Periods]:
    """The sums of each value of a column, the one on which most was spent first."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault(row[column], []).append(row)
    periods = {name: _periods(today, part) for name, part in parts.items()}
    return dict(sorted(periods.items(), key=lambda each: (-each[1].total.usd, each[0])))


def shares(sql: Connection, column: str, since: str | None, profile: str | None) -> list[Share]:
    """The sums by one of SHARES, the largest first, days in their order; ValueError: none of them.

    `since` is the first day that counts.
    """
    if column not in SHARES:
        raise ValueError(f"{column!r} is none of {', '.join(SHARES)}")
    name = func.coalesce(CALLS.c[column], "")
    doubtful = case((CALLS.c.outcome.in_(DOUBTFUL), CALLS.c.counted_nano), else_=0)
    query = select(
        name, func.sum(CALLS.c.counted_nano), func.sum(CALLS.c.counted_calls), func.sum(doubtful)
    ).where(CALLS.c.counted_calls > 0)
    if since is not None:
        query = query.where(CALLS.c.day >= since)
    if profile is not None:
        query = query.where(CALLS.c.profile == profile)
    found = [
        Share(each, int(nano) / NANO, int(calls), int(perhaps) / NANO)
        for each, nano, calls, perhaps in sql.execute(query.group_by(name))
    ]
    if column == "day":
        return sorted(found, key=lambda share: share.name)
    return sorted(found, key=lambda share: (-share.usd, share.name))


def machine_sums(
    sql: Connection, today: str, machine: str | None, but_profile: str | None
) -> tuple[Sum, Sum]:
    """What one machine spent today, and this month; what it spent ever would be read too long."""
    first, last = month_of(today)
    query = (
        select(CALLS.c.day, func.sum(CALLS.c.counted_nano), func.sum(CALLS.c.counted_calls))
        .where((CALLS.c.machine == machine) & CALLS.c.day.between(first, last))
        .group_by(CALLS.c.day)
    )
    if but_profile is not None:
        query = query.where(CALLS.c.profile != but_profile)
    days = {day: (int(nano), int(calls)) for day, nano, calls in sql.execute(query)}
    nano, calls = days.get(today, (0, 0))
    month = Sum(sum(each[0] for each in days.values()) / NANO, sum(n for _, n in days.values()))
    return Sum(nano / NANO, calls), month


def doubtful_calls(sql: Connection, profile: str | None) -> Iterator[PerhapsBilled]:
    """Calls of which nobody here knows whether they were charged, the newest first."""
    query = select(CALLS).where(CALLS.c.outcome.in_(DOUBTFUL)).order_by(CALLS.c.id.desc())
    if profile is not None:
        query = query.where(CALLS.c.profile == profile)
    for row in sql.execute(query):
        yield PerhapsBilled(
            row=row.id,
            opened_at=row.opened_at,
            profile=row.profile,
            model=row.model,
            usd=row.counted_nano / NANO,
            request_id=row.request_id,
            client_request_id=client_request_id(row.key),
            status=row.status,
            code=row.code,
            outcome=row.outcome,
        )


def call_rows(
    sql: Connection,
    limit: int | None = None,
    since: str | None = None,
    profile: str | None = None,
    before: object = None,
) -> Iterator[dict[str, object]]:
    """The calls, newest first, as COLUMNS; times in seconds since 1970, None where unknown.

    `since` is the first day, None: all; `before` is the number of the row before which to begin.
    """
    query = select(*(CALLS.c[name] for name in COLUMNS)).order_by(CALLS.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(CALLS.c.day >= since)
    if profile is not None:
        query = query.where(CALLS.c.profile == profile)
    if before is not None:
        query = query.where(CALLS.c.id < before)
    for row in sql.execute(query).mappings():
        yield {**row, "outcome": row["outcome"] or "in flight"}


def write_csv(rows: Iterable[dict[str, object]], stream: TextIO) -> int:
    """Writes rows with a heading, times as local ISO 8601; gives how many."""
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for row in rows:
        count += 1
        cells = {name: _harmless(value) for name, value in row.items()}
        for name in ("opened_at", "closed_at"):
            cells[name] = _local(row[name])
        writer.writerow(cells)
    return count


def write_shares_csv(by: str, found: Iterable[Share], stream: TextIO) -> None:
    """Writes what each took, with a heading."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([by, "usd", "calls", "perhaps_usd"])
    for share in found:
        name = _harmless(share.name)
        writer.writerow([name, f"{share.usd:.9f}", share.calls, f"{share.perhaps_usd:.9f}"])


def _local(moment: object) -> str:
    if not isinstance(moment, (int, float)):
        return ""
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="milliseconds")


_SEPARATORS = str.maketrans({"；": ",", ";": ","})

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for a formula at a cell's start; the wide ones where the language has
them."""


def _harmless(value: object) -> object:
    """A text that is text in every spreadsheet, as servers and users choose what stands in it.

    Where ";" separates cells, as in half of Europe, a ";" inside of a cell begins a new one, and so
    does a tab or a line's end: none is left. What looks like a formula gets a quote before it.
    """
    if not isinstance(value, str):
        return value
    text = "".join(c if c.isprintable() else " " for c in value).translate(_SEPARATORS)
    return f"'{text}" if text.lstrip(" \"'").startswith(_FORMULA) else text
