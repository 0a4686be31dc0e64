"""Order now, collect later, in a real ComfyUI: the bill is the emulator's."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Finished, Graph
from mai_image.demo.launch import ComfyUIServer

ORDER = {"delivery": "order and go on"}

TWO_A_MINUTE = """
[profiles.tight]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key", value = "emulator" }}
requests_a_minute = {rpm}
"""


def run(server: ComfyUIServer, graph: Graph) -> tuple[Finished, str]:
    """How a prompt ended, and the last text on its node 1."""

    async def scenario() -> tuple[Finished, str]:
        async with ComfyUIClient(server.url) as client:
            finished = await client.run(graph)
            return finished, (client.texts("1") or [""])[-1]

    return asyncio.run(scenario())


def orders(server: ComfyUIServer) -> Any:
    """What the sidebar lists."""

    async def ask() -> Any:
        async with ComfyUIClient(server.url) as client:
            return (await client.get("/mai-image/status"))["orders"]

    return asyncio.run(ask())


def settled(server: ComfyUIServer) -> Any:
    """What the sidebar lists when nothing is under way any more."""
    return until(lambda: orders(server), lambda found: not any(one["under_way"] for one in found))


def until(look: Callable[[], Any], ready: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not ready(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def counts(order: Any) -> tuple[int, int, int, int]:
    return order["landed"], order["under_way"], order["failed"], order["left"]


def test_an_order_ends_at_once_and_is_collected_free(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    node = generate(f"{prompt} [[latency 3]]", batch_size=4, **ORDER)
    info = {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}}
    graph = {"1": node, "2": save("1"), "3": info}
    finished, text = run(server, graph)
    assert (finished.status, text) == ("success", "4 ordered")
    assert finished.files() == []
    assert "3" not in finished.outputs
    (order,) = orders(server)
    assert counts(order) == (0, 4, 0, 0)
    again, _ = run(server, graph)
    assert "1" in again.cached
    (order,) = settled(server)
    assert counts(order) == (4, 0, 0, 0)
    collected, text = run(server, graph)
    assert len(collected.files()) == 4
    assert "4 from the store" in text
    assert orders(server) == []
    assert service.log.billed == 4
    last, _ = run(server, graph)
    assert set(last.cached) >= {"1", "2", "3"}
    assert service.log.billed == 4


def test_another_prompt_runs_while_an_order_is_under_way(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    run(server, {"1": generate(f"{prompt} [[latency 5]]", **ORDER), "2": save("1")})
    finished, _ = run(server, {"1": generate(f"{prompt}, at once"), "2": save("1")})
    assert len(finished.files()) == 1
    assert counts(orders(server)[0]) == (0, 1, 0, 0)
    settled(server)
    run(server, {"1": generate(f"{prompt} [[latency 5]]", **ORDER), "2": save("1")})
    assert orders(server) == []


def test_of_four_that_are_ordered_one_is_blocked(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    node = generate(f"{prompt} [[fault answer=block-result first=1]]", batch_size=4, **ORDER)
    graph = {"1": node, "2": save("1")}
    run(server, graph)
    (order,) = settled(server)
    assert counts(order) == (3, 0, 1, 0)
    assert "content filter" in order["reasons"][0]["text"]
    finished, _ = run(server, graph)
    assert finished.status == "error"
    assert "1 of 4 images failed" in finished.error
    assert "content filter" in finished.error
    assert len(service.log.entries) == 4
    assert orders(server) == []
    run(server, graph)
    settled(server)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 4
    assert len(service.log.entries) == 5


def test_with_skip_the_others_are_collected(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    text = f"{prompt} [[fault answer=block-result first=1]]"
    graph = {"1": generate(text, batch_size=4, if_blocked="skip", **ORDER), "2": save("1")}
    run(server, graph)
    settled(server)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 3
    assert len(service.log.entries) == 4


def test_an_interrupt_and_a_cleared_queue_withdraw_no_order(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    graph = {
        "1": generate(f"{prompt} [[latency 3]]", batch_size=2, **ORDER),
        "2": save("1"),
        "3": generate(f"{prompt}, waited for [[latency 4]]"),
        "4": save("3"),
    }

    async def scenario() -> Finished:
        async with ComfyUIClient(server.url) as client:
            prompt_id = await client.queue(graph)
            while len(service.log.entries) < 3:
                await asyncio.sleep(0.02)
            await client.interrupt()
            finished = await client.finish(prompt_id)
            await client._session.post("/queue", json={"clear": True})
            return finished

    assert asyncio.run(scenario()).status == "interrupted"
    (order,) = settled(server)
    assert counts(order) == (2, 0, 0, 0)
    finished, _ = run(server, {"1": graph["1"], "2": graph["2"]})
    assert len(finished.files()) == 2
    assert service.log.billed == 3


def test_two_nodes_that_order_the_same_image_pay_for_it_once(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    node = generate(prompt, **ORDER)
    graph = {"1": node, "2": save("1"), "3": node, "4": save("3")}
    run(server, graph)
    settled(server)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 2
    assert orders(server) == []
    assert service.log.billed == 1


def test_the_items_of_a_list_are_ordered_in_one_sentence(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    edit = {"prompt": f"{prompt}, in snow", "model": "MAI-Image-2.6", "seed": 0, "batch_size": 1,
            "images.image_1": ["3", 0], "profile": "default", **ORDER}  # fmt: skip
    graph = {
        "1": {"class_type": "MAIEdit", "inputs": edit},
        "2": generate(prompt, batch_size=3),
        "3": {"class_type": "RebatchImages", "inputs": {"images": ["2", 0], "batch_size": 1}},
        "4": save("1"),
    }
    finished, text = run(server, graph)
    assert (finished.status, text) == ("success", "3 ordered")
    (order,) = settled(server)
    assert counts(order) == (3, 0, 0, 0)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 3
    assert orders(server) == []
    assert service.log.billed == 6


def start_with(boot: Any, url: str, rpm: int) -> ComfyUIServer:
    started: ComfyUIServer = boot(TWO_A_MINUTE.format(url=url, rpm=rpm))
    return started


def test_after_a_crash_nothing_is_paid_twice_and_what_was_lost_is_said(
    boot: Any, slow: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    server = start_with(boot, slow.url, 2)
    graph = {"1": generate(prompt, batch_size=4, profile="tight", **ORDER), "2": save("1")}
    run(server, graph)
    until(lambda: len(slow.log.entries), lambda sent: sent == 2)
    server.kill()
    server = start_with(boot, slow.url, 6000)
    (order,) = orders(server)
    assert counts(order) == (0, 0, 2, 2)
    assert order["earlier"]
    assert "was lost" in order["reasons"][0]["text"]
    finished, text = run(server, graph)
    assert (finished.status, text) == ("success", "2 ordered · 2 failed")
    (order,) = settled(server)
    assert counts(order) == (2, 0, 2, 0)
    assert not order["earlier"]
    finished, _ = run(server, graph)
    assert finished.status == "error"
    assert "2 of 4 images failed" in finished.error
    assert "was lost" in finished.error
    assert slow.log.billed == 4
    run(server, graph)
    settled(server)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 4
    assert slow.log.billed == 6


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_at_a_restart_what_is_sent_lands_and_what_waits_is_forgotten_unpaid(
    boot: Any, slow: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    server = start_with(boot, slow.url, 2)
    graph = {"1": generate(prompt, batch_size=4, profile="tight", **ORDER), "2": save("1")}
    run(server, graph)
    until(lambda: len(slow.log.entries), lambda sent: sent == 2)
    server.stop(keep_folder=True)  # by SIGTERM; a second one would end it at once
    assert slow.log.billed == 2
    server = start_with(boot, slow.url, 6000)
    (order,) = orders(server)
    assert counts(order) == (2, 0, 0, 2)
    _, text = run(server, graph)
    assert text == "2 ordered · 2 from the store"
    settled(server)
    finished, _ = run(server, graph)
    assert len(finished.files()) == 4
    assert orders(server) == []
    assert slow.log.billed == 4


def test_a_budget_refuses_an_order_before_anything_is_sent(
    boot: Any, slow: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    server = boot("budget = { day = 0.05 }")
    node = generate(prompt, batch_size=8, profile="work", **ORDER)
    finished, _ = run(server, {"1": node, "2": save("1")})
    assert finished.status == "error"
    assert "Nothing was sent" in finished.error
    assert orders(server) == []
    assert not slow.log.entries
