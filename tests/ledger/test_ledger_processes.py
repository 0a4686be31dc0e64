"""The ledger among threads and processes, living, killed and recycled."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from ledger_helpers import (
    DAY,
    DELIVERED,
    FREE,
    HEAD,
    KEY,
    Clock,
    call,
    child,
    kill,
    ledger_at,
    lines_of,
    run_sql,
    say,
    sent,
)
from mai_image.mai.errors import BudgetError, RunningElsewhere, StoreError
from mai_image.mai.ledger import Ledger, LostElsewhere, Sum
from mai_image.mai.ledger.owners import this_owner
from mai_image.mai.ledger.tables import SCHEMA
from mai_image.mai.types import Budget


def _tries(place: str, count: int) -> int:
    ledger, opened = ledger_at(place), 0
    for _ in range(count):
        try:
            row = ledger.open(call(0.01), Budget(day=0.2, month=0.2))
        except BudgetError:
            continue
        opened += 1
        ledger.close(row, DELIVERED, cost_usd=0.01)
    ledger.close_file()
    return opened


def test_threads_with_one_ledger_each_never_overshoot_together(place: str) -> None:
    opened: list[int] = []
    threads = [threading.Thread(target=lambda: opened.append(_tries(place, 10))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(opened) == 20


def test_threads_with_one_ledger_in_common_never_overshoot_together(ledger: Ledger) -> None:
    opened: list[int] = []

    def work() -> None:
        for _ in range(10):
            try:
                opened.append(ledger.open(call(0.01), Budget(month=0.2)))
            except BudgetError:
                continue

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == len(set(opened)) == 20


def test_processes_racing_for_one_budget_never_overshoot_together(place: str) -> None:
    body = """
        count = 0
        print("ready", flush=True)
        input()
        for _ in range(20):
            try:
                row = opened(0.01, sys.argv[2] * 64, Budget(day=0.3))
            except BudgetError:
                continue
            count += 1
            if count % 2:
                ledger.close(row, Outcome.DELIVERED, cost_usd=0.01)
        print(count)
    """
    racers = [child(body, place, name) for name in "123"]
    for racer in racers:
        assert lines_of(racer, 1) == ["ready"]
    for racer in racers:
        say(racer)
    opened = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(opened) == 30


def test_the_calls_of_a_killed_process_become_perhaps_billed_or_withdrawn(place: str) -> None:
    body = """
        sent(0.04)
        ledger.mark_sent(opened(0.05), "dep")
        opened(0.06)
        ledger.mark_not_sent(sent(0.07))
        ledger.close(sent(0.08), Outcome.DELIVERED, cost_usd=0.08)
        print("ready", flush=True)
        input()
    """
    process = child(body, place)
    assert lines_of(process, 1) == ["ready"]
    ledger = ledger_at(place)
    mine = ledger.open(call(0.5, key="b" * 64), FREE)
    assert ledger.recover() == 0
    assert ledger.spend().in_flight.calls == 5
    kill(process)
    assert ledger.recover() == 2
    assert ledger.recover() == 0
    spend = ledger.spend()
    assert sorted(lost.usd for lost in spend.perhaps_billed) == [0.04, 0.05]
    assert spend.today == Sum(0.17, 3)
    assert spend.in_flight == Sum(0.5, 1)
    outcomes = [row["outcome"] for row in ledger.rows()]
    assert outcomes.count("withdrawn") == 2
    assert mine
    assert [row["outcome"] for row in ledger.rows(1)] == ["in flight"]
    ledger.close_file()


def test_a_killed_process_that_nobody_has_waited_for_is_dead(place: str) -> None:
    process = child("sent(); print('ready', flush=True); input()", place)
    assert lines_of(process, 1) == ["ready"]
    process.kill()
    ledger = ledger_at(place)
    until = time.monotonic() + 10
    while not (count := ledger.recover()) and time.monotonic() < until:
        time.sleep(0.01)
    process.communicate(timeout=30)
    ledger.close_file()
    assert count == 1


def test_a_process_killed_at_any_moment_leaves_a_ledger_that_adds_up(place: str) -> None:
    body = """
        print("ready", flush=True)
        while True:
            row = sent(0.01)
            print("opened", flush=True)
            ledger.close(row, Outcome.DELIVERED, cost_usd=0.01)
            print("closed", flush=True)
    """
    said: list[str] = []
    for wait in (0.0, 0.013, 0.029):
        process = child(body, place)
        said += lines_of(process, 4)
        time.sleep(wait)
        process.kill()
        said += process.communicate(timeout=30)[0].split()
    ledger = ledger_at(place)
    assert 0 <= ledger.recover() <= 3
    spend = ledger.spend()
    ledger.close_file()
    assert spend.in_flight.calls == 0
    assert said.count("opened") <= spend.today.calls <= said.count("opened") + 3
    assert spend.today.usd == pytest.approx(spend.today.calls * 0.01)
    assert spend.spent.today.calls >= said.count("closed")


def test_a_process_that_was_stopped_for_long_finds_out_before_it_sends(place: str) -> None:
    """What it had not sent is withdrawn and must be opened anew, with the budget's check."""
    body = """
        row = opened(0.05)
        print("ready", flush=True)
        input()
        print(ledger.mark_sent(row), flush=True)
        input()
    """
    process = child(body, place)
    assert lines_of(process, 1) == ["ready"]
    with _stopped(process):
        ledger = ledger_at(place, dead_after=0.2)
        _wait_until_dead(ledger)
        assert [row["outcome"] for row in ledger.rows()] == ["withdrawn"]
    say(process)
    assert lines_of(process, 1) == ["False"]
    assert [row["outcome"] for row in ledger.rows()] == ["withdrawn"]
    kill(process)
    ledger.close_file()


def test_what_a_stopped_process_delivers_late_is_still_delivered(place: str) -> None:
    body = """
        row = sent(0.05)
        print("ready", flush=True)
        input()
        ledger.close(row, Outcome.DELIVERED, cost_usd=0.03)
        print("closed", flush=True)
        input()
    """
    process = child(body, place)
    assert lines_of(process, 1) == ["ready"]
    ledger = ledger_at(place, dead_after=0.2)
    with _stopped(process):
        _wait_until_dead(ledger)
        assert ledger.spend().lost.total == Sum(0.05, 1)
    say(process)
    assert lines_of(process, 1) == ["closed"]
    assert ledger.spend().total == ledger.spend().spent.total == Sum(0.03, 1)
    kill(process)
    ledger.close_file()


def test_an_owner_that_shows_life_is_never_taken_for_dead(place: str) -> None:
    body = """
        import time
        sent(0.05)
        print("ready", flush=True)
        while True:
            ledger.keep_alive()
            time.sleep(0.05)
    """
    process = child(body, place)
    assert lines_of(process, 1) == ["ready"]
    ledger = ledger_at(place, dead_after=1.0)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert ledger.recover() == 0
        time.sleep(0.05)
    kill(process)
    ledger.close_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and exec")
def test_a_restart_by_exec_is_another_owner_and_waits_for_nothing(place: str) -> None:
    """exec keeps the process number and its start time."""
    again = HEAD + "print(ledger.recover(), flush=True)"
    body = f"""
        import os
        sent(0.05)
        os.execv(sys.executable, [sys.executable, "-c", {again!r}, sys.argv[1]])
    """
    process = child(body, place)
    assert process.communicate(timeout=30)[0].split() == ["1"]


def test_a_container_with_our_host_name_and_other_process_numbers_is_no_proof_of_death(
    place: str, ledger: Ledger, clock: Clock
) -> None:
    """Nor is any age: only a counter that was seen to stand still."""
    sent(ledger)
    me = this_owner()
    _owned_by(place, token="other", pid_namespace="pid:[1]", pid=me.pid + 100_000, started="1")
    clock.now += 30 * DAY
    assert ledger.recover() == 0
    with pytest.raises(RunningElsewhere, match=f"process {me.pid + 100_000} on"):
        ledger.open(call(), FREE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux proves a death")
@pytest.mark.parametrize(
    "facts", [{"pid": 2**22 + 5}, {"pid": os.getppid(), "started": "1"}], ids=["gone", "recycled"]
)
def test_a_death_that_can_be_proved_is_known_at_once(
    place: str, ledger: Ledger, facts: dict[str, object]
) -> None:
    sent(ledger)
    _owned_by(place, token="other", **facts)
    assert ledger.recover() == 1


def _owned_by(place: str, token: str, **facts: object) -> None:
    """Writes another owner over this one in the ledger."""
    for column, value in {"token": token, **facts}.items():
        run_sql(place, f"UPDATE owners SET {column} = :value", value=value)
    run_sql(place, "UPDATE calls SET owner = :token", token=token)


@contextlib.contextmanager
def _stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    if not hasattr(signal, "SIGSTOP"):
        pytest.skip("needs SIGSTOP")
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def _wait_until_dead(ledger: Ledger) -> None:
    until = time.monotonic() + 20
    while ledger.spend().in_flight.calls and time.monotonic() < until:
        ledger.recover()
        time.sleep(0.02)
    assert ledger.spend().in_flight.calls == 0


def test_the_same_request_in_another_living_process_is_told(place: str) -> None:
    body = """
        row = sent()
        print("ready", flush=True)
        input()
        ledger.close(row, Outcome.DELIVERED)
        print("closed", flush=True)
        input()
    """
    process = child(body, place)
    ledger = ledger_at(place)
    assert lines_of(process, 1) == ["ready"]
    with pytest.raises(RunningElsewhere):
        ledger.open(call(), FREE)
    assert ledger.open(call(key="b" * 64), FREE)
    say(process)
    assert lines_of(process, 1) == ["closed"]
    assert ledger.open(call(), FREE)
    assert ledger.open(call(), FREE), "our own call is not elsewhere"
    kill(process)
    ledger.close_file()


def test_whoever_waited_for_a_call_of_a_process_that_died_waits_until_it_is_recovered(
    place: str,
) -> None:
    """Bought at once, it would be bought twice and nobody told."""
    body = """
        print(sent(), opened(key="b" * 64), sep="\\n", flush=True)
        input()
    """
    process = child(body, place)
    ledger = ledger_at(place)
    sent, unsent = lines_of(process, 2)
    kill(process)
    with pytest.raises(RunningElsewhere):
        ledger.open(call(), FREE, joined=sent)
    assert ledger.open(call(key="b" * 64), FREE, joined=unsent), "that one was never sent"
    assert ledger.recover() == 1
    with pytest.raises(LostElsewhere):
        ledger.open(call(), FREE, joined=sent)
    ledger.close_file()


def test_the_job_of_a_dead_process_can_be_resumed_and_of_a_living_one_not(place: str) -> None:
    body = """
        ledger.set_job(sent(), "old job")
        ledger.set_job(sent(), "job")
        print("ready", flush=True)
        input()
    """
    process = child(body, place)
    clock = Clock(time.time())
    ledger = ledger_at(place, clock)
    assert lines_of(process, 1) == ["ready"]
    assert ledger.find_job(KEY) is None
    kill(process)
    assert ledger.recover() == 0
    job = ledger.find_job(KEY)
    assert job is not None
    assert (job.job_id, job.profile) == ("job", "work")
    clock.now += 2 * DAY
    assert ledger.recover() == 1, "the older job, unasked for a day; the newer one is ours now"
    ledger.close(job.row, DELIVERED, cost_usd=0.04)
    assert ledger.find_job(KEY) is None
    ledger.close_file()


@pytest.mark.parametrize("machines", [2, 5])
def test_one_of_the_machines_that_start_together_brings_the_tables_up_to_date(
    postgres: str, machines: int
) -> None:
    """What is in them stays, and nobody meets tables that are half made."""
    body = """
        import dataclasses
        from mai_image.mai.database import database_at
        from mai_image.mai.ledger.tables import SCHEMA
        slow = ["SELECT pg_sleep(1)", "ALTER TABLE calls ADD COLUMN new text DEFAULT 'made'"]
        made = SCHEMA.version
        newer = dataclasses.replace(SCHEMA, version=made + 1, server_upgrades={made: slow})
        ledger = Ledger(DatabaseServer(place), schema=newer)
        print("ready", flush=True)
        input()
        ledger.close(opened(0.04, sys.argv[2] * 64), Outcome.DELIVERED, cost_usd=0.01)
        print(ledger.spend().total.calls)
    """
    old = ledger_at(postgres)
    old.close(old.open(call(0.04, key="f" * 64), FREE), DELIVERED, cost_usd=0.01)
    old.close_file()
    processes = [child(body, postgres, str(number)) for number in range(machines)]
    for each in processes:
        assert lines_of(each, 1) == ["ready"]
    for each in processes:
        say(each)
    counts = [int(each.communicate(timeout=60)[0]) for each in processes]
    assert max(counts) == machines + 1
    late = ledger_at(postgres)
    with pytest.raises(StoreError, match="newer MAI Image"):
        late.spend()
    late.close_file()


def test_tables_of_a_version_that_nobody_knows_are_left_alone(postgres: str) -> None:
    ledger = ledger_at(postgres)
    ledger.close(ledger.open(call(), FREE), DELIVERED)
    run_sql(postgres, "UPDATE versions SET version = 1 WHERE part = 'ledger'")
    ledger.close_file()
    with pytest.raises(StoreError, match="has version 1"):
        ledger.spend()
    with psycopg.connect(postgres) as sql:
        sql.execute(f"UPDATE mai_image.versions SET version = {SCHEMA.version}")
    assert ledger.spend().total.calls == 1
    ledger.close_file()
