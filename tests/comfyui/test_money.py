"""Money in a real ComfyUI: killed, ended, failed and doubled, it pays for nothing twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Finished, Graph
from mai_image.demo.launch import ComfyUIServer
from mai_image.mai.ledger import Ledger


def images(tmp_path: Path) -> int:
    return len(list((tmp_path / "user" / "__mai" / "store").rglob("*.png")))


def uncertain(tmp_path: Path) -> int:
    ledger = Ledger(tmp_path / "user" / "__mai" / "ledger.sqlite")
    return len(ledger.spend().perhaps_billed)


def run(server: ComfyUIServer, graph: Graph) -> Finished:
    async def scenario() -> Finished:
        async with ComfyUIClient(server.url) as client:
            return await client.run(graph)

    return asyncio.run(scenario())


def run_until(server: ComfyUIServer, graph: Graph, ready: Callable[[], bool]) -> None:
    """Queue a graph and return as soon as `ready` says so."""

    async def scenario() -> None:
        async with ComfyUIClient(server.url) as client:
            await client.queue(graph)
            deadline = time.monotonic() + 30
            while not ready():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def batch_of_8(generate: Any, save: Any, prompt: str) -> Graph:
    return {"1": generate(prompt, batch_size=8, profile="work"), "2": save("1")}


def test_a_batch_of_8_that_was_killed_is_finished_by_the_next_start(
    boot: Any, slow: emulator.Emulator, tmp_path: Path, prompt: str, generate: Any, save: Any
):
    first = boot()
    graph = batch_of_8(generate, save, prompt)
    run_until(first, graph, lambda: images(tmp_path) >= 3)
    first.kill()
    time.sleep(2)
    kept = images(tmp_path)
    before = slow.log.billed
    second = boot()
    finished = run(second, graph)
    assert finished.status == "success"
    assert slow.log.billed == before + 8 - kept
    assert slow.log.billed == images(tmp_path) + uncertain(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_what_is_out_lands_when_comfyui_is_asked_to_end(
    boot: Any,
    slow: emulator.Emulator,
    tmp_path: Path,
    prompt: str,
    generate: Any,
    save: Any,
    number: signal.Signals,
):
    server = boot()
    run_until(server, batch_of_8(generate, save, prompt), lambda: slow.log.billed == 8)
    os.kill(server.pid, number)
    server.stop(keep_folder=True)
    assert images(tmp_path) == 8
    assert uncertain(tmp_path) == 0


def test_a_failing_sibling_node_loses_no_image(
    boot: Any, slow: emulator.Emulator, tmp_path: Path, prompt: str, generate: Any, save: Any
):
    server = boot()
    good = generate(prompt, batch_size=3, profile="work")
    bad = generate(f"{prompt} [[fault status=400]]", profile="work")
    failed = run(server, {"1": good, "2": save("1"), "3": bad, "4": save("3")})
    assert failed.status == "error"
    deadline = time.monotonic() + 10
    while images(tmp_path) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run(server, {"1": good, "2": save("1")}).status == "success"
    assert slow.log.billed == 3


def test_two_comfyuis_on_one_user_folder_buy_the_same_batch_once(
    boot: Any, slow: emulator.Emulator, tmp_path: Path, prompt: str, generate: Any, save: Any
):
    servers = [boot(), boot()]
    graph = batch_of_8(generate, save, prompt)

    async def both() -> list[Finished]:
        async with ComfyUIClient(servers[0].url) as one, ComfyUIClient(servers[1].url) as two:
            return list(await asyncio.gather(one.run(graph), two.run(graph)))

    assert [finished.status for finished in asyncio.run(both())] == ["success", "success"]
    assert slow.log.billed == 8


def test_two_comfyuis_together_never_pass_the_budget(
    boot: Any, slow: emulator.Emulator, tmp_path: Path, prompt: str, generate: Any, save: Any
):
    servers = [boot("budget = { day = 0.15 }"), boot("budget = { day = 0.15 }")]
    # Each batch alone would fit.
    graphs = [
        {"1": generate(f"{prompt} {i}", batch_size=5, profile="work"), "2": save("1")}
        for i in range(2)
    ]

    async def both() -> list[Finished]:
        async with ComfyUIClient(servers[0].url) as one, ComfyUIClient(servers[1].url) as two:
            return list(await asyncio.gather(one.run(graphs[0]), two.run(graphs[1])))

    ended = asyncio.run(both())
    refused = [finished for finished in ended if finished.status == "error"]
    assert refused
    assert all("budget of profile 'work'" in finished.error for finished in refused)
    assert slow.log.billed_usd <= 0.15
    # The first call that the budget refuses ends those of its node that still wait for a slot.
    assert 0 < slow.log.billed <= int(0.15 / (768 * 768 / 1024 * 38e-6 + 0.0002))


def test_a_budget_is_checked_before_anything_is_sent(
    boot: Any, slow: emulator.Emulator, prompt: str, generate: Any, save: Any
):
    server = boot("budget = { day = 0.01 }")
    failed = run(server, {"1": generate(prompt, profile="work"), "2": save("1")})
    assert failed.status == "error"
    assert "budget" in failed.error
    assert not slow.log.entries


def test_a_batch_over_the_budget_is_refused_whole_in_words(
    boot: Any, slow: emulator.Emulator, tmp_path: Path, prompt: str, generate: Any, save: Any
) -> None:
    server = boot("budget = { day = 0.05 }")
    finished = run(server, batch_of_8(generate, save, prompt))
    assert finished.status == "error"
    assert "$0.05 left today. Nothing was sent." in finished.error
    assert "The budget pays for 2 of the 8 images." in finished.error
    assert slow.log.billed == images(tmp_path) == 0
    assert "Over budget: The budget of profile" in server.log()
