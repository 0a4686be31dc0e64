"""The ledger among threads and processes, living, killed and recycled."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from ledger_helpers import (
    DAY,
    DELIVERED,
    FREE,
    KEY,
    WITHDRAWN,
    Clock,
    call,
    child,
    kill,
    lines_of,
    sent,
)
from mai_image.mai.errors import BudgetError, RunningElsewhere
from mai_image.mai.ledger import Ledger, Sum, processes
from mai_image.mai.types import Budget


def _tries(path: Path, count: int) -> int:
    ledger, opened = Ledger(path), 0
    for _ in range(count):
        try:
            row = ledger.open(call(0.01), Budget(day=0.2, month=0.2))
        except BudgetError:
            continue
        opened += 1
        ledger.close(row, DELIVERED, cost_usd=0.01)
    ledger.close_file()
    return opened


def test_threads_with_one_ledger_each_never_overshoot_together(tmp_path: Path) -> None:
    opened: list[int] = []
    threads = [
        threading.Thread(target=lambda: opened.append(_tries(tmp_path / "l.sqlite", 10)))
        for _ in range(6)
    ]
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


def test_processes_racing_for_one_budget_never_overshoot_together(tmp_path: Path) -> None:
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
    racers = [child(body, tmp_path / "l.sqlite", name) for name in "123"]
    for racer in racers:
        assert lines_of(racer, 1) == ["ready"]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    opened = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert sum(opened) == 30


def test_the_calls_of_a_killed_process_become_perhaps_billed_or_withdrawn(tmp_path: Path) -> None:
    body = """
        sent(0.04)
        ledger.mark_sent(opened(0.05), "dep")
        opened(0.06)
        ledger.mark_not_sent(sent(0.07))
        ledger.close(sent(0.08), Outcome.DELIVERED, cost_usd=0.08)
        print("ready", flush=True)
        input()
    """
    process = child(body, tmp_path / "l.sqlite")
    assert lines_of(process, 1) == ["ready"]
    ledger = Ledger(tmp_path / "l.sqlite")
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
    assert ledger.rows(1)[0]["id"] == mine
    ledger.close_file()


def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path: Path) -> None:
    process = child("sent(); print('ready', flush=True); input()", tmp_path / "l.sqlite")
    assert lines_of(process, 1) == ["ready"]
    process.kill()
    ledger = Ledger(tmp_path / "l.sqlite")
    until = time.monotonic() + 10
    while not (count := ledger.recover()) and time.monotonic() < until:
        time.sleep(0.01)
    process.communicate(timeout=30)
    ledger.close_file()
    assert count == 1


def test_a_process_killed_at_any_moment_leaves_a_ledger_that_adds_up(tmp_path: Path) -> None:
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
        process = child(body, tmp_path / "l.sqlite")
        said += lines_of(process, 4)
        time.sleep(wait)
        process.kill()
        said += process.communicate(timeout=30)[0].split()
    ledger = Ledger(tmp_path / "l.sqlite")
    assert 0 <= ledger.recover() <= 3
    spend = ledger.spend()
    ledger.close_file()
    assert spend.in_flight.calls == 0
    assert said.count("opened") <= spend.today.calls <= said.count("opened") + 3
    assert spend.today.usd == pytest.approx(spend.today.calls * 0.01)
    assert spend.today.calls - len(spend.perhaps_billed) >= said.count("closed")


def _owned_by(folder: Path, row: int, **owner: object) -> None:
    """Writes another owner into the ledger's file."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as sql, sql:
        for column, value in owner.items():
            sql.execute(f"UPDATE calls SET {column} = ? WHERE id = ?", (value, row))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only with psutil")
def test_a_recycled_process_number_is_not_taken_for_the_owner(
    tmp_path: Path, ledger: Ledger
) -> None:
    row = sent(ledger)
    _owned_by(tmp_path, row, pid=os.getppid(), started="1@another boot")
    assert ledger.recover() == 1


@pytest.mark.parametrize(("age", "recovered"), [(60, 0), (3700, 1)])
def test_a_call_of_another_machine_is_given_an_hour(
    tmp_path: Path, ledger: Ledger, clock: Clock, age: float, recovered: int
) -> None:
    row = sent(ledger)
    _owned_by(tmp_path, row, machine="another")
    clock.now += age
    if recovered:
        ledger.close(ledger.open(call(), FREE), WITHDRAWN)
    else:
        with pytest.raises(RunningElsewhere):
            ledger.open(call(), FREE)
    assert ledger.recover() == recovered


@pytest.mark.parametrize("step", ["close", "mark and close"])
def test_an_owner_that_lives_after_all_still_has_the_last_word(
    tmp_path: Path, ledger: Ledger, clock: Clock, step: str
) -> None:
    row = sent(ledger, 0.05)
    _owned_by(tmp_path, row, machine="another")
    clock.now += 3700
    assert ledger.recover() == 1
    assert ledger.spend().total == Sum(0.05, 1)
    if step == "mark and close":
        ledger.mark_sent(row, "dep")
        assert (ledger.spend().total, ledger.spend().in_flight.calls) == (Sum(0.0, 0), 1)
    ledger.close(row, DELIVERED, cost_usd=0.03)
    assert ledger.spend().total == Sum(0.03, 1)
    assert ledger.spend().perhaps_billed == ()


def test_the_same_request_in_another_living_process_is_told(tmp_path: Path) -> None:
    body = """
        row = sent()
        print("ready", flush=True)
        input()
        ledger.close(row, Outcome.DELIVERED)
        print("closed", flush=True)
        input()
    """
    process = child(body, tmp_path / "l.sqlite")
    ledger = Ledger(tmp_path / "l.sqlite")
    assert lines_of(process, 1) == ["ready"]
    with pytest.raises(RunningElsewhere):
        ledger.open(call(), FREE)
    assert ledger.open(call(key="b" * 64), FREE)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert lines_of(process, 1) == ["closed"]
    assert ledger.open(call(), FREE)
    assert ledger.open(call(), FREE), "our own call is not elsewhere"
    kill(process)
    ledger.close_file()


def test_the_job_of_a_dead_process_can_be_resumed_and_of_a_living_one_not(tmp_path: Path) -> None:
    body = """
        ledger.set_job(sent(), "old job")
        ledger.set_job(sent(), "job")
        print("ready", flush=True)
        input()
    """
    process = child(body, tmp_path / "l.sqlite")
    clock = Clock(time.time())
    ledger = Ledger(tmp_path / "l.sqlite", clock)
    assert lines_of(process, 1) == ["ready"]
    assert ledger.find_job(KEY) is None
    kill(process)
    assert ledger.recover() == 0
    job = ledger.find_job(KEY)
    assert job is not None
    assert (job.job_id, job.profile) == ("job", "work")
    clock.now += 8 * DAY
    assert ledger.recover() == 1, "the older job, unasked for a week; the newer one is ours now"
    ledger.close(job.row, DELIVERED, cost_usd=0.04)
    assert ledger.find_job(KEY) is None
    ledger.close_file()


def test_this_process_lives_and_one_that_never_was_does_not() -> None:
    me = processes.this_process()
    assert processes.alive(me) is True
    assert processes.alive(processes.Owner(me.machine, 2**22 + 5, me.started)) is False
    assert processes.alive(processes.Owner("another", me.pid, me.started)) is None


@pytest.mark.parametrize("psutil", ["absent", "present"])
def test_where_there_is_no_proc_liveness_still_works(
    monkeypatch: pytest.MonkeyPatch, psutil: str
) -> None:
    me, parent = processes.this_process(), os.getppid()
    monkeypatch.setattr(processes.sys, "platform", "darwin")
    if psutil == "absent":
        monkeypatch.setitem(sys.modules, "psutil", None)
        first = later = ""
    else:
        monkeypatch.setitem(sys.modules, "psutil", _Psutil)
        first, later = "100.00", "101.00"
    assert processes.alive(processes.Owner(me.machine, parent, first)) is True
    assert processes.alive(processes.Owner(me.machine, parent, later)) is (psutil == "absent")
    assert processes.alive(processes.Owner(me.machine, 2**22 + 5, first)) is False


class _Psutil:
    STATUS_ZOMBIE = "zombie"

    class Error(Exception):
        pass

    class NoSuchProcess(Error):
        pass

    class Process:
        def __init__(self, pid: int) -> None:
            if pid != os.getppid():
                raise _Psutil.NoSuchProcess

        def status(self) -> str:
            return "running"

        def create_time(self) -> float:
            return 100.0
