"""Whether a budget allows one more call, and the sentence with all the sums when it doesn't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from sqlalchemy import Connection, func, select

from ..errors import BudgetError
from ..types import Budget
from .spend import NANO, month_of
from .tables import CALLS, SUMS


def nano(usd: float) -> int:
    """Whole nano-dollars, in which sums are exact; ValueError for what is no amount."""
    if not math.isfinite(usd) or usd < 0:
        raise ValueError(f"an amount of money must be 0 or more, not {usd}")
    return round(usd * NANO)


def usd(amount_nano: int) -> str:
    """An amount for reading: cents, and up to a hundredth of a cent where it has them."""
    dollars, _, fraction = f"{amount_nano / NANO:,.4f}".partition(".")
    return f"${dollars}.{fraction[:2]}{fraction[2:].rstrip('0')}"


def check_budget(
    sql: Connection, profile: str, budget: Budget, day: str, estimate_nano: int, why_unbounded: str
) -> None:
    """Raises BudgetError where spent + in flight + this call is over the day's or month's budget.

    To be called inside the transaction that writes the call down. `day` is the local calendar's;
    calls in flight count in full, whenever they were opened, and perhaps-billed ones by estimate.
    A strict budget refuses a call whose estimate is no upper bound: `why_unbounded` isn't "".
    """
    if budget.strict and why_unbounded:
        raise BudgetError(
            f"The budget of profile {profile!r} is strict, and nobody knows what this call costs "
            f"at most (about {usd(estimate_nano)}): {why_unbounded}. Nothing was sent.",
            "Choose a model and options that have an upper bound, or set strict = false in the "
            "profile's budget.",
        )
    if budget.day is None and budget.month is None:
        return
    today, this_month, in_flight = _counted(sql, profile, day)
    sentences, ways = [], []
    for when, period, limit, spent, way in (
        ("today", "day", budget.day, today, "wait until tomorrow"),
        ("this month", "month", budget.month, this_month, "wait until the next month"),
    ):
        if limit is not None and spent + in_flight + estimate_nano > nano(limit):
            sentences.append(
                f"{when} {usd(spent)} spent + {usd(in_flight)} in flight + {usd(estimate_nano)} "
                f"for this one is over the profile's {usd(nano(limit))} a {period}"
            )
            ways.append(way)
    if sentences:
        raise BudgetError(
            f"The budget of profile {profile!r} doesn't allow this call: "
            f"{'; '.join(sentences)}. Nothing was sent.",
            f"Raise the profile's budget, {ways[-1]}, or use another profile. `mai-image spend` "
            "lists what was spent; calls that were perhaps billed count by their estimate.",
        )


def check_batch(
    sql: Connection,
    profile: str,
    budget: Budget,
    day: str,
    prices: Mapping[str, int],
    is_free: Callable[[str], bool],
) -> None:
    """Raises BudgetError where the day's or month's budget can't pay for all of a batch.

    `prices` are the estimates of its requests by their keys. Those in flight are free, and those of
    which `is_free` says so; it is only asked where the budget doesn't pay for all of them anyway.
    """
    today, this_month, in_flight = _counted(sql, profile, day)
    left, period = min(
        (max(0, nano(limit) - spent - in_flight), period)
        for period, limit, spent in (
            ("today", budget.day, today),
            ("this month", budget.month, this_month),
        )
        if limit is not None
    )
    if sum(prices.values()) <= left:
        return
    joined = set(sql.execute(select(CALLS.c.key).where(CALLS.c.outcome.is_(None))).scalars())
    wanted = [price for key, price in prices.items() if key not in joined and not is_free(key)]
    if sum(wanted) > left:
        which = "" if len(wanted) == len(prices) else " that have to be bought"
        paid = _paid(wanted, left)
        fewer = "Ask for fewer, raise" if paid else "Raise"
        raise BudgetError(
            f"The budget of profile {profile!r} can't pay for this batch: it needs "
            f"{usd(sum(wanted))}, {usd(left)} left {period}. Nothing was sent.",
            f"The budget pays for {paid} of the {len(wanted)} images{which}. {fewer} the profile's "
            "budget, or use another profile. `mai-image spend` lists what was spent.",
        )


def _paid(prices: Iterable[int], left: int) -> int:
    """How many of the calls, in their order, `left` pays for."""
    return sum(total <= left for total in accumulate(prices))


def _counted(sql: Connection, profile: str, day: str) -> tuple[int, int, int]:
    """What counts in a profile's budgets: spent on that day, in its month, and in flight."""
    first, last = month_of(day)
    in_flight = sql.execute(
        select(func.coalesce(func.sum(CALLS.c.estimate_nano), 0)).where(
            CALLS.c.outcome.is_(None) & (CALLS.c.profile == profile)
        )
    ).scalar_one()
    by_day = (
        select(SUMS.c.day, func.sum(SUMS.c.nano))
        .where((SUMS.c.profile == profile) & SUMS.c.day.between(first, last))
        .group_by(SUMS.c.day)
    )
    sums = {each: int(total) for each, total in sql.execute(by_day).all()}
    return sums.get(day, 0), sum(sums.values()), int(in_flight)
