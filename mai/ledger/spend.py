"""What the ledger says: sums by day, month, model and profile, the rows, and a CSV of them.

Money is summed in whole nano-dollars (1e-9 USD), so that sums are exact in any order.
"""

from __future__ import annotations

import csv
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

NANO = 1_000_000_000

COLUMNS = (
    "id", "opened_at", "closed_at", "outcome", "profile", "service", "model", "kind", "deployment",
    "estimate_usd", "cost_usd", "text_in", "image_in", "image_out", "request_id", "job_id",
    "status", "code", "key",
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
    """A call of which nobody here knows whether it was charged; `usd` is counted for it."""

    row: int
    opened_at: float
    profile: str
    model: str
    usd: float
    request_id: str | None
    status: int | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent today, this month (local calendar) and ever, also by model and by profile.

    The sums hold the cost of what arrived and the estimates of the perhaps-billed calls.
    `in_flight` are estimates of running calls, in none of the other sums.
    """

    today: Sum
    month: Sum
    total: Sum
    by_model: Mapping[str, Periods]
    by_profile: Mapping[str, Periods]
    in_flight: Sum
    perhaps_billed: tuple[PerhapsBilled, ...]


def day_of(moment: float) -> str:
    """The local calendar's day of a time in seconds since 1970: "2026-11-20"."""
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def month_of(day: str) -> tuple[str, str]:
    """The first and last possible day of a day's month, to compare days with."""
    return f"{day[:8]}01", f"{day[:8]}31"


def summarize(sql: sqlite3.Connection, today: str, profile: str | None) -> Spend:
    """Sums of one profile or of all, as of the local day `today`."""
    in_flight = sql.execute(
        "SELECT coalesce(sum(estimate_nano), 0), count(*) FROM calls"
        " WHERE outcome IS NULL AND profile = coalesce(?, profile)",
        (profile,),
    ).fetchone()
    perhaps_billed = sql.execute(
        "SELECT id, opened_at, profile, model, counted_nano / 1e9, request_id, status, code"
        " FROM calls WHERE outcome = 'perhaps billed' AND profile = coalesce(?, profile)"
        " ORDER BY id DESC",
        (profile,),
    )
    everything = _periods(sql, "''", today, profile).get("", Periods())
    return Spend(
        today=everything.today,
        month=everything.month,
        total=everything.total,
        by_model=_periods(sql, "model", today, profile),
        by_profile=_periods(sql, "profile", today, profile),
        in_flight=Sum(in_flight[0] / NANO, in_flight[1]),
        perhaps_billed=tuple(PerhapsBilled(*row) for row in perhaps_billed),
    )


def _periods(
    sql: sqlite3.Connection, column: str, today: str, profile: str | None
) -> dict[str, Periods]:
    """The sums of each value of a column, the one on which most was spent first."""
    first, last = month_of(today)
    rows = sql.execute(
        f"SELECT {column}, sum((day = :today) * nano), sum((day = :today) * calls),"
        " sum((day BETWEEN :first AND :last) * nano), sum((day BETWEEN :first AND :last) * calls),"
        " sum(nano), sum(calls)"
        " FROM days WHERE profile = coalesce(:profile, profile) GROUP BY 1 ORDER BY 6 DESC, 1",
        {"today": today, "first": first, "last": last, "profile": profile},
    )
    return {
        row[0]: Periods(
            Sum(row[1] / NANO, row[2]), Sum(row[3] / NANO, row[4]), Sum(row[5] / NANO, row[6])
        )
        for row in rows
    }


def call_rows(sql: sqlite3.Connection, limit: int | None = None) -> Iterator[dict[str, object]]:
    """The calls, newest first, as COLUMNS; times in seconds since 1970, None where unknown."""
    found = sql.execute(
        f"SELECT {', '.join(COLUMNS)} FROM calls ORDER BY id DESC LIMIT ?",
        (-1 if limit is None else limit,),
    )
    for row in found:
        facts = dict(zip(COLUMNS, row, strict=True))
        facts["outcome"] = facts["outcome"] or "in flight"
        yield facts


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


def _local(moment: object) -> str:
    if not isinstance(moment, (int, float)):
        return ""
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="milliseconds")


def _harmless(value: object) -> object:
    """With a quote before what a spreadsheet would take for a formula (a server can send one)."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
