"""Cancel in a real ComfyUI: the wait ends at once, and shows as interrupted, not as an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Event, Finished, Graph
from mai_image.demo.launch import ComfyUIServer

AT_MOST = 0.5
"""Seconds from the cancel to the prompt's end, as promised to the user."""

SLOW = "[[latency 5]]"


def interrupted(
    server: ComfyUIServer, graph: Graph, when: Callable[[], bool]
) -> tuple[Finished, float, list[Event]]:
    """Run `graph` and cancel as soon as `when` says so: (its end, how long that took, events)."""

    async def scenario() -> tuple[Finished, float, list[Event]]:
        async with ComfyUIClient(server.url) as client:
            prompt_id = await client.queue(graph)
            deadline = time.monotonic() + 30
            while not when():
                assert time.monotonic() < deadline, "the request never reached the service"
                await asyncio.sleep(0.02)
            pressed = await client.interrupt()
            finished = await client.finish(prompt_id)
            return finished, finished.ended_at - pressed, client.events

    return asyncio.run(scenario())


def test_a_cancel_ends_the_wait_of_the_last_node(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any
) -> None:
    graph = {
        "1": generate(f"{prompt} {SLOW}"),
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    finished, seconds, _ = interrupted(server, graph, lambda: len(service.log.entries) == 1)
    assert finished.status == "interrupted"
    assert seconds < AT_MOST


def test_a_cancel_ends_two_nodes_that_run_side_by_side(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    graph = {
        "1": generate(f"{prompt}, left {SLOW}"),
        "2": generate(f"{prompt}, right {SLOW}"),
        "3": save("1"),
        "4": save("2"),
    }
    finished, seconds, events = interrupted(server, graph, lambda: len(service.log.entries) == 2)
    assert finished.status == "interrupted"
    assert seconds < AT_MOST
    assert [event.data for event in events if event.type == "execution_error"] == []


def test_after_a_cancel_the_next_prompt_runs_as_if_nothing_had_been(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    slow = {"1": generate(f"{prompt} {SLOW}"), "2": save("1")}
    interrupted(server, slow, lambda: len(service.log.entries) == 1)

    async def scenario() -> Finished:
        async with ComfyUIClient(server.url) as client:
            return await client.run({"1": generate(f"{prompt}, again"), "2": save("1")})

    finished = asyncio.run(scenario())
    assert (finished.status, finished.error) == ("success", "")
    assert finished.seconds < 4


def test_the_page_is_told_what_a_node_waits_for(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    async def scenario() -> tuple[list[str], list[dict[str, Any]]]:
        async with ComfyUIClient(server.url) as client:
            node = generate(f"{prompt} [[latency 1]]", batch_size=2)
            await client.run({"1": node, "2": save("1")})
            states = [event.data for event in client.events if event.type == "progress_state"]
            return client.texts("1"), [state["nodes"]["1"] for state in states]

    texts, bars = asyncio.run(scenario())
    assert any("sent 2 of 2" in text for text in texts), texts
    assert {"value": 2, "max": 2} in [{"value": b["value"], "max": b["max"]} for b in bars]
