"""Machines that share a database take turns; one machine alone is served in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from mai_image.mai.rate_limit import Deployment
from shared_queue import ENGINES, SharedQueue, queue_on

QUOTA = Deployment("quota", 60.0)


@pytest.fixture
def shared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedQueue]:
    yield from queue_on("postgres", request, monkeypatch)


@pytest.fixture(params=ENGINES)
def on_both(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedQueue]:
    yield from queue_on(request.param, request, monkeypatch)


@pytest.mark.parametrize("had", [0, 1, 3])
def test_behind_twenty_of_another_machine_a_machines_only_call_is_second(
    shared: SharedQueue, had: int
) -> None:
    async def body() -> None:
        a, b = shared.limiter("a"), shared.limiter("b")
        for number in range(had):
            await shared.ask(a, f"before {number}", QUOTA)
        a.cool_down(QUOTA, 30.0)
        tasks = [shared.ask(a, f"a{number}", QUOTA) for number in range(20)]
        await asyncio.sleep(1.0)
        tasks.append(shared.ask(b, "b", QUOTA))
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names()[had : had + 3] == ["a0", "b", "a1"]


def test_three_machines_take_turns_however_many_calls_each_has(shared: SharedQueue) -> None:
    async def body() -> None:
        a, b, c = (shared.limiter(name) for name in "abc")
        await shared.ask(a, "before", QUOTA)
        a.cool_down(QUOTA, 30.0)
        tasks = [shared.ask(a, "a", QUOTA) for _ in range(4)]
        await asyncio.sleep(1.0)
        tasks += [shared.ask(b, "b", QUOTA) for _ in range(4)]
        await asyncio.sleep(1.0)
        tasks += [shared.ask(c, "c", QUOTA) for _ in range(2)]
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names()[1:] == list("abcabcabab")


def test_a_machine_that_asks_for_one_call_after_another_has_its_turn_each_time(
    shared: SharedQueue,
) -> None:
    async def body() -> None:
        a, b = shared.limiter("a"), shared.limiter("b")
        await shared.ask(a, "before", QUOTA)
        a.cool_down(QUOTA, 30.0)
        tasks = [shared.ask(a, "a", QUOTA) for _ in range(6)]
        await asyncio.sleep(1.0)
        for _ in range(4):
            await shared.ask(b, "b", QUOTA)
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names()[1:9] == list("abababab")


def test_two_processes_of_one_machine_share_its_place(shared: SharedQueue) -> None:
    async def body() -> None:
        one, other, b = shared.limiter("a"), shared.limiter("a"), shared.limiter("b")
        await shared.ask(one, "before", QUOTA)
        one.cool_down(QUOTA, 30.0)
        tasks = []
        for number in range(3):
            tasks.append(shared.ask(one, f"one {number}", QUOTA))
            await asyncio.sleep(0.5)
            tasks.append(shared.ask(other, f"other {number}", QUOTA))
            await asyncio.sleep(0.5)
        tasks += [shared.ask(b, f"b {number}", QUOTA) for number in range(3)]
        await asyncio.gather(*tasks)

    shared.run(body())
    expected = "one 0,b 0,other 0,b 1,one 1,b 2,other 1,one 2,other 2"
    assert ",".join(shared.names()[1:]) == expected


def test_a_queue_for_one_deployment_gives_no_lead_in_that_for_another(shared: SharedQueue) -> None:
    long, short = Deployment("long", 60.0), Deployment("short", 60.0)

    async def body() -> None:
        a, b = shared.limiter("a"), shared.limiter("b")
        for deployment in (long, short):
            await shared.ask(a, "before", deployment)
            a.cool_down(deployment, 30.0)
        tasks = [shared.ask(a, "a long", long) for _ in range(9)]
        await asyncio.sleep(0.5)
        tasks += [shared.ask(a, "a", short) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks += [shared.ask(b, "b", short) for _ in range(3)]
        await asyncio.gather(*tasks)

    shared.run(body())
    assert [name for name, deployment, _ in shared.slots if deployment == "short"][1:] == list(
        "ababab"
    )


def test_a_refused_call_goes_before_those_of_all_machines_that_had_no_slot_yet(
    on_both: SharedQueue,
) -> None:
    async def body() -> None:
        a, b = on_both.limiter("a"), on_both.limiter("b")
        await on_both.ask(a, "before", QUOTA)
        a.cool_down(QUOTA, 30.0)
        tasks = [on_both.ask(a, "a", QUOTA) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks.append(on_both.ask(b, "b again", QUOTA, first=True))
        await asyncio.gather(*tasks)

    on_both.run(body())
    assert on_both.names()[1] == "b again"


def test_in_a_file_the_machines_name_changes_nothing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = next(queue_on("sqlite", request, monkeypatch))

    async def body() -> None:
        a, b = shared.limiter("a"), shared.limiter("b")
        await shared.ask(a, "before", QUOTA)
        a.cool_down(QUOTA, 30.0)
        tasks = [shared.ask(a, "a", QUOTA) for _ in range(3)]
        await asyncio.sleep(0.5)
        tasks.append(shared.ask(b, "b", QUOTA))
        await asyncio.gather(*tasks)

    shared.run(body())
    assert shared.names()[1:] == list("aaab")
