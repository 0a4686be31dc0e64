"""A budget holds against a client that queues prompts in a loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_harness import ESTIMATE, Harness, ask, generate, outcome, profile_for, quick
from mai_image import emulator
from mai_image.emulator import Emulator
from mai_image.mai.auth import KeyCredential, Secret
from mai_image.mai.errors import BudgetError
from mai_image.mai.types import Budget, Result

PROMPTS = 200

AFFORDED = 7


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Harness]:
    quick(monkeypatch)
    harness = Harness(tmp_path / "data")
    yield harness
    harness.close()


@pytest.fixture
def client() -> Iterator[Emulator]:
    with emulator.start() as running:
        yield running


def counted(found: list[object]) -> tuple[int, int]:
    """How many images came, and how many calls the budget refused."""
    return (
        sum(isinstance(one, Result) for one in found),
        sum(isinstance(one, BudgetError) for one in found),
    )


@pytest.mark.parametrize("limit", ["day", "month"])
def test_two_hundred_quick_prompts_buy_what_the_budget_allows(
    limit: str,
    harness: Harness,
    client: Emulator,
) -> None:
    """Queued by four threads at once, then again after a restart, when the sums are read anew."""
    budget = Budget(**{limit: (AFFORDED + 0.5) * ESTIMATE})
    key = KeyCredential(lambda: Secret(emulator.DEFAULT_KEY), "a test")
    harness.profile = profile_for(client.url, budget=budget, credential=key)
    mai_client = harness.start()
    found: list[object] = []

    def loop(thread: int) -> None:
        requests = [generate(f"{thread}-{i}") for i in range(PROMPTS // 4)]
        found.extend(ask(mai_client, requests))

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    bought, refused = counted(found)
    assert bought + refused == PROMPTS
    # Each costs a little less than its estimate, so one or two more than at first may fit in.
    assert AFFORDED <= bought <= AFFORDED + 2
    assert len(client.log.entries) == bought
    assert client.log.billed_usd <= (AFFORDED + 0.5) * ESTIMATE

    again = ask(harness.restart(), [generate(f"again {i}") for i in range(20)])
    more, _ = counted(again)
    assert client.log.billed_usd <= (AFFORDED + 0.5) * ESTIMATE
    assert bought + more <= AFFORDED + 2


def test_a_refused_prompt_costs_neither_time_nor_a_row(harness: Harness) -> None:
    """A loop that goes on for days must not fill the disk."""
    harness.profile = profile_for(harness.server.url, budget=Budget(day=ESTIMATE / 2))
    mai_client = harness.start()
    for i in range(PROMPTS):
        assert isinstance(outcome(mai_client.submit(generate(i))), BudgetError)
    assert harness.rows() == []
    assert harness.server.connections == 0
