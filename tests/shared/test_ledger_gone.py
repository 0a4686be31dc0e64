"""A studio's ledger whose database is gone: nothing unbooked is sent, nothing booked is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from ledger_helpers import DELIVERED, FREE, KEY, PERHAPS, WITHDRAWN, call, only, sent
from mai_image.mai.database import DatabaseGone, DatabaseServer
from mai_image.mai.ledger import Ledger, Sum
from mai_image.mai.ledger.spool import Spool
from mai_image.mai.types import Usage
from postgres_engine import PostgresEngine

OTHER = "b" * 64


def shared(url: str, folder: Path, **options: object) -> Ledger:
    """A machine's ledger on a server, with its own folder."""
    folder.mkdir(exist_ok=True)
    server = DatabaseServer(url, answer_seconds=2)
    return Ledger(server, spool=folder / "unbooked.sqlite", **options)  # type: ignore[arg-type]


@pytest.fixture
def proxy(postgres_engine: PostgresEngine) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(postgres_engine.port)
    yield proxy
    proxy.close()


def test_while_the_database_is_gone_no_call_is_opened_or_marked_sent(
    own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    ledger = shared(own_postgres.url(), tmp_path)
    row = ledger.open(call(), FREE)
    own_postgres.kill()
    with pytest.raises(DatabaseGone):
        ledger.open(call(key=OTHER), FREE)
    with pytest.raises(DatabaseGone):
        ledger.mark_sent(row)
    own_postgres.start()
    time.sleep(1.1)  # it isn't asked again at once
    assert ledger.mark_sent(row)
    assert ledger.spend().in_flight == Sum(0.04, 1)
    ledger.close_file()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_call_that_is_out_when_the_database_goes_is_booked_when_it_is_back(
    own_postgres: PostgresEngine, tmp_path: Path, how: str
) -> None:
    ledger = shared(own_postgres.url(), tmp_path)
    row = sent(ledger)
    usage = Usage(text_in=10, image_out=1024)
    if how == "killed":
        own_postgres.kill()
        ledger.close(row, DELIVERED, cost_usd=0.03, usage=usage, request_id="r\0id")
        own_postgres.start()
    else:
        with own_postgres.frozen():
            ledger.close(row, DELIVERED, cost_usd=0.03, usage=usage, request_id="r\0id")
    time.sleep(1.1)
    assert only(ledger)["outcome"] == "in flight"
    assert ledger.keep_alive()
    found = only(ledger)
    assert (found["outcome"], found["image_out"], found["request_id"]) == ("delivered", 1024, "rid")
    assert ledger.spend().total == Sum(0.03, 1)
    assert ledger.book_spooled() == 0
    ledger.close_file()


def test_what_was_kept_is_booked_by_the_next_start_too(
    own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    ledger = shared(own_postgres.url(), tmp_path)
    row = sent(ledger)
    own_postgres.kill()
    ledger.close(row, PERHAPS)
    with pytest.raises(DatabaseGone):
        ledger.book_spooled()
    again = shared(own_postgres.url(), tmp_path)
    own_postgres.start()
    assert again.recover() == 0, "booked before anybody looks for the dead"
    assert only(again)["outcome"] == "perhaps billed"
    for each in (ledger, again):
        each.close_file()


def test_what_was_kept_counts_before_the_next_call_is_opened(
    own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    ledger = shared(own_postgres.url(), tmp_path)
    row = sent(ledger, 0.5)
    own_postgres.kill()
    ledger.close(row, DELIVERED, cost_usd=0.01)
    own_postgres.start()
    time.sleep(1.1)
    ledger.open(call(0.04, key=OTHER), FREE)
    spend = ledger.spend()
    assert (spend.total, spend.in_flight) == (Sum(0.01, 1), Sum(0.04, 1))
    ledger.close_file()


def test_a_job_that_begins_while_the_database_is_gone_can_be_resumed(
    own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    ledger = shared(own_postgres.url(), tmp_path)
    row = sent(ledger)
    own_postgres.kill()
    ledger.set_job(row, "job 7")
    ledger.leave_job(row)
    own_postgres.start()
    again = shared(own_postgres.url(), tmp_path)
    job = again.find_job(KEY)
    assert job is not None
    assert (job.row, job.job_id) == (row, "job 7")
    for each in (ledger, again):
        each.close_file()


def test_a_call_whose_opening_was_lost_on_the_way_back_is_withdrawn(
    postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    """It is in the ledger, and nobody was told: it may neither be sent nor stay in flight."""
    ledger = shared(proxy.url(postgres), tmp_path)
    ledger.close(ledger.open(call(key=OTHER), FREE), WITHDRAWN)
    proxy.cut_at = b"COMMIT\0"
    with pytest.raises(DatabaseGone):
        ledger.open(call(), FREE)
    assert proxy.cuts == 1
    time.sleep(1.1)
    assert ledger.spend().in_flight.calls == 1
    ledger.keep_alive()
    assert ledger.spend().in_flight.calls == 0
    assert [row["outcome"] for row in ledger.rows()] == ["withdrawn", "withdrawn"]
    ledger.close_file()


def test_an_end_whose_answer_was_lost_is_counted_once(
    postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    ledger = shared(proxy.url(postgres), tmp_path)
    row = sent(ledger)
    proxy.cut_at = b"COMMIT\0"
    ledger.close(row, DELIVERED, cost_usd=0.03)
    assert proxy.cuts == 1
    time.sleep(1.1)
    ledger.keep_alive()
    assert ledger.spend().total == Sum(0.03, 1)
    ledger.close_file()


def test_a_connection_that_breaks_in_the_middle_is_replaced_unseen(
    postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    ledger = shared(proxy.url(postgres), tmp_path)
    ledger.spend()
    proxy.cut_at = b"INSERT INTO calls"
    ledger.close(ledger.open(call(0.04), FREE), DELIVERED, cost_usd=0.03)
    assert proxy.cuts == 1
    assert ledger.spend().total == Sum(0.03, 1)
    assert len(ledger.rows()) == 1
    ledger.close_file()


def test_a_link_of_200_ms_is_slow_and_no_error(
    postgres: str, postgres_engine: PostgresEngine, tmp_path: Path
) -> None:
    proxy = CuttingProxy(postgres_engine.port, delay=0.1)
    ledger = shared(proxy.url(postgres), tmp_path)
    ledger.close(sent(ledger), DELIVERED, cost_usd=0.03)
    assert ledger.spend().total == Sum(0.03, 1)
    ledger.close_file()
    proxy.close()


def test_a_database_that_stood_still_has_made_nobody_look_dead(
    own_postgres: PostgresEngine, tmp_path: Path
) -> None:
    """However long it was: the time in which it didn't answer isn't counted."""
    one = shared(own_postgres.url(), tmp_path / "one", dead_after=2.0)
    two = shared(own_postgres.url(), tmp_path / "two", dead_after=2.0)
    sent(one)
    assert one.keep_alive()
    _as_another_machine(own_postgres, "one")
    with own_postgres.frozen():
        time.sleep(3.0)
    assert two.recover() == 0
    assert two.spend().in_flight.calls == 1
    for each in (one, two):
        each.close_file()


def test_the_calls_of_a_machine_that_died_end_when_it_was_silent_for_long_enough(
    postgres: str, postgres_engine: PostgresEngine, tmp_path: Path
) -> None:
    """A third machine that begins only then knows it from the first look."""
    one = shared(postgres, tmp_path / "one", dead_after=1.0)
    two = shared(postgres, tmp_path / "two", dead_after=1.0)
    sent(one)
    waiting = one.open(call(0.5, key=OTHER), FREE)
    _as_another_machine(postgres_engine, "one", postgres)
    until = time.monotonic() + 20
    while not (count := two.recover()) and time.monotonic() < until:
        time.sleep(0.1)
    assert count == 1
    spend = two.spend()
    assert (spend.lost.total, spend.in_flight.calls) == (Sum(0.04, 1), 0)
    assert not one.mark_sent(waiting), "it finds out before it sends"
    for each in (one, two):
        each.close_file()


def test_days_and_times_are_the_databases_whatever_this_machines_clock_says(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = shared(postgres, tmp_path)
    real = time.time
    begun = real()
    monkeypatch.setattr(time, "time", lambda: real() + 90_000)
    ledger.close(sent(ledger), DELIVERED, cost_usd=0.03)
    row = only(ledger)
    assert abs(float(str(row["opened_at"])) - begun) < 60
    assert abs(float(str(row["closed_at"])) - begun) < 60
    assert ledger.spend().today == Sum(0.03, 1)
    (day,) = ledger.spend_by("day")
    assert day.name == time.strftime("%Y-%m-%d", time.localtime(begun))
    ledger.close_file()


def _as_another_machine(engine: PostgresEngine, token: str, url: str = "/postgres") -> None:
    """All owners so far are of one that this machine can't prove anything about."""
    database = url.rpartition("/")[2]
    engine.run_sql(f"UPDATE mai_image.owners SET token = '{token}', boot = 'another'", database)
    engine.run_sql(f"UPDATE mai_image.calls SET owner = '{token}'", database)


def test_an_end_that_can_never_be_booked_keeps_nobody_from_sending(
    postgres: str, tmp_path: Path
) -> None:
    """Its call stays in flight, and so counts."""
    ledger = shared(postgres, tmp_path)
    row = sent(ledger)
    data: dict[str, object] = {"job_id": "\0"}
    Spool(tmp_path / "unbooked.sqlite").add("job", row, data)
    assert ledger.open(call(key=OTHER), FREE)
    assert ledger.spend().in_flight.calls == 2
    ledger.close_file()


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_kept_is_booked_with_the_time_at_which_it_ended_by_the_databases_clock(
    own_postgres: PostgresEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """Whatever this machine's clock says, before and after."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    ledger = shared(own_postgres.url(), tmp_path)
    row = sent(ledger)
    own_postgres.kill()
    before = real()
    ledger.close(row, DELIVERED, cost_usd=0.03)
    time.sleep(1.5)
    starts = real()  # before that nothing can be booked
    own_postgres.start()
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    booking = shared(own_postgres.url(), tmp_path) if restarts else ledger
    booking.book_spooled()
    ended = float(str(only(booking)["closed_at"]))
    assert before - 1.5 < ended < starts
    assert booking.spend().today == Sum(0.03, 1)
    for each in (ledger, booking):
        each.close_file()


def test_an_opening_that_the_server_has_still_to_commit_is_withdrawn_after_it(
    postgres: str, proxy: CuttingProxy, tmp_path: Path
) -> None:
    """A server that stood still goes on with what it had heard: who withdraws waits for that."""
    ledger = shared(proxy.url(postgres), tmp_path)
    ledger.close(ledger.open(call(key=OTHER), FREE), WITHDRAWN)
    proxy.late = 2.5
    proxy.cut_at = b"COMMIT\0"
    with pytest.raises(DatabaseGone):
        ledger.open(call(), FREE)
    time.sleep(1.1)
    assert ledger.book_spooled() == 1
    time.sleep(2.5)
    assert [row["outcome"] for row in ledger.rows()] == ["withdrawn", "withdrawn"]
    ledger.close_file()
