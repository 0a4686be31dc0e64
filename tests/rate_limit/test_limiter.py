"""The shared queue: order, waiting time, cancelling, lanes, other processes and broken files.

Most tests run on a virtual clock (seconds cost nothing); those with other processes on the real.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mai_image.benchmarks.virtual_time import VirtualLoop, run
from mai_image.mai.errors import StoreError
from mai_image.mai.rate_limit import Deployment, RateLimiter
from mai_image.mai.rate_limit import queue_file as quota_file

SLOW = Deployment("slow", 2.0)
"""Two at once, then one in 30.6 s (the quota's 30 s, and 2 % of margin)."""
STEP = 30.6


class Bench:
    """A quota file on a virtual clock, and the turns that were given, as (name, lane, second)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "quota.sqlite"
        self.loop = VirtualLoop()
        self.turns: list[tuple[str, str, float]] = []

    def quota(self) -> RateLimiter:
        """One process's quota."""
        return RateLimiter(self.path, clock=self.loop.time)

    def ask(
        self, quota: RateLimiter, name: str, *lanes: Deployment, **options: Any
    ) -> asyncio.Task[None]:
        """Ask for a turn and note when it came."""

        async def turn() -> None:
            lane = await quota.acquire(lanes, **options)
            self.turns.append((name, lane.name, round(self.loop.time(), 1)))

        return self.loop.create_task(turn())

    def names(self) -> list[str]:
        """Who had a turn, in order."""
        return [name for name, _, _ in self.turns]

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a test's body to its end."""
        run(main, self.loop)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_turns_come_in_the_order_of_asking_also_from_several_processes(bench: Bench):
    async def body() -> None:
        one, other = bench.quota(), bench.quota()
        tasks = []
        for name, quota in zip("abcdef", [one, other, other, one, other, one], strict=True):
            tasks.append(bench.ask(quota, name, SLOW))
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)

    bench.run(body())
    assert bench.names() == list("abcdef")
    gaps = [b[2] - a[2] for a, b in pairwise(bench.turns[1:])]
    assert all(STEP - 0.5 < gap < STEP + 0.5 for gap in gaps)


def test_a_burst_of_two_processes_is_as_fast_as_that_of_one(bench: Bench):
    async def body() -> None:
        quotas = bench.quota(), bench.quota()
        lane = Deployment("fast", 60.0)
        await asyncio.gather(*(bench.ask(quotas[i % 2], str(i), lane) for i in range(60)))

    bench.run(body())
    assert bench.turns[-1][2] < 5.0


def test_the_waiting_time_is_told_every_second_and_is_true(bench: Bench):
    told: list[tuple[float, float, float | None]] = []

    async def body() -> None:
        quota = bench.quota()

        def hear(seconds: float, rpm: float | None) -> None:
            told.append((bench.loop.time(), seconds, rpm))

        tasks = [bench.ask(quota, name, SLOW) for name in "abc"]
        await asyncio.gather(*tasks, bench.ask(quota, "d", SLOW, on_wait=hear))

    bench.run(body())
    turn = bench.turns[-1][2]
    assert told[0][0] < 0.1
    assert all(rpm == 2.0 for _, _, rpm in told)
    assert all(at + seconds == pytest.approx(turn, abs=1.0) for at, seconds, _ in told)
    times = [at for at, _, _ in told] + [turn]
    assert max(b - a for a, b in pairwise(times)) <= 1.05


def test_whoever_need_not_wait_is_not_told_to(bench: Bench):
    def never(seconds: float, rpm: float | None) -> None:
        raise AssertionError("nobody is before me")

    async def body() -> None:
        await bench.ask(bench.quota(), "a", SLOW, on_wait=never)

    bench.run(body())
    assert bench.turns == [("a", "slow", 0.0)]


def test_cancelling_lets_the_next_move_up_at_once_in_every_process(bench: Bench):
    told: list[float] = []

    async def body() -> None:
        one, other = bench.quota(), bench.quota()
        tasks = [bench.ask(one, name, SLOW) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks += [bench.ask(other, "d", SLOW, on_wait=lambda seconds, rpm: told.append(seconds))]
        await asyncio.sleep(5)
        assert told[-1] > 50
        tasks[2].cancel()
        await asyncio.sleep(0.3)
        assert told[-1] < 30
        await asyncio.gather(*tasks, return_exceptions=True)

    bench.run(body())
    assert bench.names() == ["a", "b", "d"]
    assert bench.turns[-1][2] == pytest.approx(STEP, abs=0.5)


@pytest.mark.parametrize("steps", range(8))
def test_a_turn_cancelled_at_any_moment_is_not_lost_for_the_others(bench: Bench, steps: int):
    """The cancel comes before, while or after the turn is given."""

    async def body() -> None:
        quota, lane = bench.quota(), Deployment("single", 1.0)
        task = bench.ask(quota, "cancelled", lane)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bench.ask(quota, "next", lane)

    bench.run(body())
    at = bench.turns[-1][2]
    assert at < 1.0 if bench.names() == ["next"] else at > 60.0


def test_an_error_in_on_wait_reaches_the_caller_and_takes_the_ticket_back(bench: Bench):
    def fail(seconds: float, rpm: float | None) -> None:
        raise RuntimeError("the caller's own")

    async def body() -> None:
        quota = bench.quota()
        await asyncio.gather(bench.ask(quota, "a", SLOW), bench.ask(quota, "b", SLOW))
        with pytest.raises(RuntimeError, match="the caller's own"):
            await bench.ask(quota, "c", SLOW, on_wait=fail)
        await bench.ask(quota, "d", SLOW)

    bench.run(body())
    assert bench.turns[-1][0::2] == ("d", pytest.approx(STEP, abs=0.5))


def test_a_refusal_pauses_the_waiters_of_every_process_until_its_retry_after(bench: Bench):
    async def body() -> None:
        one, other, lane = bench.quota(), bench.quota(), Deployment("busy", 60.0)
        await bench.ask(one, "refused", lane)
        one.refused(lane, 40.0)
        tasks = [bench.ask(quota, "later", lane) for quota in (one, other, one, other)]
        await asyncio.gather(*tasks)

    bench.run(body())
    later = [at for name, _, at in bench.turns if name == "later"]
    assert later[0] == pytest.approx(40.0, abs=0.1)
    assert later[1] >= 40.3


def test_a_refused_call_goes_before_those_that_had_no_turn_yet(bench: Bench):
    async def body() -> None:
        quota = bench.quota()
        await asyncio.gather(*(bench.ask(quota, name, SLOW) for name in "ab"))
        quota.refused(SLOW, 20.0)
        waiting = [bench.ask(quota, name, SLOW) for name in "cd"]
        await asyncio.sleep(0.1)
        again = bench.ask(quota, "b again", SLOW, first=True)
        await asyncio.gather(*waiting, again)

    bench.run(body())
    assert bench.names() == ["a", "b", "b again", "c", "d"]


def test_lanes_share_the_load_in_the_order_of_asking(bench: Bench):
    left, right = Deployment("left", 1.0), Deployment("right", 1.0)

    async def body() -> None:
        quota = bench.quota()
        await asyncio.gather(*(bench.ask(quota, name, left, right) for name in "abcd"))

    bench.run(body())
    assert bench.names() == list("abcd")
    assert sorted(lane for _, lane, _ in bench.turns[:2]) == ["left", "right"]
    assert bench.turns[1][2] < 1.0
    assert sorted(lane for _, lane, _ in bench.turns[2:]) == ["left", "right"]
    assert bench.turns[3][2] == pytest.approx(61.2, abs=1.0)


def test_a_paused_lane_is_passed_over_and_does_not_hold_up_the_other(bench: Bench):
    left, right = Deployment("left", 60.0), Deployment("right", 60.0)

    async def body() -> None:
        quota = bench.quota()
        await bench.ask(quota, "first", left)
        quota.refused(left, 500.0)
        only_left = bench.ask(quota, "left only", left)
        await asyncio.gather(*(bench.ask(quota, "either", left, right) for _ in range(5)))
        assert not only_left.done()
        await only_left

    bench.run(body())
    assert {lane for name, lane, _ in bench.turns if name == "either"} == {"right"}
    assert bench.turns[-1] == ("left only", "left", pytest.approx(500.0, abs=0.2))


def test_an_empty_choice_of_lanes_is_refused(bench: Bench):
    async def body() -> None:
        with pytest.raises(ValueError, match="at least one lane"):
            await bench.quota().acquire([])

    bench.run(body())


def test_what_headers_and_refusals_taught_outlives_the_process(bench: Bench):
    unknown = Deployment("unknown")
    rates: list[float | None] = []

    async def body() -> None:
        before = bench.quota()
        before.learn(unknown, limit=3.0, remaining=2.0, reset=10.0)
        before.close()
        after = bench.quota()

        def hear(seconds: float, rpm: float | None) -> None:
            rates.append(rpm)

        await asyncio.gather(*(bench.ask(after, "x", unknown, on_wait=hear) for _ in range(5)))

    bench.run(body())
    assert set(rates) == {3.0}
    assert bench.turns[-1][2] > 35


@pytest.mark.parametrize("limit", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_headers_without_a_usable_limit_change_nothing(bench: Bench, limit: float | None):
    async def body() -> None:
        quota = bench.quota()
        quota.learn(SLOW, limit)
        await asyncio.gather(*(bench.ask(quota, name, SLOW) for name in "abc"))

    bench.run(body())
    assert bench.turns[-1][2] == pytest.approx(STEP, abs=0.5)


def test_a_clock_that_begins_anew_neither_blocks_nor_lets_loose(bench: Bench):
    """As after a reboot: stored times lie far ahead."""
    offset = 5e6

    async def body() -> None:
        nonlocal offset
        quota = RateLimiter(bench.path, clock=lambda: bench.loop.time() + offset)
        await asyncio.gather(bench.ask(quota, "a", SLOW), bench.ask(quota, "b", SLOW))
        waiting = bench.ask(quota, "c", SLOW)
        await asyncio.sleep(10)
        offset = 0.0
        await asyncio.gather(waiting, bench.ask(quota, "d", SLOW))

    bench.run(body())
    assert bench.names() == list("abcd")
    assert STEP - 0.5 < bench.turns[2][2] < STEP + 12
    assert bench.turns[3][2] - bench.turns[2][2] == pytest.approx(STEP, abs=0.5)


def test_a_clock_that_leaps_ahead_lets_at_most_one_burst_go(bench: Bench):
    offset = 0.0

    async def body() -> None:
        nonlocal offset
        quota = RateLimiter(bench.path, clock=lambda: bench.loop.time() + offset)
        tasks = [bench.ask(quota, str(i), SLOW) for i in range(6)]
        await asyncio.sleep(5)
        offset = 1e6
        await asyncio.gather(*tasks)

    bench.run(body())
    assert sum(at < 20 for _, _, at in bench.turns) == 4


def test_a_ticket_that_was_taken_for_dead_goes_back_to_its_old_place(bench: Bench):
    async def body() -> None:
        one, other = bench.quota(), bench.quota()
        tasks = [bench.ask(one, name, SLOW) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks.append(bench.ask(other, "d", SLOW))
        await asyncio.sleep(0.5)
        with sqlite3.connect(bench.path) as file:
            file.execute("DELETE FROM tickets WHERE id = (SELECT min(id) FROM tickets)")
        file.close()
        await asyncio.gather(*tasks)

    bench.run(body())
    assert bench.names() == list("abcd")


def test_a_prompt_of_its_own_event_loop_each_can_use_one_quota(tmp_path: Path):
    quota, lane = RateLimiter(tmp_path / "quota.sqlite"), Deployment("fast", 600.0)
    for _ in range(2):
        assert asyncio.run(quota.acquire([lane])) == lane


def test_the_event_loop_goes_on_while_another_process_holds_the_file(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    quota, lane = RateLimiter(path), Deployment("fast", 600.0)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    async def body() -> float:
        await quota.acquire([lane])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        watcher = asyncio.create_task(watch())
        asked = asyncio.create_task(quota.acquire([lane]))
        quota.refused(lane, 0.1)
        await asyncio.sleep(0.4)
        assert not asked.done()
        holder.execute("COMMIT")
        holder.close()
        freed = time.perf_counter()
        await asyncio.wait_for(asked, 5)
        watcher.cancel()
        return time.perf_counter() - freed

    assert asyncio.run(body()) >= 0.09, "the refusal reported meanwhile was lost"
    assert longest < 0.2


@pytest.mark.parametrize("lanes", [["held"], ["held", "free"]])
def test_a_killed_process_leaves_no_ticket_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: list[str]
):
    monkeypatch.setattr(quota_file, "DEAD_AFTER", 0.3)
    path = tmp_path / "quota.sqlite"
    script = (
        "import asyncio, pathlib, sys\n"
        "from mai_image.mai.rate_limit import Deployment, RateLimiter\n"
        "quota = RateLimiter(pathlib.Path(sys.argv[1]))\n"
        "lanes = [Deployment(n, 60) for n in sys.argv[2:]]\n"
        "async def main():\n"
        "    for lane in lanes:\n"
        "        await quota.acquire([lane])\n"
        "        quota.refused(lane, 1.2)\n"
        "    await quota.acquire(lanes, lambda seconds, rpm: print('waiting', flush=True))\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(path), *lanes]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"waiting"
    child.kill()
    child.wait()
    child.stdout.close()
    quota = RateLimiter(path)
    asyncio.run(asyncio.wait_for(quota.acquire([Deployment(name, 60.0) for name in lanes]), 10))
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM tickets").fetchone() == (0,)
    file.close()


CHILD = """
import asyncio, pathlib, sys, time
from mai_image.mai.rate_limit import Deployment, RateLimiter
quota, lane = RateLimiter(pathlib.Path(sys.argv[1])), Deployment("shared", 600.0)
print("ready", flush=True)
sys.stdin.readline()
async def main():
    for _ in range(8):
        await quota.acquire([lane])
        print(time.perf_counter(), flush=True)
asyncio.run(main())
"""


def test_two_processes_share_one_rate_and_take_turns(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    quota, lane = RateLimiter(path), Deployment("shared", 600.0)
    asyncio.run(quota.acquire([lane]))
    asyncio.run(quota.acquire([lane]))
    quota.refused(lane, 0.05)
    quota.close()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CHILD, str(path)]
    children = [subprocess.Popen(command, cwd=tmp_path, **pipes) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    starts = [
        (float(line), number)
        for number, child in enumerate(children)
        for line in child.communicate(timeout=30)[0].split()
    ]
    starts.sort()
    times = [at for at, _ in starts]
    assert len(times) == 16
    assert min(b - a for a, b in pairwise(times)) > 0.09
    middle = [number for _, number in starts[3:13]]
    assert 3 <= middle.count(0) <= 7


def write_garbage(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)


def write_other_version(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE tickets (other TEXT)")
        file.execute("PRAGMA user_version = 99")
    file.close()


@pytest.mark.parametrize("spoil", [write_garbage, write_other_version])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, spoil: Callable[[Path], None]):
    path = tmp_path / "folder" / "quota.sqlite"
    path.parent.mkdir()
    spoil(path)
    assert asyncio.run(RateLimiter(path).acquire([SLOW])) == SLOW


def test_a_pace_of_another_form_is_learned_anew(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    quota = RateLimiter(path)
    asyncio.run(quota.acquire([SLOW]))
    with sqlite3.connect(path) as file:
        file.execute('UPDATE lanes SET pace = \'{"of": "a later version"}\'')
    file.close()
    assert asyncio.run(quota.acquire([SLOW])) == SLOW


def test_a_file_that_cannot_be_made_is_an_error_for_everyone_who_waits(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    path.mkdir()

    async def body() -> list[object]:
        quota = RateLimiter(path)
        quota.refused(SLOW, 1.0)
        asked: list[Awaitable[object]] = [quota.acquire([SLOW]) for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(body())
    assert all(isinstance(each, StoreError) for each in found)
    assert "Nothing was sent" in str(found[0])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_for_this_user_only(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    asyncio.run(RateLimiter(path).acquire([SLOW]))
    assert path.stat().st_mode & 0o077 == 0
