"""How many images a node may order in one run of a graph."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mai_image.mai.errors import InputError
from mai_image.mai.types import Generate
from mai_image.nodes.run import run_requests


def requests(count: int) -> list[Generate]:
    return [Generate("MAI-Image-2.6", "a fox", 768, 768, seed) for seed in range(count)]


def test_a_node_orders_no_more_than_its_profile_allows(emulator: Any) -> None:
    with pytest.raises(
        InputError, match=r"65 images in one run.*allows 64(.|\n)*max_images_per_node"
    ):
        asyncio.run(run_requests(requests(65), "test", None, "stop"))
    assert emulator.log.entries == ()


def test_the_items_of_a_list_count_together(emulator: Any, prompt_id: None) -> None:
    """ComfyUI runs a node once for each item, in one event loop."""

    async def items() -> None:
        for _ in range(3):
            await run_requests(requests(32), "test", "7", "stop")

    with pytest.raises(InputError, match="96 images"):
        asyncio.run(items())
    assert len(emulator.log.entries) == 32, "the second item came from the store, free"


def test_two_nodes_count_apart_and_so_do_two_runs(emulator: Any, prompt_id: None) -> None:
    async def nodes() -> None:
        for node in ("7", "8"):
            await run_requests(requests(40), "test", node, "stop")

    for _ in range(2):
        asyncio.run(nodes())
    assert len(emulator.log.entries) == 40
