"""Whole machines on one database and one object store, and all that can happen to them.

In every case: billed = stored + perhaps billed; a machine that is killed can have marked calls that
it was about to send.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from buyer_process import end
from client_harness import COST, ESTIMATE, Harness, draw_after, quick, until
from object_stores import Engine
from postgres_engine import PostgresEngine
from studio import StudioOfMachines

PROMISED = 5.0
"""Seconds in which a machine says that the database is gone."""

SLACK = 3.5
"""More seconds for a machine that runs other tests; one wait too many would be four more."""

MACHINES = [f"render-{number}" for number in range(8)]

pytestmark = pytest.mark.parametrize("engine", ["azurite"], indirect=True)


@pytest.fixture
def studio(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_postgres: PostgresEngine,
    engine: Engine,
) -> Iterator[StudioOfMachines]:
    quick(monkeypatch)
    harness = Harness(tmp_path / "data")
    yield StudioOfMachines(tmp_path, harness, own_postgres.url(), engine, ask_again=True)
    harness.close()


def test_machines_and_the_database_die_and_every_image_is_bought_once(
    studio: StudioOfMachines, own_postgres: PostgresEngine
) -> None:
    """Three images that all want, and one of each machine's own; one machine dies as it sends."""
    studio.harness.server.default = draw_after(lambda: time.sleep(0.1))
    die: dict[str, object] = {"die": ["sent", 1]}
    machines = [
        studio.start(name, [0, 1, 2, 3 + own], go=str(studio.go), **(die if own == 0 else {}))
        for own, name in enumerate(MACHINES)
    ]
    studio.begin()
    until(lambda: bool(studio.harness.server.billed), 60)
    own_postgres.kill()
    own_postgres.start()
    until(lambda: len(studio.harness.server.billed) > 3, 60)
    with own_postgres.frozen():
        time.sleep(2)
    own_postgres.kill()
    own_postgres.start()
    ends = [end(machine, 120) for machine in machines]
    assert ends[0] is None
    for found in ends[1:]:  # what the dead one had sent is told once, and bought by nobody
        assert found is not None
        assert {each for each in found if isinstance(each, str)} <= {"ConnectionLostError"}
    again = [
        studio.start(name, [0, 1, 2, 3 + own])
        for own, (name, found) in enumerate(zip(MACHINES, ends, strict=True))
        if found is None or not all(isinstance(each, float) for each in found)
    ]
    for machine in again:
        assert all(isinstance(each, float) for each in end(machine, 120) or ["killed"])
    perhaps = studio.balance(11, killed=MACHINES[0])
    assert len(studio.harness.server.billed) == 11 + perhaps
    assert perhaps <= 4
    ledger = studio.ledger()
    billed = len(studio.harness.server.billed) * COST
    assert ledger.spend().total.usd >= billed - 1e-9
    ledger.close_file()


def test_calls_that_are_out_while_the_database_stands_still_are_booked_and_nothing_is_sent(
    studio: StudioOfMachines, own_postgres: PostgresEngine
) -> None:
    gate = threading.Event()
    server = studio.harness.server
    server.default = draw_after(lambda: gate.wait(120))
    out = [studio.start(f"m-{n}", [4 * n + each for each in range(4)]) for n in range(4)]
    asking = [studio.start(f"late-{n}", [19 + n], go=str(studio.go)) for n in (1, 2)]
    until(lambda: all((studio.folder / f"late-{n}" / "ready").exists() for n in (1, 2)), 60)
    until(lambda: len(server.requests) == 16, 60)
    with own_postgres.frozen():
        stopped = time.monotonic()
        studio.go.touch()
        gate.set()
        assert [end(machine, 60) for machine in out] == [[pytest.approx(COST)] * 4] * 4
        until(lambda: len(studio.errors()) > 2, 30)
        time.sleep(max(0.0, stopped + 6 - time.monotonic()))
        assert len(server.requests) == 16
        assert all(seconds < PROMISED + SLACK for _, seconds in studio.errors())
    assert [end(machine, 60) for machine in asking] == [[pytest.approx(COST)]] * 2
    studio.restart([f"m-{n}" for n in range(4)])
    assert studio.balance(22) == 0
    assert len(server.billed) == 18


def test_sixteen_machines_at_a_budgets_edge_never_pass_it(studio: StudioOfMachines) -> None:
    budget = 8 * COST + ESTIMATE
    job = {"go": str(studio.go), "budget": budget, "errors": ""}
    machines = [studio.start(f"m-{n}", [3 * n, 3 * n + 1, 3 * n + 2], **job) for n in range(16)]
    studio.begin()
    found = [each for machine in machines for each in end(machine, 120) or ["killed"]]
    bought = [each for each in found if isinstance(each, float)]
    assert {each for each in found if isinstance(each, str)} == {"BudgetError"}
    assert len(bought) == len(studio.harness.server.billed)
    assert 0 < len(bought) * COST <= budget
    assert studio.balance(48) == 0


def test_machines_whose_clocks_are_hours_apart_have_one_book(studio: StudioOfMachines) -> None:
    """One is killed: the others' clocks don't end its call sooner, or anybody else's."""
    begun = time.time()
    die: dict[str, object] = {"die": ["sent", 1]}
    machines = [
        studio.start(
            f"m-{n}",
            [0, 1 + n],
            clock=hours * 3600,
            go=str(studio.go),
            **(die if hours == 0 else {}),
        )
        for n, hours in enumerate((-1, 0, 1, 25))
    ]
    studio.begin()
    ends = [end(machine, 120) for machine in machines]
    assert ends[1] is None
    again = end(studio.start("m-1", [0, 2], clock=-7200), 120) or ["killed"]
    assert all(isinstance(each, float) for each in again)
    perhaps = studio.balance(5, killed="m-1")
    assert len(studio.harness.server.billed) == 5 + perhaps
    assert perhaps <= 2
    for row in studio.rows():
        for moment in ("opened_at", "closed_at"):
            assert begun - 5 < float(str(row[moment])) < time.time() + 5
    ledger = studio.ledger()
    assert len(ledger.spend_by("day")) == 1
    ledger.close_file()
