"""Whether a budget allows one more call, and the sentence with all the sums when it doesn't."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from sqlalchemy import Connection, case, func, literal, select

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


@dataclass(frozen=True, slots=True)
class Counted:
    """What counts in a profile's budgets, in nano-dollars: spent on a day, in its month, and in
    flight. `calls_in_flight` are all profiles'."""

    today: int
    month: int
    in_flight: int
    calls_in_flight: int


def check_budget(
    counted: Counted, profile: str, budget: Budget, estimate_nano: int, why_unbounded: str
) -> None:
    """Raises BudgetError where spent + in flight + this call is over the day's or month's budget.

    To be called inside the transaction that writes the call down. Calls in flight count in full,
    whenever they were opened, and perhaps-billed ones by estimate.
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
    in_flight = counted.in_flight
    sentences, ways = [], []
    for when, period, limit, spent, way in (
        ("today", "day", budget.day, counted.today, "wait until tomorrow"),
        ("this month", "month", budget.month, counted.month, "wait until the next month"),
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
    counted: Counted,
    profile: str,
    budget: Budget,
    prices: Mapping[str, int],
    is_free: Callable[[str], bool],
) -> None:
    """Raises BudgetError where the day's or month's budget can't pay for all of a batch.

    `prices` are the estimates of its requests by their keys. Free are those of which `is_free` says
    so; it is only asked where the budget doesn't pay for all of them anyway.
    """
    left, period = min(
        (max(0, nano(limit) - spent - counted.in_flight), period)
        for period, limit, spent in (
            ("today", budget.day, counted.today),
            ("this month", budget.month, counted.month),
        )
        if limit is not None
    )
    if sum(prices.values()) <= left:
        return
    wanted = [price for key, price in prices.items() if not is_free(key)]
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


def count(sql: Connection, profile: str, day: str) -> Counted:
    """What counts in a profile's budgets on a local day.

    In one statement: on a server that others write to while it runs, a call must neither be missed
    nor counted twice because it ends between two.
    """
    first, last = month_of(day)
    mine = case((CALLS.c.profile == profile, CALLS.c.estimate_nano), else_=0)
    in_flight = select(literal("").label("day"), func.sum(mine).label("nano"), func.count()).where(
        CALLS.c.outcome.is_(None)
    )
    by_day = (
        select(SUMS.c.day, func.sum(SUMS.c.nano), literal(0))
        .where((SUMS.c.profile == profile) & SUMS.c.day.between(first, last))
        .group_by(SUMS.c.day)
    )
    rows = sql.execute(in_flight.union_all(by_day)).all()
    sums = {each: (int(total or 0), calls) for each, total, calls in rows}
    flying, calls = sums.pop("")
    month = sum(total for total, _ in sums.values())
    return Counted(sums.get(day, (0, 0))[0], month, flying, calls)


def calls_in_flight(sql: Connection) -> int:
    """How many calls are in flight, of all profiles."""
    query = select(func.count()).select_from(CALLS).where(CALLS.c.outcome.is_(None))
    return sql.execute(query).scalar_one()


def keys_in_flight(sql: Connection) -> set[str]:
    """The keys of the requests that are in flight."""
    return set(sql.execute(select(CALLS.c.key).where(CALLS.c.outcome.is_(None))).scalars())
