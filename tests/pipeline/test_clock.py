"""Clocks that are set back: no budget is forgotten, nothing waits for ever or is bought twice."""

from __future__ import annotations

import time

import pytest
from client_harness import ESTIMATE, Harness, ask, batch, failure, generate, image
from mai_image.mai.errors import BudgetError
from mai_image.mai.ledger import Ledger
from mai_image.mai.rate_limit import RateLimiter
from mai_image.mai.types import Budget

NOON = 1_794_225_600.0
"""A day in the middle of a month, in every time zone."""

HOUR, DAY = 3600.0, 86_400.0


class Clock:
    """A clock that goes on by itself and can be set."""

    def __init__(self, now: float) -> None:
        self.set(now)

    def set(self, now: float) -> None:
        self._offset = now - time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() + self._offset


@pytest.fixture
def wall(harness: Harness) -> Clock:
    """The ledger's clock."""
    clock = Clock(NOON)
    harness.make_ledger = lambda path: Ledger(path, clock)
    return clock


@pytest.fixture
def machine(harness: Harness) -> Clock:
    """The rate limiter's clock, which begins anew when the machine starts."""
    clock = Clock(1_000_000.0)
    harness.make_limiter = lambda path: RateLimiter(path, clock=clock)
    return clock


@pytest.mark.parametrize("back", [1.0, HOUR], ids=["a second", "an hour"])
def test_a_clock_set_back_within_the_day_forgets_nothing_spent(
    harness: Harness, wall: Clock, back: float
):
    requests = batch(4)
    client = harness.start(budget=Budget(day=2.5 * ESTIMATE))
    ask(client, requests[:2])
    wall.set(NOON - back)
    for found in ask(client, requests):
        assert isinstance(found, BudgetError) or image(found).from_store
    assert len(harness.server.billed) == 2
    harness.stop()
    harness.balance(requests)


def test_a_clock_set_back_by_days_stays_within_the_month_and_within_each_day(
    harness: Harness, wall: Clock
):
    """A day before has a budget of its own, the month has one for all of them."""
    budget = Budget(day=2.5 * ESTIMATE, month=3.5 * ESTIMATE)
    client = harness.start(budget=budget)
    ask(client, batch(2))
    wall.set(NOON - 2 * DAY)
    found = ask(client, batch(5)[2:])
    assert [type(each).__name__ for each in found].count("BudgetError") == 2
    wall.set(NOON)
    assert isinstance(failure(ask(client, [generate("new")])[0]), BudgetError)
    assert len(harness.server.billed) == 3
    harness.stop()
    harness.balance(batch(5))


def test_a_call_whose_clock_is_set_back_while_it_is_out_is_closed_and_counted_once(
    harness: Harness, wall: Clock
):
    requests = batch(2)
    client = harness.start()
    futures = [client.submit(request) for request in requests]
    wall.set(NOON - 3 * DAY)
    assert all(image(future.result(10)) for future in futures)
    harness.stop()
    harness.balance(requests)
    assert harness.outcomes() == ["delivered"] * 2


def test_a_machine_that_started_anew_waits_for_no_time_of_before(harness: Harness, machine: Clock):
    """Times of before the start lie a million seconds ahead of the clock."""
    ask(harness.start(requests_a_minute=60.0), batch(3))
    machine.set(5.0)
    started = time.monotonic()
    assert all(image(found) for found in ask(harness.restart(requests_a_minute=60.0), batch(6)))
    assert time.monotonic() - started < 10.0
    assert len(harness.server.billed) == 6
    harness.balance(batch(6))


def test_a_wall_clock_set_back_does_not_lengthen_a_wait_for_the_quota(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
):
    real = time.time
    client = harness.start()
    ask(client, batch(2))
    monkeypatch.setattr(time, "time", lambda: real() - 30 * DAY)
    started = time.monotonic()
    assert all(image(found) for found in ask(client, batch(4)))
    assert time.monotonic() - started < 5.0
    assert len(harness.server.billed) == 4
