"""A process that is killed at 20 points of a batch of 8, and the run after it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from buyer import STEPS
from buyer_process import buyer, end
from client_harness import COST, Harness, ask, batch, image, prompt_of, quick, whole_body
from mai_image.mai.disk import files
from scripted_server import Connection, ReceivedRequest, response

COUNT = 8
BATCH = batch(COUNT)


def points() -> list[tuple[str, int]]:
    """Every step of a call once and six more, each with the call that dies there: 20 in all."""
    chance = random.Random(2026)
    steps = [*STEPS, *chance.sample(STEPS, 6)]
    return [(step, chance.randint(1, COUNT)) for step in steps]


def in_two_halves(connection: Connection, request: ReceivedRequest) -> None:
    """Bill, then answer in two parts, so that a client can be met between them."""
    connection.server.bill(request)
    whole = response(200, whole_body(request))
    connection.send(whole[: len(whole) // 2])
    connection.send(whole[len(whole) // 2 :])


@dataclass
class Killed:
    """Rigs whose buyers were killed, two at a time, each in a folder of its own."""

    rigs: dict[tuple[str, int], Future[Harness]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    found = Killed()
    with ThreadPoolExecutor(2) as pool:
        for point in points():
            folder = tmp_path_factory.mktemp("killed") / "data"
            found.rigs[point] = pool.submit(run_and_kill, folder, point)
        yield found
        for harness in found.rigs.values():
            harness.result().close()


def run_and_kill(folder: Path, point: tuple[str, int]) -> Harness:
    harness = Harness(folder)
    harness.server.default = in_two_halves
    assert end(buyer(harness, list(range(COUNT)), die=point)) is None, "it was not killed"
    harness.server.quiet()
    return harness


def test_there_are_twenty_points_in_every_step_of_a_call():
    assert len(set(points())) == 20
    assert {step for step, _ in points()} == set(STEPS)


@pytest.mark.parametrize("point", points(), ids=lambda point: f"{point[0]} {point[1]}")
def test_killed_at(killed: Killed, point: tuple[str, int], monkeypatch: pytest.MonkeyPatch):
    quick(monkeypatch)
    harness = killed.rigs[point].result(60)
    the_ledger_knows_every_call_that_was_out(harness)
    no_half_written_file_has_a_name(harness.folder / "store")
    billed, before = len(harness.server.billed), harness.kept(BATCH)

    since = len(harness.server.requests)
    first = ask(harness.start(), BATCH)
    assert all(image(found) for found in first)
    harness.stop()
    missing = [request.prompt for request in BATCH if request not in before]
    assert sorted(prompt_of(request) for request in harness.server.requests[since:]) == missing
    assert len(harness.server.billed) == billed + len(missing)
    perhaps = [row["key"] for row in harness.rows("perhaps billed")]
    really = [m for m in BATCH if harness.key(m) in perhaps and harness.bills(m) == 2]
    assert len(harness.server.billed) == COUNT + len(really)
    # A call that died between its row and its last byte wasn't billed, which nobody here can know:
    # only in this way may the ledger know of more than the bill.
    phantom = len(perhaps) - len(really)
    harness.balance(BATCH, phantom=phantom)
    assert max(perhaps.count(key) for key in {*perhaps, None}) <= 1

    since = len(harness.server.requests)
    assert all(image(found).cost_usd == 0.0 for found in ask(harness.start(), BATCH))
    assert len(harness.server.requests) == since


def the_ledger_knows_every_call_that_was_out(harness: Harness) -> None:
    """Before anybody repairs anything: what was billed is in flight, or delivered."""
    known = {row["key"]: row["outcome"] for row in harness.rows()}
    kept = harness.kept(BATCH)
    for request in BATCH:
        assert harness.bills(request) <= 1
        if harness.bills(request):
            assert known[harness.key(request)] in ("in flight", "delivered")
        if known.get(harness.key(request)) == "delivered":
            assert request in kept
        assert request not in kept or harness.bills(request) == 1
    assert len(harness.server.billed) * COST <= harness.counted() + 1e-9


def no_half_written_file_has_a_name(store: Path) -> None:
    for path in store.rglob("*"):
        if path.is_file() and path.suffix in (".png", ".json"):
            assert path.read_bytes()[-1:] in (b"}", b"\x82"), path
        elif path.is_file() and path.parent.name == "incoming":
            assert path.suffix == files.TEMPORARY


def test_an_image_kept_by_a_process_that_died_before_its_row_is_delivered(
    killed: Killed, monkeypatch: pytest.MonkeyPatch
):
    """Not perhaps billed: it is there, and counted once."""
    quick(monkeypatch)
    point = next(point for point in points() if point[0] == "kept")
    harness = killed.rigs[point].result(60)
    harness.restart()
    harness.stop()
    delivered = {row["key"] for row in harness.rows("delivered")}
    assert {harness.key(request) for request in harness.kept(BATCH)} == delivered
