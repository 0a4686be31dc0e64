"""The ledger among threads and processes, living, killed and recycled."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_helpers import DAY, DELIVERED, FREE, KEY, Clock, call
from mai_image.mai.errors import BudgetError, RunningElsewhere
from mai_image.mai.ledger import Ledger, Sum, processes
from mai_image.mai.types import Budget


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite", clock)
    yield ledger
    ledger.dispose()


def _tries(path: Path, count: int) -> int:
    ledger, opened = Ledger(path), 0
    for _ in range(count):
        try:
            row = ledger.open(call(0.01), Budget(day=0.2, month=0.2))
        except BudgetError:
            continue
        opened += 1
        ledger.close(row, DELIVERED, cost_usd=0.01)
    ledger.dispose()
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


HEAD = """
import sys, time
from pathlib import Path
from mai_image.mai.errors import BudgetError
from mai_image.mai.ledger import Call, Ledger, Outcome
from mai_image.mai.types import Budget
ledger = Ledger(Path(sys.argv[1]))
def call(estimate=0.04, key="a" * 64):
    return Call(key, "work", "foundry", "m", "generate", estimate)
"""


def child(body: str, path: Path) -> subprocess.Popen[str]:
    """A process of its own with a ledger; it prints, and waits for a line where it says input()."""
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + textwrap.dedent(body), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_processes_racing_for_one_budget_never_overshoot_together(tmp_path: Path) -> None:
    body = """
        opened = 0
        print("ready", flush=True)
        input()
        for _ in range(20):
            try:
                row = ledger.open(call(0.01), Budget(day=0.3))
            except BudgetError:
                continue
            opened += 1
            if opened % 2:
                ledger.close(row, Outcome.DELIVERED, cost_usd=0.01)
        print(opened)
    """
    racers = [child(body, tmp_path / "l.sqlite") for _ in range(3)]
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
        ledger.open(call(0.04), Budget())
        ledger.mark(ledger.open(call(0.05), Budget(), out=False), True, "dep")
        ledger.open(call(0.06), Budget(), out=False)
        ledger.mark(ledger.open(call(0.07), Budget()), False)
        ledger.close(ledger.open(call(0.08), Budget()), Outcome.DELIVERED, cost_usd=0.08)
        print("ready", flush=True)
        input()
    """
    process = child(body, tmp_path / "l.sqlite")
    assert lines_of(process, 1) == ["ready"]
    ledger = Ledger(tmp_path / "l.sqlite")
    mine = ledger.open(call(0.5), FREE)
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
    ledger.dispose()


def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path: Path) -> None:
    process = child(
        "ledger.open(call(), Budget()); print('ready', flush=True); input()", tmp_path / "l.sqlite"
    )
    assert lines_of(process, 1) == ["ready"]
    process.kill()
    ledger = Ledger(tmp_path / "l.sqlite")
    until = time.monotonic() + 10
    while not (count := ledger.recover()) and time.monotonic() < until:
        time.sleep(0.01)
    process.communicate(timeout=30)
    ledger.dispose()
    assert count == 1


def test_a_process_killed_at_any_moment_leaves_a_ledger_that_adds_up(tmp_path: Path) -> None:
    body = """
        print("ready", flush=True)
        while True:
            row = ledger.open(call(0.01), Budget())
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
    ledger.dispose()
    assert spend.in_flight.calls == 0
    assert said.count("opened") <= spend.today.calls <= said.count("opened") + 3
    assert spend.today.usd == pytest.approx(spend.today.calls * 0.01)
    assert spend.today.calls - len(spend.perhaps_billed) >= said.count("closed")


def _owned_by(ledger: Ledger, row: int, **owner: object) -> None:
    with ledger._database.write() as sql:
        for column, value in owner.items():
            sql.execute(f"UPDATE calls SET {column} = ? WHERE id = ?", (value, row))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only with psutil")
def test_a_recycled_process_number_is_not_taken_for_the_owner(ledger: Ledger) -> None:
    row = ledger.open(call(), FREE)
    _owned_by(ledger, row, pid=os.getppid(), started="1@another boot")
    assert ledger.recover() == 1


@pytest.mark.parametrize(("age", "recovered"), [(60, 0), (3700, 1)])
def test_a_call_of_another_machine_is_given_an_hour(
    ledger: Ledger, clock: Clock, age: float, recovered: int
) -> None:
    row = ledger.open(call(), FREE)
    _owned_by(ledger, row, machine="another")
    clock.now += age
    assert ledger.running_elsewhere(KEY) == (not recovered)
    assert ledger.recover() == recovered


@pytest.mark.parametrize("step", ["close", "mark and close"])
def test_an_owner_that_lives_after_all_still_has_the_last_word(
    ledger: Ledger, clock: Clock, step: str
) -> None:
    row = ledger.open(call(0.05), FREE)
    _owned_by(ledger, row, machine="another")
    clock.now += 3700
    assert ledger.recover() == 1
    assert ledger.spend().total == Sum(0.05, 1)
    if step == "mark and close":
        ledger.mark(row, True, "dep")
        assert (ledger.spend().total, ledger.spend().in_flight.calls) == (Sum(0.0, 0), 1)
    ledger.close(row, DELIVERED, cost_usd=0.03)
    assert ledger.spend().total == Sum(0.03, 1)
    assert ledger.spend().perhaps_billed == ()


def test_the_same_request_in_another_living_process_is_told(tmp_path: Path) -> None:
    body = """
        row = ledger.open(call(), Budget())
        print("ready", flush=True)
        input()
        ledger.close(row, Outcome.DELIVERED)
        print("closed", flush=True)
        input()
    """
    process = child(body, tmp_path / "l.sqlite")
    ledger = Ledger(tmp_path / "l.sqlite")
    assert lines_of(process, 1) == ["ready"]
    assert ledger.running_elsewhere(KEY)
    with pytest.raises(RunningElsewhere):
        ledger.open(call(), FREE, alone=True)
    assert ledger.open(call(key="b" * 64), FREE, alone=True)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert lines_of(process, 1) == ["closed"]
    assert not ledger.running_elsewhere(KEY)
    assert ledger.open(call(), FREE, alone=True)
    assert ledger.open(call(), FREE, alone=True), "our own call is not elsewhere"
    kill(process)
    ledger.dispose()


def test_the_job_of_a_dead_process_can_be_resumed_and_of_a_living_one_not(tmp_path: Path) -> None:
    body = """
        ledger.set_job(ledger.open(call(), Budget()), "old job")
        ledger.set_job(ledger.open(call(), Budget()), "job")
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
    ledger.dispose()


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
