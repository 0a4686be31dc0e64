"""A slot whose call is never sent goes to others; one whose call is sent doesn't."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cutting_proxy import CuttingProxy
from mai_image.mai.database import DatabaseServer
from mai_image.mai.rate_limit import Deployment, Pacing, RateLimiter, limiter
from postgres_engine import PostgresEngine
from shared_queue import ENGINES, SharedQueue, queue_on
from slot_process import Machine

SINGLE = Deployment("deployment", 1.0)
"""One at once, then one in 61 s."""

DEAD_AFTER = {"sqlite": 3.0, "postgres": 10.0}


@pytest.fixture(params=ENGINES)
def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedQueue]:
    yield from queue_on(request.param, request, monkeypatch)


@pytest.fixture
def dead_after(request: pytest.FixtureRequest) -> float:
    return DEAD_AFTER[request.node.callspec.params["shared"]]


@pytest.mark.parametrize("asked_after", [0.1, 4.0])
def test_the_unsent_slot_of_a_silent_process_is_given_to_the_next(
    shared: SharedQueue, dead_after: float, asked_after: float
) -> None:
    async def body() -> None:
        dies, lives = shared.limiter("dies"), shared.limiter("lives")
        await dies.acquire([SINGLE], unsent=True)
        await asyncio.sleep(asked_after)
        await shared.ask(lives, "next", SINGLE)

    shared.run(body())
    assert dead_after <= shared.slots[0][2] + 0.1 <= max(dead_after, asked_after + 5.0) + 0.5


def test_a_slot_whose_call_is_sent_is_never_taken_back(shared: SharedQueue) -> None:
    async def body() -> None:
        dies, lives = shared.limiter("dies"), shared.limiter("lives")
        await dies.acquire([SINGLE], unsent=True)
        dies.mark_sent(SINGLE)
        await asyncio.sleep(1.0)
        await shared.ask(lives, "next", SINGLE)

    shared.run(body())
    assert shared.slots[0][2] > 60.0


def test_a_slot_of_a_process_that_goes_on_waiting_stays_its_own(shared: SharedQueue) -> None:
    async def body() -> None:
        holds, other = shared.limiter("holds"), shared.limiter("other")
        await holds.acquire([SINGLE], unsent=True)
        waiting = shared.ask(holds, "second", SINGLE)
        await asyncio.sleep(1.0)
        await asyncio.gather(waiting, shared.ask(other, "third", SINGLE))

    shared.run(body())
    assert shared.names() == ["second", "third"]
    assert shared.slots[0][2] > 60.0


def test_a_slot_that_is_given_back_is_the_next_ones_at_once(shared: SharedQueue) -> None:
    async def body() -> None:
        gives, other = shared.limiter("gives"), shared.limiter("other")
        await gives.acquire([SINGLE], unsent=True)
        waiting = shared.ask(other, "next", SINGLE)
        await asyncio.sleep(2.0)
        gives.give_back(SINGLE)
        await waiting

    shared.run(body())
    assert 2.0 <= shared.slots[0][2] < 3.5


def test_a_call_that_is_sent_after_its_slot_was_taken_back_counts(
    shared: SharedQueue, dead_after: float
) -> None:
    async def body() -> None:
        sleeps, other = shared.limiter("sleeps"), shared.limiter("other")
        await sleeps.acquire([SINGLE], unsent=True)
        await shared.ask(other, "taken over", SINGLE)
        sleeps.mark_sent(SINGLE)
        await shared.ask(other, "next", SINGLE)

    shared.run(body())
    assert shared.slots[0][2] < dead_after + 1.0
    assert shared.slots[1][2] > 110.0


def test_a_file_of_before_slots_were_remembered_is_read(tmp_path: Path) -> None:
    queue = SharedQueue(tmp_path / "quota.sqlite")

    async def body() -> None:
        await queue.ask(queue.limiter(), "before", SINGLE)
        ((text,),) = queue.execute("SELECT pacing FROM deployments")
        pacing = json.loads(text)
        del pacing["given"]
        queue.execute("UPDATE deployments SET pacing = :pacing", pacing=json.dumps(pacing))
        await queue.ask(queue.limiter(), "after", SINGLE)

    queue.run(body())
    assert queue.slots[1][2] > 60.0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("is_sent", [False, True])
def test_of_a_killed_process_only_the_unsent_slot_returns(
    engine: str, is_sent: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    where = tmp_path / "quota.sqlite" if engine == "sqlite" else request.getfixturevalue("postgres")
    rhythm = replace(limiter.ON_SERVER, look=0.2, dead_after=1.5, passed_over_after=1.0)
    dies = Machine(str(where), "dies", rhythm)
    lives = Machine(str(where), "lives", rhythm, quiet=False)
    try:
        dies.tell(ask="held", rpm=1.0, unsent=True)
        dies.until("slot")
        if is_sent:
            dies.tell(sent=True, rpm=1.0)
            dies.until("written")
        dies.kill()
        lives.tell(ask="next", rpm=1.0)
        began = time.monotonic()
        if is_sent:
            while time.monotonic() < began + 4.0:
                assert lives.until("wait")["seconds"] > 20.0  # of 61
        else:
            assert lives.until("slot")["slot"] == "next"
    finally:
        for each in (dies, lives):
            each.close()


def test_a_slot_whose_answer_is_lost_is_given_again(
    postgres: str, postgres_engine: PostgresEngine
) -> None:
    proxy = CuttingProxy(postgres_engine.port)

    async def body() -> None:
        cut = RateLimiter(DatabaseServer(proxy.url(postgres)), machine="cut")
        await cut.acquire([Deployment("another")])
        proxy.cut_at = b"COMMIT AND CHAIN"
        assert await asyncio.wait_for(cut.acquire([SINGLE]), 20) == SINGLE
        await cut.close()

    asyncio.run(body())
    proxy.close()
    assert proxy.cuts == 1


def seconds_for(pacing: Pacing, count: int, now: float) -> list[float]:
    """When the next calls may be sent."""
    slots = []
    for _ in range(count):
        now = max(now, pacing.next_at())
        pacing.send(now)
        slots.append(now)
    return slots


@pytest.mark.parametrize(
    ("limit", "later"), [(None, 0), (None, 4), (2.0, 0), (2.0, 1), (60.0, 0), (60.0, 4)]
)
@pytest.mark.parametrize("has_window", [False, True])
def test_after_a_slot_is_taken_back_the_next_come_as_if_it_had_never_been(
    limit: float | None, later: int, has_window: bool
) -> None:
    with_slot = Pacing(limit=limit)
    end = seconds_for(with_slot, 6, 0.0)[-1]
    if has_window:
        with_slot.cool_down(end + 0.1, 30.0)
    without = replace(with_slot, sent=list(with_slot.sent), burst=list(with_slot.burst))
    now = max(100.0, with_slot.next_at())
    with_slot.send(now, "process")
    for _ in range(later):
        now = max(now + 12.0, with_slot.next_at())
        with_slot.send(now)
        without.send(now)
    with_slot.take_back("process")
    assert seconds_for(with_slot, 8, now) == pytest.approx(seconds_for(without, 8, now), abs=0.4)
