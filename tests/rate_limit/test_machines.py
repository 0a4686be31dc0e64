"""One queue for the machines of a studio: real processes, a real PostgreSQL that stops and dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from mai_image.mai.database import DatabaseGone, DatabaseServer
from mai_image.mai.rate_limit import Deployment, RateLimiter, Rhythm, limiter
from postgres_engine import PostgresEngine
from slot_process import Machine

FAST = Deployment("deployment", 6000.0)
SLOW = Deployment("deployment", 1.0)

RHYTHM = Rhythm(
    look=0.2,
    look_again=0.1,
    work_out=0.2,
    passed_over_after=1.0,
    dead_after=1.5,
    say_after=30,
    fail_after=60,
)
"""As usual, but in a hurry to take others for dead, and in none to give up."""
DEAF = replace(limiter.ON_SERVER, look=60.0, look_again=60.0, dead_after=999, passed_over_after=999)
"""Who only looks when it is told to."""


@pytest.fixture
def machine(postgres: str) -> Iterator[Callable[..., Machine]]:
    """Starts machines on one database; they are gone at the test's end."""
    with contextlib.ExitStack() as stack:

        def start(name: str, rhythm: Rhythm | None = None, **options: Any) -> Machine:
            found = Machine(options.pop("url", postgres), name, rhythm, **options)
            stack.callback(found.close)
            return found

        yield start


def tickets(url: str) -> list[tuple[object, ...]]:
    """The queue's tickets: number and machine, the oldest first."""
    import psycopg

    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT id, owner FROM mai_image.tickets ORDER BY id").fetchall()
    return [(number, owner.partition("/")[0]) for number, owner in rows]


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def test_eight_machines_share_one_rate_and_take_turns(
    postgres: str, machine: Callable[..., Machine]
) -> None:
    machines = [machine(f"machine {number}") for number in range(8)]
    for each in machines:
        each.tell(ask="first", of=each.name, rpm=600.0)
        each.until("slot")
    machines[0].tell(refused=4.0, rpm=600.0)
    machines[0].until("written")
    for each in machines:
        for number in range(5):
            each.tell(ask=number, rpm=600.0)
    asyncio.run(until(lambda: len(tickets(postgres)) == 40))
    slots = sorted((each.until("slot")["at"], each.name) for each in machines for _ in range(5))
    times = [at for at, _ in slots]
    assert times[-1] - times[0] > 39 * 0.1 * 0.9, "more than 600 a minute"
    for end in range(8, 40, 8):
        shares = Counter(name for _, name in slots[:end])
        assert len(shares) == 8
        assert max(shares.values()) - min(shares.values()) <= 2, "one millisecond early or late"


def test_tickets_of_a_killed_machine_go_and_the_next_is_served(
    postgres: str, machine: Callable[..., Machine]
) -> None:
    dies, lives = machine("dies", RHYTHM), machine("lives", RHYTHM)
    dies.tell(ask="only slot", rpm=60.0)
    dies.until("slot")
    dies.tell(refused=6.0, rpm=60.0)
    for number in range(4):
        dies.tell(ask=number, rpm=60.0)

    async def body() -> None:
        await until(lambda: len(tickets(postgres)) == 4)
        lives.tell(ask="patient", rpm=60.0)
        await until(lambda: len(tickets(postgres)) == 5)
        dies.kill()
        await until(lambda: {name for _, name in tickets(postgres)} <= {"lives"})

    asyncio.run(body())
    assert lives.until("slot")["slot"] == "patient"
    assert tickets(postgres) == []


def test_while_the_database_is_stopped_nobody_loses_a_ticket_or_an_unsent_slot(
    own_postgres: PostgresEngine, machine: Callable[..., Machine]
) -> None:
    url = own_postgres.new_database()
    machines = [machine(name, RHYTHM, url=url) for name in "abc"]
    usual = machine("usual", url=url)
    machines[0].tell(ask="held", rpm=600.0, unsent=True)
    machines[0].until("slot")
    machines[0].tell(refused=45.0, rpm=600.0)
    machines[0].until("written")

    def given() -> object:
        ((text,),) = own_postgres.run_sql(
            "SELECT pacing FROM mai_image.deployments", url.rpartition("/")[2]
        )
        return list(json.loads(str(text))["given"].values())

    async def body() -> None:
        for number, each in enumerate([*machines, usual]):
            each.tell(ask="later", rpm=600.0)
            await until(lambda number=number: len(tickets(url)) == number + 1)
        before, held = tickets(url), given()
        with own_postgres.frozen():
            await asyncio.sleep(20.0)  # far longer than a process may be silent
        assert tickets(url)[:3] == before[:3]
        assert given() == held

    asyncio.run(body())
    assert usual.until("error")["kind"] == "DatabaseGone"
    slots = sorted((each.until("slot")["at"], each.name) for each in machines)
    assert [name for _, name in slots] == list("abc")


def test_over_a_slow_link_no_machine_sends_on_after_a_refusal(
    postgres: str, postgres_engine: PostgresEngine
) -> None:
    proxy, fast = CuttingProxy(postgres_engine.port, delay=0.1), Deployment("deployment", 300.0)
    slots: list[float] = []

    async def call(limiter: RateLimiter) -> None:
        await limiter.acquire([fast])
        slots.append(time.monotonic())

    async def body() -> None:
        near = RateLimiter(DatabaseServer(postgres), machine="near")
        await near.acquire([fast])
        near.cool_down(fast, 3.0)  # from here on a call at a time
        one, other = (
            RateLimiter(DatabaseServer(proxy.url(postgres)), machine=name) for name in "ab"
        )
        calls = [asyncio.create_task(call(each)) for each in (one, other) for _ in range(40)]
        await until(lambda: len(slots) > 10)
        refused_at = time.monotonic()
        one.cool_down(fast, 30.0)
        await until(lambda: time.monotonic() > max(*slots, refused_at) + 3.0)
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        after = [slot for slot in slots if slot > refused_at]
        assert len(after) < 15, "three seconds of them"

    asyncio.run(body())
    proxy.close()


def test_calls_wait_on_through_a_restart_of_the_database(own_postgres: PostgresEngine) -> None:
    url = own_postgres.new_database()

    async def body() -> None:
        one = RateLimiter(DatabaseServer(url), machine="one", rhythm=RHYTHM)
        await one.acquire([FAST])
        one.cool_down(FAST, 3.0)
        waiting = asyncio.create_task(one.acquire([FAST]))
        await until(lambda: len(tickets(url)) == 1)
        own_postgres.kill()
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(own_postgres.start)
        assert await asyncio.wait_for(waiting, 30) == FAST

    asyncio.run(body())


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_database_that_is_gone_ends_the_wait_and_gives_no_slot(
    own_postgres: PostgresEngine, how: str
) -> None:
    url = own_postgres.new_database()
    impatient = replace(limiter.ON_SERVER, fail_after=1.0)
    assert limiter.ON_SERVER.fail_after < 5.0

    async def body() -> None:
        one = RateLimiter(DatabaseServer(url), machine="one", rhythm=impatient)
        await one.acquire([FAST])
        one.cool_down(FAST, 60.0)
        waiting = asyncio.create_task(one.acquire([FAST]))
        await until(lambda: len(tickets(url)) == 1)
        with contextlib.ExitStack() as stack:
            if how == "stopped":
                stack.enter_context(own_postgres.frozen())
            else:
                own_postgres.kill()
            asked = [waiting, asyncio.create_task(one.acquire([FAST]))]
            for error in await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10):
                assert isinstance(error, DatabaseGone)
                assert "The studio's database" in str(error)
                assert "Nothing was sent" in str(error)
        if how == "killed":
            await asyncio.to_thread(own_postgres.start)
        # Tickets of waits that were ended don't hold others up.
        other = RateLimiter(DatabaseServer(url), machine="other")
        free = Deployment("another", 60.0)
        assert await asyncio.wait_for(other.acquire([free]), 20) == free
        await until(lambda: tickets(url) == [])

    asyncio.run(body())


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_end_leaves_no_task_behind_while_the_database_is_gone(
    own_postgres: PostgresEngine, how: str
) -> None:
    async def body() -> None:
        one = RateLimiter(DatabaseServer(own_postgres.url()), machine="one", rhythm=RHYTHM)
        await one.acquire([FAST])
        with contextlib.ExitStack() as stack:
            if how == "stopped":
                stack.enter_context(own_postgres.frozen())
            else:
                own_postgres.kill()
            one.cool_down(FAST, 60.0)
            await asyncio.sleep(0.1)
            assert len(asyncio.all_tasks()) == 2
            await one.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(body())


def test_the_event_loop_goes_on_while_the_database_is_stopped(own_postgres: PostgresEngine) -> None:
    url = own_postgres.new_database()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    async def body() -> None:
        one = RateLimiter(DatabaseServer(url), machine="one", rhythm=RHYTHM)
        await one.acquire([FAST])
        watcher = asyncio.create_task(watch())
        with own_postgres.frozen():
            asked = [asyncio.create_task(one.acquire([FAST])) for _ in range(20)]
            await asyncio.sleep(0.3)
            one.cool_down(FAST, 0.2)
            one.learn(Deployment("another"), 7.0)
            for task in asked[:10]:
                task.cancel()
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in asked[10:])
        await asyncio.wait_for(asyncio.gather(*asked[10:]), 30)
        watcher.cancel()
        await until(lambda: tickets(url) == [])

    asyncio.run(body())
    assert longest < 0.3


def test_a_refusal_is_heard_by_a_machine_that_waits_without_asking(
    machine: Callable[..., Machine],
) -> None:
    waits, hears = machine("waits", DEAF, quiet=False), machine("hears", DEAF)
    waits.tell(ask="first", rpm=1.0)
    waits.until("slot")
    waits.tell(ask="later", rpm=1.0)
    assert waits.until("wait")["seconds"] < 62
    hears.tell(refused=600.0, rpm=1.0)
    while waits.until("wait")["seconds"] < 500:
        pass


def test_who_listens_again_after_a_lost_connection_hears_the_next_refusal(
    postgres: str, postgres_engine: PostgresEngine, machine: Callable[..., Machine]
) -> None:
    waits, refused = machine("waits", DEAF, quiet=False), machine("refused", DEAF)
    waits.tell(ask="first", rpm=1.0)
    waits.until("slot")
    waits.tell(ask="later", rpm=1.0)
    waits.until("wait")
    listening = (
        "FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        f" AND datname = '{postgres.rpartition('/')[2]}'"
    )

    async def body() -> None:
        def listeners() -> set[object]:
            return {pid for (pid,) in postgres_engine.run_sql(f"SELECT pid {listening}")}

        await until(lambda: bool(listeners()))
        lost = listeners()
        postgres_engine.run_sql(f"SELECT pg_terminate_backend(pid) {listening}")
        await until(lambda: bool(listeners() - lost))

    asyncio.run(body())
    refused.tell(refused=600.0, rpm=1.0)
    while waits.until("wait")["seconds"] < 500:
        pass


def test_a_lost_word_costs_only_time(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter.Bell, "listen", lambda bell: None)
    rhythm = replace(RHYTHM, dead_after=60.0, passed_over_after=60.0)

    async def body() -> None:
        one, other = (
            RateLimiter(DatabaseServer(postgres), machine=name, rhythm=rhythm) for name in "ab"
        )
        await one.acquire([SLOW])
        before = asyncio.create_task(one.acquire([SLOW]))
        await until(lambda: len(tickets(postgres)) == 1)
        heard: list[float] = []
        waiting = asyncio.create_task(other.acquire([SLOW], lambda wait, rpm: heard.append(wait)))
        await until(lambda: bool(heard) and heard[-1] > 100)
        before.cancel()
        await until(lambda: heard[-1] < 70)
        waiting.cancel()
        await asyncio.gather(before, waiting, return_exceptions=True)

    asyncio.run(body())


def test_machines_whose_clocks_are_an_hour_apart_keep_one_order_and_one_rate(
    postgres: str, machine: Callable[..., Machine]
) -> None:
    behind, ahead = machine("behind", clock_offset=-3600.0), machine("ahead", clock_offset=3600.0)
    behind.tell(ask="first", rpm=600.0)
    behind.until("slot")
    ahead.tell(refused=2.0, rpm=600.0)

    async def body() -> None:
        for number in range(4):
            (ahead, behind)[number % 2].tell(ask=number, rpm=600.0)
            await until(lambda number=number: len(tickets(postgres)) == number + 1)

    asyncio.run(body())
    slots = [each.until("slot") for each in (ahead, behind) for _ in range(2)]
    slots.sort(key=lambda slot: slot["at"])
    assert [slot["slot"] for slot in slots] == [0, 1, 2, 3]
    assert tickets(postgres) == []
