"""A batch that its budget can't pay for is refused whole, before its first request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mai_image.mai.errors import BudgetError
from mai_image.mai.types import Generate
from mai_image.nodes.results import Batch, info_json
from mai_image.nodes.run import run_requests, shared_client

PROFILES = """
[profiles.day]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
budget = {{ day = 0.05 }}

[profiles.month]
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = 6000
budget = {{ month = 0.05, day = 9 }}
"""


@pytest.fixture
def profiles_toml() -> str:
    return PROFILES


@pytest.fixture
def log(emulator: Any) -> Any:
    """The emulator's log, of nodes whose profiles pay for two images."""
    return emulator.log


def run(*seeds: int, profile: str = "day", prompt: str = "a fox") -> Batch:
    """Images of which each costs about $0.022."""
    requests = [Generate("MAI-Image-2.6", prompt, 768, 768, seed) for seed in seeds]
    return asyncio.run(run_requests(requests, profile, None, "stop"))


def rows() -> int:
    return len(shared_client.get().ledger.rows())


@pytest.mark.parametrize(("profile", "period"), [("day", "today"), ("month", "this month")])
def test_too_large_a_batch_sends_nothing_and_says_what_could_be_paid(
    log: Any, profile: str, period: str
) -> None:
    with pytest.raises(BudgetError) as refused:
        run(1, 2, 3, 4, profile=profile)
    assert "it needs $0.0" in refused.value.what
    assert f"$0.05 left {period}. Nothing was sent." in refused.value.what
    assert "The budget pays for 2 of the 4 images." in refused.value.hint
    assert (len(log.entries), rows()) == (0, 0)


def test_a_batch_that_fits_is_bought(log: Any) -> None:
    assert len(run(1, 2).images) == 2


def test_images_of_the_store_cost_nothing(log: Any) -> None:
    run(1, 2)
    with pytest.raises(BudgetError, match="pays for 0 of the 1 images that have to be bought"):
        run(1, 2, 3)
    assert len(run(1, 2, 1).images) == 3
    assert len(log.entries) == 2


def test_the_same_image_twice_is_paid_once(log: Any) -> None:
    assert len(run(7, 7, 7, 7).images) == 4
    assert len(log.entries) == 1


def test_a_batch_that_joins_calls_in_flight_is_free(log: Any) -> None:
    async def both() -> list[Batch]:
        requests = [
            Generate("MAI-Image-2.6", "a fox [[latency 1]]", 768, 768, seed) for seed in (1, 2)
        ]
        first = asyncio.create_task(run_requests(requests, "day", None, "stop"))
        while rows() < 2:
            await asyncio.sleep(0.01)
        return [await run_requests(requests, "day", None, "stop"), await first]

    assert [len(batch.images) for batch in asyncio.run(both())] == [2, 2]
    assert len(log.entries) == 2


def test_the_emulator_has_no_budget(log: Any) -> None:
    batch = run(*range(8), profile="emulator")
    info = json.loads(info_json(batch, "emulator"))
    assert info["cost_usd"] == 0
    assert info["real_cost_usd"] == pytest.approx(0.175, abs=0.001)
