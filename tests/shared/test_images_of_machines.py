"""Machines as processes with folders of their own, on one PostgreSQL and one object store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from buyer_process import end
from client_harness import COST, Harness, draw_after, quick, until
from mai_image.mai.ledger import Ledger
from object_stores import Engine
from studio import StudioOfMachines


@pytest.fixture
def studio(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgres: str,
    engine: Engine,
) -> Iterator[StudioOfMachines]:
    quick(monkeypatch)
    harness = Harness(tmp_path / "data")
    yield StudioOfMachines(tmp_path, harness, postgres, engine)
    harness.close()


def costs(found: Sequence[list[object] | None]) -> list[list[float]]:
    """What each machine paid for each image; it must have got all of them."""
    return [[float(str(cost)) for cost in each or ["nothing"]] for each in found]


def test_what_eight_machines_ask_for_at_once_is_bought_once_and_given_to_all(
    studio: StudioOfMachines,
):
    machines = [studio.start(f"render-{number}", range(3)) for number in range(8)]
    paid = costs([end(machine, 180) for machine in machines])
    assert [len(each) for each in paid] == [3] * 8
    assert len(studio.harness.server.billed) == 3
    assert sum(map(sum, paid)) == pytest.approx(3 * COST)
    studio.balance(3)


@pytest.mark.parametrize(
    ("engine", "step", "number"),
    [
        ("folder", "image on disk", 1),
        ("folder", "sidecar named", 1),
        ("folder", "closed", 1),
        ("azurite", "kept", 1),
        ("moto", "kept", 1),
        ("azurite", "before an object", 3),  # the store is marked, the bytes are there
        ("moto", "before an object", 3),
    ],
    indirect=["engine"],
)
def test_the_image_of_a_machine_that_is_killed_is_had_by_all_once_that_is_back(
    studio: StudioOfMachines, step: str, number: int
):
    killed = studio.start("render-1", [0], die=[step, number])
    assert end(killed, 60) is None
    assert len(studio.harness.server.billed) == 1
    taker = studio.ledger(dead_after=0.0)
    until(lambda: not taker.recover() and not rows_in_flight(taker), 20)
    taker.close_file()
    assert end(studio.start("render-1", []), 60) == []
    again = end(studio.start("render-2", [0]), 60)
    if step == "image on disk":  # its name came too late: perhaps billed, and bought anew
        assert again == [pytest.approx(COST)]
    else:
        assert again == [0.0]
    studio.balance(1)


def rows_in_flight(ledger: Ledger) -> bool:
    return any(row["outcome"] == "in flight" for row in ledger.rows(None))


def test_an_image_that_comes_while_the_object_store_is_stopped_is_bought_once(
    studio: StudioOfMachines,
):
    assert end(studio.start("render-1", []), 60) == []
    assert end(studio.start("render-1", [5]), 60) == [pytest.approx(COST)]  # it knows the store
    gate = threading.Event()
    studio.harness.server.default = draw_after(lambda: gate.wait(60))
    first = studio.start("render-1", [0])
    until(lambda: len(studio.harness.server.requests) == 2, 30)
    others = [studio.start(f"render-{number}", [0]) for number in (2, 3)]
    studio.engine.stop()
    gate.set()
    assert end(first, 120) == [pytest.approx(COST)]
    assert [end(other, 120) for other in others] == [["StoreError"], ["StoreError"]]
    studio.engine.resume()
    studio.harness.server.default = draw_after(lambda: None)
    asking = studio.start("render-2", [0])
    until(lambda: len(studio.harness.server.requests) == 2, 1)
    bringing = studio.start("render-1", [0])
    assert (end(asking, 120), end(bringing, 120)) == ([0.0], [0.0])
    assert len(studio.harness.server.billed) == 2


@pytest.mark.parametrize("engine", ["azurite"], indirect=True)
def test_an_image_that_is_damaged_in_the_object_store_is_given_to_nobody(studio: StudioOfMachines):
    assert end(studio.start("render-1", [0]), 60) == [pytest.approx(COST)]
    damage(studio.engine)
    assert end(studio.start("render-2", [0]), 60) == [pytest.approx(COST)]
    assert end(studio.start("render-3", [0]), 60) == [0.0]
    assert len(studio.harness.server.billed) == 2
    damage(studio.engine)
    assert end(studio.start("render-1", [0]), 60) == [0.0]  # its own copy is whole
    assert end(studio.start("render-4", [0]), 60) == [0.0]  # and repairs the shared one
    assert len(studio.harness.server.billed) == 2


def damage(engine: Engine) -> None:
    async def work() -> None:
        objects = engine.objects()
        names = [one.name async for page in objects.list() for one in page]
        for name in names:
            if name.endswith(".png"):
                await objects.replace(name, b"\x89PNG noise")

    asyncio.run(work())
