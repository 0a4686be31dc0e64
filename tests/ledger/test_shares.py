"""Who and what the money went to."""

from __future__ import annotations

import pytest
from ledger_helpers import DAY, DELIVERED, FREE, PERHAPS, REFUSED, Clock, call, ledger_at
from mai_image.mai.ledger import Share, Sum


def test_the_sums_are_divided_by_machine_user_model_profile_and_day(
    place: str, clock: Clock
) -> None:
    one = ledger_at(place, clock, machine="one", user="ann")
    two = ledger_at(place, clock, machine="two", user="bob")
    one.close(one.open(call(0.04), FREE), DELIVERED, cost_usd=0.03)
    one.close(one.open(call(0.5, profile="home"), FREE), PERHAPS)
    one.close(one.open(call(0.5), FREE), REFUSED)
    clock.now += DAY
    two.close(two.open(call(0.04, model="n"), FREE), DELIVERED, cost_usd=0.02)
    two.open(call(9.0), FREE)
    assert two.spend_by("machine") == [Share("one", 0.53, 2, 0.5), Share("two", 0.02, 1, 0.0)]
    assert [share.name for share in one.spend_by("user")] == ["ann", "bob"]
    assert [(s.name, s.calls) for s in one.spend_by("model")] == [("m", 2), ("n", 1)]
    assert [share.name for share in one.spend_by("profile")] == ["home", "work"]
    first, second = one.spend_by("day")
    assert (first.calls, second.calls) == (2, 1)
    assert one.spend_by("machine", since=second.name) == [Share("two", 0.02, 1, 0.0)]
    assert one.spend_by("machine", profile="home") == [Share("one", 0.5, 1, 0.5)]
    with pytest.raises(ValueError, match="none of machine"):
        one.spend_by("token")
    for each in (one, two):
        each.close_file()


def test_what_this_machine_spent_is_summed_apart(place: str, clock: Clock) -> None:
    here = ledger_at(place, clock, machine="here")
    there = ledger_at(place, clock, machine="there")
    here.close(here.open(call(0.04), FREE), DELIVERED, cost_usd=0.03)
    clock.now += DAY
    here.close(here.open(call(0.04), FREE), DELIVERED, cost_usd=0.01)
    here.close(here.open(call(0.04, profile="emulator"), FREE), DELIVERED, cost_usd=0.5)
    there.close(there.open(call(0.04), FREE), DELIVERED, cost_usd=9.0)
    assert here.spend_here(but_profile="emulator") == (Sum(0.01, 1), Sum(0.04, 2))
    assert here.spend().total.calls == 4
    for each in (here, there):
        each.close_file()


def test_sums_over_calls_add_up_to_the_sums_that_are_kept(place: str, clock: Clock) -> None:
    ledger = ledger_at(place, clock, machine="here")
    for cost in (0.1, 0.2, 0.3, None):
        ledger.close(ledger.open(call(0.05), FREE), DELIVERED, cost_usd=cost)
    ledger.close(ledger.open(call(0.05), FREE), PERHAPS)
    total = ledger.spend().total
    for column in ("machine", "user", "model", "profile", "day"):
        (share,) = ledger.spend_by(column)
        assert (share.usd, share.calls) == (total.usd, total.calls)
    ledger.close_file()
