"""Whether a budget allows one more call, and the sentence with all the sums when it doesn't."""

from __future__ import annotations

import math
import sqlite3
from typing import TYPE_CHECKING

from ..errors import BudgetError
from .spend import NANO, month_of

if TYPE_CHECKING:
    from ..types import Budget


def nano(usd: float) -> int:
    """Whole nano-dollars, in which sums are exact; ValueError for what is no amount."""
    if not math.isfinite(usd) or usd < 0:
        raise ValueError(f"an amount of money must be 0 or more, not {usd}")
    return round(usd * NANO)


def check(
    sql: sqlite3.Connection, profile: str, budget: Budget, day: str, estimate_nano: int
) -> None:
    """Raises BudgetError where spent + in flight + this call is over the day's or month's budget.

    To be called inside the transaction that writes the call down. `day` is the local calendar's;
    calls in flight count in full, whenever they were opened, and perhaps-billed ones by estimate.
    """
    if budget.day is None and budget.month is None:
        return
    flight = _one(
        sql,
        "SELECT coalesce(sum(estimate_nano), 0) FROM calls WHERE outcome IS NULL AND profile = ?",
        (profile,),
    )
    periods = (
        ("today", "day", budget.day, (day, day), "wait until tomorrow"),
        ("this month", "month", budget.month, month_of(day), "wait until the next month"),
    )
    sentences, ways = [], []
    for when, period, limit, (first, last), way in periods:
        if limit is None:
            continue
        spent = _one(
            sql,
            "SELECT coalesce(sum(nano), 0) FROM days WHERE profile = ? AND day BETWEEN ? AND ?",
            (profile, first, last),
        )
        if spent + flight + estimate_nano > nano(limit):
            sentences.append(
                f"{when} {usd(spent)} spent + {usd(flight)} in flight + {usd(estimate_nano)} for "
                f"this one is over the profile's {usd(nano(limit))} a {period}"
            )
            ways.append(way)
    if sentences:
        raise BudgetError(
            f"The budget of profile {profile!r} doesn't allow this call: "
            f"{'; '.join(sentences)}. Nothing was sent.",
            f"Raise the profile's budget, {ways[-1]}, or use another profile. `mai-image spend` "
            "lists what was spent; calls that were perhaps billed count by their estimate.",
        )


def usd(amount_nano: int) -> str:
    """An amount as text: cents, and up to a hundredth of a cent where it has them."""
    whole, _, part = f"{amount_nano / NANO:,.4f}".partition(".")
    return f"${whole}.{part[:2]}{part[2:].rstrip('0')}"


def _one(sql: sqlite3.Connection, statement: str, values: tuple[str, ...]) -> int:
    return int(sql.execute(statement, values).fetchone()[0])
