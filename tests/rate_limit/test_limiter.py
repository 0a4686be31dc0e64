"""The shared queue: order, waiting time, cancelling, deployments, other processes and broken files.

Most tests run on a virtual clock (seconds cost nothing); those with other processes on the real.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from mai_image.mai.errors import StoreError
from mai_image.mai.rate_limit import CooldownTooLong, Deployment, RateLimiter
from shared_queue import ENGINES, SharedQueue, queue_on

SLOW = Deployment("slow", 2.0)
"""Two at once, then one in 30.6 s (the quota's 30 s, and 2 % of margin)."""
STEP = 30.6

Heard = list[tuple[float, float]]
"""When a wait was reported, and its seconds."""


@pytest.fixture(params=ENGINES)
def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedQueue]:
    yield from queue_on(request.param, request, monkeypatch)


def test_slots_come_in_the_order_of_asking_also_from_several_processes(shared: SharedQueue):
    async def body() -> None:
        one, other = shared.limiter(), shared.limiter()
        tasks = []
        for name, limiter in zip("abcdef", [one, other, other, one, other, one], strict=True):
            tasks.append(shared.ask(limiter, name, SLOW))
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names() == list("abcdef")
    gaps = [b[2] - a[2] for a, b in pairwise(shared.slots[1:])]
    assert all(STEP - 0.5 < gap < STEP + 0.5 for gap in gaps)


def test_a_burst_of_two_processes_is_as_fast_as_that_of_one(shared: SharedQueue):
    async def body() -> None:
        limiters = shared.limiter(), shared.limiter()
        deployment = Deployment("fast", 60.0)
        await asyncio.gather(*(shared.ask(limiters[i % 2], str(i), deployment) for i in range(60)))

    shared.run(body())
    assert shared.slots[-1][2] < 5.0


def test_the_waiting_time_is_reported_every_second_and_is_true(shared: SharedQueue):
    reported: list[tuple[float, float, float | None]] = []

    async def body() -> None:
        limiter = shared.limiter()

        def hear(seconds: float, rpm: float | None) -> None:
            reported.append((shared.loop.time(), seconds, rpm))

        tasks = [shared.ask(limiter, name, SLOW) for name in "abc"]
        await asyncio.gather(*tasks, shared.ask(limiter, "d", SLOW, on_wait=hear))

    shared.run(body())
    slot = shared.slots[-1][2]
    assert reported[0][0] < 0.1
    assert all(rpm == 2.0 for _, _, rpm in reported)
    assert all(at + seconds == pytest.approx(slot, abs=1.0) for at, seconds, _ in reported)
    times = [at for at, _, _ in reported] + [slot]
    assert max(b - a for a, b in pairwise(times)) <= 1.05


def test_a_call_that_need_not_wait_hears_of_no_wait(shared: SharedQueue):
    def never(seconds: float, rpm: float | None) -> None:
        raise AssertionError("nobody is before me")

    async def body() -> None:
        await shared.ask(shared.limiter(), "a", SLOW, on_wait=never)

    shared.run(body())
    assert shared.slots == [("a", "slow", 0.0)]


def test_cancelling_lets_the_next_move_up_at_once_in_every_process(shared: SharedQueue):
    reported: list[float] = []

    async def body() -> None:
        one, other = shared.limiter(), shared.limiter()
        tasks = [shared.ask(one, name, SLOW) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks += [
            shared.ask(other, "d", SLOW, on_wait=lambda seconds, rpm: reported.append(seconds))
        ]
        await asyncio.sleep(5)
        assert reported[-1] > 50
        tasks[2].cancel()
        await asyncio.sleep(0.3)
        assert reported[-1] < 30
        await asyncio.gather(*tasks, return_exceptions=True)

    shared.run(body())
    assert shared.names() == ["a", "b", "d"]
    assert shared.slots[-1][2] == pytest.approx(STEP, abs=0.5)


@pytest.mark.parametrize("steps", range(8))
def test_a_slot_cancelled_at_any_moment_is_not_lost_for_the_others(shared: SharedQueue, steps: int):
    """The cancel comes before, while or after the slot is given."""

    async def body() -> None:
        limiter, deployment = shared.limiter(), Deployment("single", 1.0)
        task = shared.ask(limiter, "cancelled", deployment)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await shared.ask(limiter, "next", deployment)

    shared.run(body())
    at = shared.slots[-1][2]
    assert at < 1.0 if shared.names() == ["next"] else at > 60.0


def test_an_error_in_on_wait_reaches_the_caller_and_takes_the_ticket_back(shared: SharedQueue):
    def fail(seconds: float, rpm: float | None) -> None:
        raise RuntimeError("the caller's own")

    async def body() -> None:
        limiter = shared.limiter()
        await asyncio.gather(shared.ask(limiter, "a", SLOW), shared.ask(limiter, "b", SLOW))
        with pytest.raises(RuntimeError, match="the caller's own"):
            await shared.ask(limiter, "c", SLOW, on_wait=fail)
        await shared.ask(limiter, "d", SLOW)

    shared.run(body())
    assert shared.slots[-1][0::2] == ("d", pytest.approx(STEP, abs=0.5))


def test_a_refusal_pauses_the_waiters_of_every_process_until_its_retry_after(shared: SharedQueue):
    async def body() -> None:
        one, other, deployment = shared.limiter(), shared.limiter(), Deployment("busy", 60.0)
        await shared.ask(one, "refused", deployment)
        one.cool_down(deployment, 40.0)
        tasks = [shared.ask(limiter, "later", deployment) for limiter in (one, other, one, other)]
        await asyncio.gather(*tasks)

    shared.run(body())
    later = [at for name, _, at in shared.slots if name == "later"]
    assert later[0] == pytest.approx(40.0, abs=0.1)
    assert later[1] >= 40.3


def test_a_long_cooldown_is_reported_truthfully_to_the_waiters_of_every_process(
    shared: SharedQueue,
):
    reported: list[Heard] = [[], []]

    async def body() -> None:
        limiters = shared.limiter(), shared.limiter()
        for limiter in limiters:
            await shared.ask(limiter, "before", SLOW)
        waiting = []
        for limiter, heard in zip(limiters, reported, strict=True):

            def hear(seconds: float, rpm: float | None, heard: Heard = heard) -> None:
                heard.append((shared.loop.time(), seconds))

            waiting.append(shared.ask(limiter, "later", SLOW, on_wait=hear))
        await asyncio.sleep(2.0)
        limiters[0].cool_down(SLOW, 1800.0)
        await asyncio.gather(*waiting)

    shared.run(body())
    slots = [at for name, _, at in shared.slots if name == "later"]
    assert slots == [pytest.approx(1802.3, abs=0.5), pytest.approx(1802.3 + STEP, abs=0.5)]
    for heard in reported:
        after = [at + seconds for at, seconds in heard if at > 3.1]
        assert after
        assert all(min(abs(end - slot) for slot in slots) < 1.0 for end in after)


def test_a_cooldown_beyond_the_maximum_is_known_at_once_and_the_ticket_is_withdrawn(
    shared: SharedQueue,
):
    async def body() -> None:
        limiter = shared.limiter()
        await shared.ask(limiter, "refused", SLOW)
        limiter.cool_down(SLOW, 900.0)
        with pytest.raises(
            CooldownTooLong, match="slow takes no calls for another 900 s"
        ) as caught:
            await limiter.acquire([SLOW], max_cooldown=600.0)
        assert shared.loop.time() < 1.0
        assert caught.value.seconds == pytest.approx(900.0, abs=0.5)
        assert caught.value.deployment == SLOW
        await shared.ask(limiter, "patient", SLOW, max_cooldown=1000.0)
        await shared.ask(limiter, "the next", SLOW)

    shared.run(body())
    patient, following = shared.slots[-2:]
    assert patient[2] == pytest.approx(900.0, abs=0.5)
    assert following[2] < 900.0 + 2 * STEP, "the withdrawn ticket still held a slot"


def test_a_cooldown_that_comes_while_waiting_ends_a_wait_that_it_makes_too_long(
    shared: SharedQueue,
):
    ended: list[float] = []

    async def body() -> None:
        one, other = shared.limiter(), shared.limiter()
        await shared.ask(one, "a", SLOW)
        await shared.ask(one, "b", SLOW)

        async def impatient() -> None:
            with pytest.raises(CooldownTooLong):
                await other.acquire([SLOW], max_cooldown=60.0)
            ended.append(shared.loop.time())

        waiting = shared.loop.create_task(impatient())
        await asyncio.sleep(5.0)
        assert not waiting.done()
        one.cool_down(SLOW, 300.0)
        await waiting

    shared.run(body())
    assert ended[0] < 7.0


def test_the_maximum_counts_the_shortest_cooldown_of_all_deployments(shared: SharedQueue):
    left, right = Deployment("left", 60.0), Deployment("right", 60.0)

    async def body() -> None:
        limiter = shared.limiter()
        limiter.cool_down(left, 500.0)
        limiter.cool_down(right, 50.0)
        await shared.ask(limiter, "a", left, right, max_cooldown=100.0)

    shared.run(body())
    assert shared.slots == [("a", "right", pytest.approx(50.0, abs=0.1))]


def test_a_long_queue_is_no_cooldown(shared: SharedQueue):
    async def body() -> None:
        limiter = shared.limiter()
        asks = (shared.ask(limiter, str(i), SLOW, max_cooldown=1.0) for i in range(5))
        await asyncio.gather(*asks)

    shared.run(body())
    assert shared.slots[-1][2] > 60.0


def test_a_refused_call_goes_before_those_that_had_no_slot_yet(shared: SharedQueue):
    async def body() -> None:
        limiter = shared.limiter()
        await asyncio.gather(*(shared.ask(limiter, name, SLOW) for name in "ab"))
        limiter.cool_down(SLOW, 20.0)
        waiting = [shared.ask(limiter, name, SLOW) for name in "cd"]
        await asyncio.sleep(0.1)
        again = shared.ask(limiter, "b again", SLOW, first=True)
        await asyncio.gather(*waiting, again)

    shared.run(body())
    assert shared.names() == ["a", "b", "b again", "c", "d"]


def test_deployments_share_the_load_in_the_order_of_asking(shared: SharedQueue):
    left, right = Deployment("left", 1.0), Deployment("right", 1.0)

    async def body() -> None:
        limiter = shared.limiter()
        await asyncio.gather(*(shared.ask(limiter, name, left, right) for name in "abcd"))

    shared.run(body())
    assert shared.names() == list("abcd")
    assert sorted(deployment for _, deployment, _ in shared.slots[:2]) == ["left", "right"]
    assert shared.slots[1][2] < 1.0
    assert sorted(deployment for _, deployment, _ in shared.slots[2:]) == ["left", "right"]
    assert shared.slots[3][2] == pytest.approx(61.2, abs=1.0)


def test_a_paused_deployment_is_passed_over_and_does_not_hold_up_the_other(shared: SharedQueue):
    left, right = Deployment("left", 60.0), Deployment("right", 60.0)

    async def body() -> None:
        limiter = shared.limiter()
        await shared.ask(limiter, "first", left)
        limiter.cool_down(left, 500.0)
        only_left = shared.ask(limiter, "left only", left)
        await asyncio.gather(*(shared.ask(limiter, "either", left, right) for _ in range(5)))
        assert not only_left.done()
        await only_left

    shared.run(body())
    assert {deployment for name, deployment, _ in shared.slots if name == "either"} == {"right"}
    assert shared.slots[-1] == ("left only", "left", pytest.approx(500.0, abs=0.2))


def test_an_empty_choice_of_deployments_is_refused(shared: SharedQueue):
    async def body() -> None:
        with pytest.raises(ValueError, match="at least one deployment"):
            await shared.limiter().acquire([])

    shared.run(body())


def test_what_headers_and_refusals_taught_outlives_the_process(shared: SharedQueue):
    unknown = Deployment("unknown")
    rates: list[float | None] = []

    async def body() -> None:
        before = shared.limiter()
        before.learn(unknown, 3.0)
        after = shared.limiter()

        def hear(seconds: float, rpm: float | None) -> None:
            rates.append(rpm)

        await asyncio.gather(*(shared.ask(after, "x", unknown, on_wait=hear) for _ in range(5)))

    shared.run(body())
    assert set(rates) == {3.0}
    assert shared.slots[-1][2] > 35


USELESS = [None, 0.0, -1.0, float("nan"), float("inf"), 0.001, 1e9, 10**400]


@pytest.mark.parametrize("limit", USELESS)
def test_headers_without_a_usable_limit_change_nothing(shared: SharedQueue, limit: float | None):
    unknown = Deployment("unknown")

    async def body() -> None:
        limiter = shared.limiter()
        limiter.learn(unknown, limit)
        await asyncio.gather(*(shared.ask(limiter, str(number), unknown) for number in range(5)))

    shared.run(body())
    assert shared.slots[-1][2] < 2.0


@pytest.mark.parametrize("limit", [1.0, 60.0])
def test_a_header_neither_lowers_nor_raises_the_profiles_own_number(
    shared: SharedQueue, limit: float
):
    async def body() -> None:
        limiter = shared.limiter()
        limiter.learn(SLOW, limit)
        limiter.learn(Deployment(SLOW.name), limit)
        await asyncio.gather(*(shared.ask(limiter, name, SLOW) for name in "abc"))

    shared.run(body())
    assert shared.slots[1][2] < 1.0
    assert shared.slots[2][2] == pytest.approx(STEP, abs=0.5)


def test_a_limit_that_answers_go_on_confirming_does_not_expire(shared: SharedQueue):
    unknown = Deployment("unknown")

    async def body() -> None:
        limiter = shared.limiter()
        for _ in range(40):
            limiter.learn(unknown, 3.0)
            await asyncio.sleep(3601)
        await asyncio.gather(*(shared.ask(limiter, "confirmed", unknown) for _ in range(5)))
        await asyncio.sleep(90_000)
        start = shared.loop.time()
        await asyncio.gather(*(shared.ask(limiter, "expired", unknown) for _ in range(5)))
        assert shared.loop.time() - start < 2.0

    shared.run(body())
    confirmed = [at for name, _, at in shared.slots if name == "confirmed"]
    assert confirmed[-1] - confirmed[0] > 35


def test_a_refusal_for_years_holds_nobody_longer_than_an_hour(shared: SharedQueue):
    async def body() -> None:
        one, other = shared.limiter(), shared.limiter()
        await shared.ask(one, "refused", SLOW)
        one.cool_down(SLOW, 1e12)
        await shared.ask(other, "later", SLOW)

    shared.run(body())
    assert shared.slots[-1][2] == pytest.approx(3600, abs=1.0)


def test_a_pause_of_years_in_an_older_file_ends_within_the_hour(shared: SharedQueue):
    async def body() -> None:
        limiter = shared.limiter()
        await shared.ask(limiter, "before", SLOW)
        ((text,),) = shared.execute("SELECT pacing FROM deployments")
        pacing = {**json.loads(text), "cooldown_until": 3e8, "not_before": 3e8}
        pacing |= {"server_limit": 0.001, "limit": 0.001, "bucket_full_at": 6e4}
        shared.execute("UPDATE deployments SET pacing = :pacing", pacing=json.dumps(pacing))
        await shared.ask(shared.limiter(), "after", SLOW)

    shared.run(body())
    assert shared.slots[-1][2] == pytest.approx(3600, abs=1.0)


def test_a_clock_that_begins_anew_neither_blocks_nor_lets_loose(shared: SharedQueue):
    """As after a reboot: stored times lie far ahead."""
    offset = 5e6

    async def body() -> None:
        nonlocal offset
        limiter = shared.limiter(clock=lambda: shared.loop.time() + offset)
        await asyncio.gather(shared.ask(limiter, "a", SLOW), shared.ask(limiter, "b", SLOW))
        waiting = shared.ask(limiter, "c", SLOW)
        await asyncio.sleep(10)
        offset = 0.0
        await asyncio.gather(waiting, shared.ask(limiter, "d", SLOW))

    shared.run(body())
    assert shared.names() == list("abcd")
    assert STEP - 0.5 < shared.slots[2][2] < STEP + 12
    assert shared.slots[3][2] - shared.slots[2][2] == pytest.approx(STEP, abs=0.5)


def test_a_clock_that_leaps_ahead_lets_at_most_one_burst_go(shared: SharedQueue):
    offset = 0.0

    async def body() -> None:
        nonlocal offset
        limiter = shared.limiter(clock=lambda: shared.loop.time() + offset)
        tasks = [shared.ask(limiter, str(i), SLOW) for i in range(6)]
        await asyncio.sleep(5)
        offset = 1e6
        await asyncio.gather(*tasks)

    shared.run(body())
    assert sum(at < 20 for _, _, at in shared.slots) == 4


def test_a_ticket_that_was_taken_for_dead_goes_back_to_its_old_place(shared: SharedQueue):
    async def body() -> None:
        one, other = shared.limiter(), shared.limiter()
        tasks = [shared.ask(one, name, SLOW) for name in "abc"]
        await asyncio.sleep(0.5)
        tasks.append(shared.ask(other, "d", SLOW))
        await asyncio.sleep(0.5)
        shared.execute("DELETE FROM tickets WHERE id = (SELECT min(id) FROM tickets)")
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names() == list("abcd")


def test_a_prompt_of_its_own_event_loop_each_can_use_one_quota(tmp_path: Path):
    limiter, deployment = RateLimiter(tmp_path / "quota.sqlite"), Deployment("fast", 600.0)
    for _ in range(2):
        assert asyncio.run(limiter.acquire([deployment])) == deployment


def test_the_event_loop_goes_on_while_another_process_holds_the_file(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    limiter, deployment = RateLimiter(path), Deployment("fast", 600.0)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    async def body() -> float:
        await limiter.acquire([deployment])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        watcher = asyncio.create_task(watch())
        asked = asyncio.create_task(limiter.acquire([deployment]))
        limiter.cool_down(deployment, 0.1)
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


@pytest.mark.parametrize("deployments", [["held"], ["held", "free"]])
def test_a_killed_process_leaves_no_ticket_behind(tmp_path: Path, deployments: list[str]):
    path = tmp_path / "quota.sqlite"
    script = (
        "import asyncio, pathlib, sys\n"
        "from mai_image.mai.rate_limit import Deployment, RateLimiter\n"
        "limiter = RateLimiter(pathlib.Path(sys.argv[1]))\n"
        "deployments = [Deployment(n, 60) for n in sys.argv[2:]]\n"
        "async def main():\n"
        "    for deployment in deployments:\n"
        "        await limiter.acquire([deployment])\n"
        "        limiter.cool_down(deployment, 1.2)\n"
        "    waiting = lambda seconds, rpm: print('waiting', flush=True)\n"
        "    await limiter.acquire(deployments, waiting)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(path), *deployments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"waiting"
    child.kill()
    child.wait()
    child.stdout.close()
    limiter = RateLimiter(path, tick=0.1)
    asyncio.run(
        asyncio.wait_for(limiter.acquire([Deployment(name, 60.0) for name in deployments]), 10)
    )
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM tickets").fetchone() == (0,)
    file.close()


CHILD = """
import asyncio, pathlib, sys, time
from mai_image.mai.rate_limit import Deployment, RateLimiter
limiter, deployment = RateLimiter(pathlib.Path(sys.argv[1])), Deployment("shared", 600.0)
print("ready", flush=True)
sys.stdin.readline()
async def main():
    for _ in range(8):
        await limiter.acquire([deployment])
        print(time.perf_counter(), flush=True)
asyncio.run(main())
"""


def test_two_processes_share_one_rate_and_take_turns(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    limiter, deployment = RateLimiter(path), Deployment("shared", 600.0)
    asyncio.run(limiter.acquire([deployment]))
    asyncio.run(limiter.acquire([deployment]))
    limiter.cool_down(deployment, 0.05)
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


def write_version_0_1(path: Path) -> None:
    """The tables of version 0.1, with a learned limit of one call an hour and a waiting ticket."""
    pace = {"limit": None, "told": None, "calls": 1, "seconds": 3600.0, "pause_until": 1e12}
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE lanes (name TEXT PRIMARY KEY, pace TEXT NOT NULL)")
        file.execute("CREATE TABLE owners (owner TEXT PRIMARY KEY, beat REAL NOT NULL)")
        columns = "id INTEGER PRIMARY KEY, first INTEGER, owner TEXT, lanes TEXT"
        file.execute(f"CREATE TABLE tickets ({columns})")
        file.execute("INSERT INTO lanes VALUES ('slow', ?)", (json.dumps(pace),))
        file.execute("INSERT INTO owners VALUES ('1-abc', ?)", (time.perf_counter(),))
        file.execute("INSERT INTO tickets VALUES (1, 1, '1-abc', '[\"slow\"]')")
        file.execute("PRAGMA user_version = 1")
    file.close()


@pytest.mark.parametrize("spoil", [write_garbage, write_other_version, write_version_0_1])
def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, spoil: Callable[[Path], None]):
    path = tmp_path / "folder" / "quota.sqlite"
    path.parent.mkdir()
    spoil(path)
    granted = asyncio.run(RateLimiter(path).acquire([SLOW], max_cooldown=0.0))
    assert granted == SLOW
    assert path.with_name("quota.sqlite.damaged").exists()


def test_a_pacing_of_another_form_is_learned_anew(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    limiter = RateLimiter(path)
    asyncio.run(limiter.acquire([SLOW]))
    with sqlite3.connect(path) as file:
        file.execute('UPDATE deployments SET pacing = \'{"of": "a later version"}\'')
    file.close()
    assert asyncio.run(limiter.acquire([SLOW])) == SLOW


def test_a_file_that_cannot_be_made_is_an_error_for_everyone_who_waits(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    path.mkdir()

    async def body() -> list[object]:
        limiter = RateLimiter(path)
        limiter.cool_down(SLOW, 1.0)
        asked: list[Awaitable[object]] = [limiter.acquire([SLOW]) for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(body())
    assert all(isinstance(each, StoreError) for each in found)
    assert "Nothing was sent" in str(found[0])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_for_this_user_only(tmp_path: Path):
    path = tmp_path / "quota.sqlite"
    asyncio.run(RateLimiter(path).acquire([SLOW]))
    assert path.stat().st_mode & 0o077 == 0
