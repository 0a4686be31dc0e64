"""The ledger's sums and budgets: every call counted once, in its own day."""

from __future__ import annotations

import csv
import dataclasses
import io
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from ledger_helpers import (
    BLOCKED,
    DAY,
    DELIVERED,
    FREE,
    KEY,
    NOON,
    NOT_KEPT,
    PERHAPS,
    REFUSED,
    WITHDRAWN,
    Clock,
    call,
    ledger_at,
    only,
)
from mai_image.mai.errors import BudgetError, InputError
from mai_image.mai.ledger import EndedCall, Ledger, LostElsewhere, NewCall, Outcome, Sum, usd
from mai_image.mai.types import Budget, Usage


def test_a_call_is_in_flight_before_it_is_sent_and_closed_with_its_facts(
    ledger: Ledger, clock: Clock
) -> None:
    row = ledger.open(NewCall(KEY, "work", "foundry", "m", "edit", 0.05), FREE)
    ledger.mark_sent(row, "dep")
    assert only(ledger)["outcome"] == "in flight"
    assert ledger.spend().in_flight == Sum(0.05, 1)
    clock.now += 30
    usage = Usage(text_in=10, image_in=20, image_out=1024)
    ledger.close(row, DELIVERED, cost_usd=0.039, usage=usage, request_id="rid", status=200)
    assert only(ledger) == {
        "id": 1,
        "opened_at": NOON,
        "closed_at": NOON + 30,
        "outcome": "delivered",
        "profile": "work",
        "service": "foundry",
        "model": "m",
        "kind": "edit",
        "deployment": "dep",
        "estimate_usd": 0.05,
        "cost_usd": 0.039,
        "text_in": 10,
        "image_in": 20,
        "image_out": 1024,
        "request_id": "rid",
        "job_id": None,
        "status": 200,
        "code": None,
        "key": KEY,
        "machine": None,
        "user": None,
    }
    assert ledger.spend().today == Sum(0.039, 1)
    assert ledger.spend().in_flight == Sum(0.0, 0)


@pytest.mark.parametrize(
    ("outcome", "cost", "counted", "calls"),
    [
        (DELIVERED, 0.03, 0.03, 1),
        (DELIVERED, None, 0.05, 1),
        (PERHAPS, None, 0.05, 1),
        (NOT_KEPT, 0.03, 0.03, 1),
        (BLOCKED, None, 0.05, 1),
        (BLOCKED, 0.01, 0.01, 1),
        (REFUSED, None, 0.0, 0),
        (WITHDRAWN, None, 0.0, 0),
    ],
)
def test_what_a_call_counts_follows_its_outcome(
    ledger: Ledger, outcome: Outcome, cost: float | None, counted: float, calls: int
) -> None:
    ledger.close(ledger.open(call(0.05), FREE), outcome, cost_usd=cost)
    spend = ledger.spend()
    assert spend.today == spend.month == spend.total == Sum(counted, calls)


def test_closing_twice_or_an_unknown_row_changes_nothing(ledger: Ledger) -> None:
    row = ledger.open(call(), FREE)
    ledger.close(row, DELIVERED, cost_usd=0.03)
    before = ledger.rows(), ledger.spend()
    ledger.close(row, PERHAPS, cost_usd=9.0)
    ledger.mark_sent(row, "other")
    ledger.mark_not_sent(row)
    ledger.set_job(row, "job")
    ledger.close("unknown", PERHAPS)
    assert (ledger.rows(), ledger.spend()) == before


@pytest.mark.parametrize("wrong", [-0.01, float("nan"), float("inf")])
def test_an_estimate_that_is_no_amount_is_refused(ledger: Ledger, wrong: float) -> None:
    with pytest.raises(ValueError, match="amount"):
        ledger.open(call(wrong), FREE)
    assert ledger.rows() == []


def test_a_budget_counts_what_was_spent_is_in_flight_and_is_perhaps_billed(ledger: Ledger) -> None:
    budget = Budget(day=2.0)
    ledger.close(ledger.open(call(1.8), budget), DELIVERED, cost_usd=1.72)
    ledger.close(ledger.open(call(0.2), budget), PERHAPS)
    flying = ledger.open(call(0.08), budget)
    with pytest.raises(BudgetError) as raised:
        ledger.open(call(0.039), budget)
    text = str(raised.value)
    assert "today $1.92 spent + $0.08 in flight + $0.039 for this one" in text
    assert "over the profile's $2.00 a day" in text
    assert "'work'" in text
    assert "Nothing was sent" in text
    assert "tomorrow" in text
    assert len(ledger.rows()) == 3
    ledger.close(flying, REFUSED)
    ledger.open(call(0.08), budget)


def test_a_budget_can_be_used_up_to_the_last_cent(ledger: Ledger) -> None:
    for _ in range(10):
        ledger.close(ledger.open(call(0.1), Budget(day=1.0)), DELIVERED, cost_usd=0.1)
    with pytest.raises(BudgetError):
        ledger.open(call(0.000001), Budget(day=1.0))
    assert ledger.spend().today == Sum(1.0, 10)


def test_a_budget_of_nothing_allows_nothing_that_costs(ledger: Ledger) -> None:
    with pytest.raises(BudgetError):
        ledger.open(call(0.04), Budget(day=0.0))
    ledger.open(call(0.0), Budget(day=0.0))


def test_a_call_that_passes_both_budgets_is_told_of_both(ledger: Ledger) -> None:
    with pytest.raises(BudgetError) as raised:
        ledger.open(call(5.0), Budget(day=1.0, month=2.0))
    assert "$1.00 a day" in str(raised.value)
    assert "$2.00 a month" in str(raised.value)
    assert "next month" in str(raised.value)


def test_each_profile_has_its_own_budget(ledger: Ledger) -> None:
    ledger.open(call(0.9, "one"), Budget(day=1.0))
    ledger.open(call(0.9, "two"), Budget(day=1.0))
    with pytest.raises(BudgetError):
        ledger.open(call(0.2, "one"), Budget(day=1.0))


def test_the_day_begins_anew_and_the_month_goes_on(ledger: Ledger, clock: Clock) -> None:
    budget = Budget(day=1.0, month=1.5)
    ledger.close(ledger.open(call(0.8), budget), DELIVERED)
    clock.now += DAY
    ledger.close(ledger.open(call(0.5), budget), DELIVERED)
    assert ledger.spend().today == Sum(0.5, 1)
    assert ledger.spend().month == Sum(1.3, 2)
    with pytest.raises(BudgetError, match="this month"):
        ledger.open(call(0.3), budget)
    clock.now += 31 * DAY
    ledger.open(call(0.9), budget)
    assert ledger.spend().month == Sum(0.0, 0)


def test_a_call_in_flight_since_last_month_counts_now_and_then_where_it_was_opened(
    ledger: Ledger, clock: Clock
) -> None:
    budget = Budget(day=1.0, month=1.0)
    row = ledger.open(call(0.8), budget)
    clock.now += 31 * DAY
    with pytest.raises(BudgetError, match=r"\$0.80 in flight"):
        ledger.open(call(0.3), budget)
    ledger.close(row, DELIVERED, cost_usd=0.7)
    assert ledger.spend().today == ledger.spend().month == Sum(0.0, 0)
    assert ledger.spend().total == Sum(0.7, 1)


def test_a_clock_set_back_neither_resets_nor_doubles_a_sum(ledger: Ledger, clock: Clock) -> None:
    budget = Budget(day=1.0, month=1.0)
    ledger.close(ledger.open(call(0.6), budget), DELIVERED)
    clock.now -= 3600
    with pytest.raises(BudgetError, match="today"):
        ledger.open(call(0.6), budget)
    row = ledger.open(call(0.2), budget)
    clock.now -= 2 * DAY
    ledger.close(row, DELIVERED)
    with pytest.raises(BudgetError, match="this month"):
        ledger.open(call(0.3), budget)
    clock.now = 0.0
    ledger.close(ledger.open(call(0.1), budget), DELIVERED)
    assert ledger.spend().total == Sum(0.9, 3)
    clock.now = NOON
    assert ledger.spend().today == Sum(0.8, 2)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs tzset")
@pytest.mark.parametrize(
    ("zone", "night"),
    [("America/New_York", 1_793_505_600.0), ("Europe/Berlin", 1_774_738_800.0)],
)
def test_the_days_of_a_clock_change_are_one_day_each(
    place: str, monkeypatch: pytest.MonkeyPatch, zone: str, night: float
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        start = time.mktime((*time.localtime(night + 43_200)[:3], 0, 0, 0, 0, 0, -1))
        day = time.localtime(start).tm_mday
        hours = sum(time.localtime(start + 3600 * hour).tm_mday == day for hour in range(30))
        assert hours in (23, 25)
        clock = Clock(start)
        ledger = ledger_at(place, clock)
        for hour in range(hours):
            clock.now = start + 3600 * hour
            ledger.close(ledger.open(call(0.01), FREE), DELIVERED)
        assert ledger.spend().today == Sum(hours / 100, hours)
        clock.now = start + 3600 * hours
        assert ledger.spend().today == Sum(0.0, 0)
        ledger.close_file()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_sums_are_told_by_model_and_profile_and_for_one_profile(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.close(ledger.open(call(1.0, "one", model="x"), FREE), DELIVERED)
    clock.now += DAY
    ledger.close(ledger.open(call(2.0, "one", model="y"), FREE), DELIVERED)
    ledger.close(ledger.open(call(4.0, "two", model="y"), FREE), PERHAPS, status=502, code="bad")
    ledger.open(call(8.0, "two", model="y"), FREE)
    spend = ledger.spend()
    assert spend.by_model["y"].today == Sum(6.0, 2)
    assert spend.by_model["x"].today == Sum(0.0, 0)
    assert spend.by_model["x"].month == Sum(1.0, 1)
    assert list(spend.by_profile) == ["two", "one"]
    assert spend.by_profile["one"].total == Sum(3.0, 2)
    (lost,) = spend.perhaps_billed
    assert (lost.profile, lost.model, lost.usd, lost.status, lost.code) == (
        "two",
        "y",
        4.0,
        502,
        "bad",
    )
    one = ledger.spend("one")
    assert one.total == Sum(3.0, 2)
    assert (one.in_flight, one.perhaps_billed) == (Sum(0.0, 0), ())


def test_an_empty_ledger_has_empty_sums(ledger: Ledger) -> None:
    spend = ledger.spend()
    assert (spend.today, spend.month, spend.total, spend.in_flight) == (Sum(),) * 4
    assert (spend.by_model, spend.by_profile, spend.perhaps_billed) == ({}, {}, ())
    assert ledger.rows() == []


def test_csv_holds_every_call_and_no_formula(ledger: Ledger) -> None:
    ledger.close(ledger.open(call(0.5), FREE), REFUSED, status=400, code="=HYPERLINK(1)")
    ledger.open(call(0.25, "ünï,code\n"), FREE)
    stream = io.StringIO(newline="")
    assert ledger.export_csv(stream) == 2
    newest, oldest = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert (newest["outcome"], newest["profile"], newest["closed_at"]) == (
        "in flight",
        "ünï,code ",
        "",
    )
    assert (oldest["code"], oldest["estimate_usd"]) == ("'=HYPERLINK(1)", "0.5")
    assert oldest["opened_at"].startswith(time.strftime("%Y-%m-%dT", time.localtime(NOON)))


def test_rows_gives_the_newest_first_up_to_a_limit(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.open(call(), FREE)
    assert [row["id"] for row in ledger.rows(2)] == [5, 4]
    assert len(ledger.rows(None)) == 5


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (1_920_000_000, "$1.92"),
        (39_000_000, "$0.039"),
        (0, "$0.00"),
        (1_234_567_890_000, "$1,234.5679"),
    ],
)
def test_amounts_read_as_dollars(amount: int, text: str) -> None:
    assert usd(amount) == text


def test_a_strict_budget_refuses_what_has_no_upper_bound(ledger: Ledger) -> None:
    about = dataclasses.replace(call(0.04), why_unbounded="nobody knows the price")
    with pytest.raises(BudgetError, match=r"about \$0.04\): nobody knows the price"):
        ledger.open(about, Budget(strict=True))
    assert ledger.open(about, Budget(day=1.0))
    assert ledger.open(call(0.04), Budget(day=1.0, strict=True))


@pytest.mark.parametrize(
    ("outcome", "billed", "spent", "doubtful"),
    [
        (PERHAPS, True, Sum(0.04, 1), Sum()),
        (PERHAPS, False, Sum(), Sum()),
        (BLOCKED, True, Sum(0.04, 1), Sum()),
        (NOT_KEPT, False, Sum(), Sum()),
    ],
)
def test_a_doubtful_call_is_settled_by_hand(
    ledger: Ledger, outcome: Outcome, billed: bool, spent: Sum, doubtful: Sum
) -> None:
    ledger.close(ledger.open(call(), FREE), outcome)
    (found,) = ledger.doubtful()
    assert ledger.settle(found.row, billed).row == found.row
    spend = ledger.spend()
    assert spend.total == spend.spent.total == spent
    assert spend.blocked.total == spend.lost.total == doubtful
    assert ledger.doubtful() == []
    with pytest.raises(InputError, match="--doubtful"):
        ledger.settle(found.row, billed)


def test_an_image_that_the_disk_takes_later_is_delivered(ledger: Ledger) -> None:
    row = ledger.open(call(), FREE)
    ledger.close(row, NOT_KEPT, cost_usd=0.03)
    assert ledger.spend().lost.total == Sum(0.03, 1)
    ledger.close(row, DELIVERED, cost_usd=0.03)
    assert ledger.spend().total == ledger.spend().spent.total == Sum(0.03, 1)


@pytest.mark.parametrize("outcome", [PERHAPS, BLOCKED, NOT_KEPT])
def test_whoever_waited_for_a_call_that_was_perhaps_billed_gets_no_row(
    ledger: Ledger, outcome: Outcome
) -> None:
    row = ledger.open(call(), FREE)
    ledger.close(row, outcome, status=502, code="bad", request_id="r")
    with pytest.raises(LostElsewhere) as raised:
        ledger.open(call(), FREE, joined=row)
    assert raised.value.ended == EndedCall(outcome, 502, "bad", "r")
    assert ledger.open(call(), FREE), "a new run may buy it"


@pytest.mark.parametrize("outcome", [DELIVERED, REFUSED, WITHDRAWN])
def test_whoever_waited_for_a_call_that_was_free_or_delivered_goes_on(
    ledger: Ledger, outcome: Outcome
) -> None:
    row = ledger.open(call(), FREE)
    ledger.close(row, outcome)
    assert ledger.open(call(), FREE, joined=row)
    assert ledger.open(call(), FREE, joined="unknown")


class LedgerMachine(RuleBasedStateMachine):
    """Any order of opening, marking, closing and clock jumps; sums against a list of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.sqlite", self.clock)
        self.rows: dict[str, dict[str, object]] = {}

    def teardown(self) -> None:
        self.ledger.close_file()
        self.folder.cleanup()

    def _sum(self, profile: str, length: int) -> int:
        today = time.strftime("%Y-%m-%d", time.localtime(self.clock.now))[:length]
        return sum(
            int(row["cents"])
            for row in self.rows.values()
            if row["profile"] == profile and row["closed"] and str(row["day"])[:length] == today
        )

    def _flight(self, profile: str) -> int:
        return sum(
            int(row["estimate"])
            for row in self.rows.values()
            if row["profile"] == profile and not row["closed"]
        )

    @rule(
        profile=st.sampled_from(["one", "two"]),
        cents=st.integers(0, 120),
        day=st.one_of(st.none(), st.integers(0, 300)),
        month=st.one_of(st.none(), st.integers(0, 500)),
    )
    def open(self, profile: str, cents: int, day: int | None, month: int | None) -> None:
        budget = Budget(
            day=None if day is None else day / 100, month=None if month is None else month / 100
        )
        flight = self._flight(profile)
        allowed = (day is None or self._sum(profile, 10) + flight + cents <= day) and (
            month is None or self._sum(profile, 7) + flight + cents <= month
        )
        try:
            row = self.ledger.open(call(cents / 100, profile), budget)
        except BudgetError:
            assert not allowed
            return
        assert allowed
        today = time.strftime("%Y-%m-%d", time.localtime(self.clock.now))
        self.rows[row] = {
            "profile": profile,
            "estimate": cents,
            "day": today,
            "closed": False,
            "cents": 0,
        }

    @precondition(lambda self: self.rows)
    @rule(
        data=st.data(),
        outcome=st.sampled_from(list(Outcome)),
        cost=st.one_of(st.none(), st.integers(0, 120)),
    )
    def close(self, data: st.DataObject, outcome: Outcome, cost: int | None) -> None:
        # Tokens are random: which one is drawn must not depend on them.
        number = list(self.rows)[data.draw(st.integers(0, len(self.rows) - 1))]
        self.ledger.close(number, outcome, cost_usd=None if cost is None else cost / 100)
        row = self.rows[number]
        if row["closed"] is not True:
            is_free = outcome in (REFUSED, WITHDRAWN, Outcome.SETTLED_FREE)
            row["cents"] = 0 if is_free else row["estimate"] if cost is None else cost
            row["closed"] = outcome is not NOT_KEPT or "not kept"

    @rule(hours=st.integers(-80, 80))
    def jump(self, hours: int) -> None:
        self.clock.now += hours * 3600

    @invariant()
    def sums_fit(self) -> None:
        for profile in ("one", "two"):
            spend = self.ledger.spend(profile)
            assert round(spend.today.usd * 100, 6) == self._sum(profile, 10)
            assert round(spend.month.usd * 100, 6) == self._sum(profile, 7)
            assert round(spend.in_flight.usd * 100, 6) == self._flight(profile)


LedgerMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


TestSumsAgainstANaiveModel = LedgerMachine.TestCase
