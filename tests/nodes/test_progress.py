"""What a node says of its run, on itself: while it runs, and what stays there afterwards."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from mai_image.mai.errors import MaiError
from mai_image.mai.types import Generate, Progress, Result
from mai_image.nodes import run as waiting
from mai_image.nodes.run import SharedClient, run_requests

NODE = "7"
PAGE = "the page that queued the prompt"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were sent to the node, in order, each to the page that asked alone."""
    texts: list[str] = []

    class Server:
        client_id: object = PAGE

        def send_progress_text(self, text: str, node_id: str, sid: str | None = None) -> None:
            assert (node_id, sid) == (NODE, PAGE)
            texts.append(text)

    class Execution:
        async def set_progress(self, value: int, count: int, node_id: str) -> None:
            assert 0 <= value <= count

    class API:
        execution = Execution()

    monkeypatch.setattr(waiting.PromptServer, "instance", Server())
    monkeypatch.setattr(waiting, "ComfyAPI", API)
    return texts


def run(*prompts: str, if_blocked: str = "stop", profile: str = "test") -> None:
    requests = [
        Generate("MAI-Image-2.6", prompt, 768, 768, seed) for seed, prompt in enumerate(prompts)
    ]
    asyncio.run(run_requests(requests, profile, NODE, if_blocked))


def test_cost_and_seconds_stay_when_all_came(emulator: Any, said: list[str]) -> None:
    run("a fox", "a hare")
    assert said[0].startswith("sent ")
    assert re.fullmatch(r"\$0\.04\d · \d+ s", said[-1])


def test_images_from_the_store_are_counted(emulator: Any, said: list[str]) -> None:
    run("a fox")
    run("a fox")
    assert re.fullmatch(r"\$0\.000 · \d+ s · 1 from the store", said[-1])


def test_a_node_that_is_locked_out_says_who_holds_the_file(
    emulator: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = waiting.shared_client.get()
    real = client.submit

    def submit(request: Any, profile: str, on_progress: Any) -> Any:
        on_progress(Progress("waiting", reason="process 12 holds the quota file"))
        return real(request, profile)

    monkeypatch.setattr(client, "submit", submit)
    run("a fox [[latency 1]]")
    assert any("waiting: process 12 holds the quota file" in text for text in said)


def test_a_skipped_image_is_counted_as_blocked(emulator: Any, said: list[str]) -> None:
    run("a fox", "blockprompt", if_blocked="skip")
    assert re.fullmatch(r"\$0\.02\d · \d+ s · 1 blocked", said[-1])


def test_a_run_that_failed_does_not_look_as_if_it_still_ran(emulator: Any, said: list[str]) -> None:
    with pytest.raises(MaiError):
        run("[[fault status=403]]")
    assert re.fullmatch(r"\d+ s · 1 failed", said[-1])


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    def start() -> Any:
        raise ModuleNotFoundError("No module named 'httpx'", name="httpx")

    with pytest.raises(MaiError, match=r"httpx isn't installed.\n.*requirements\.txt"):
        SharedClient(start).get()


def test_a_bar_moves_with_each_image_of_several_and_not_for_one(
    emulator: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int]] = []

    async def note(self: object, value: int, count: int, node_id: str) -> None:
        steps.append((value, count))

    monkeypatch.setattr(waiting.ComfyAPI().execution.__class__, "set_progress", note)
    run("a fox")
    assert steps == []
    run("a hare", "a deer", "a lynx")
    assert steps[-1] == (3, 3)


def test_many_waiting_nodes_look_less_often_and_still_see_a_cancel(
    emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    real = waiting.model_management.processing_interrupted

    def look() -> bool:
        nonlocal looks
        looks += 1
        return bool(real())

    async def wait_for(nodes: int) -> float:
        request = Generate("MAI-Image-2.6", "a fox [[latency 30]]", 768, 768)
        tasks = [
            asyncio.ensure_future(run_requests([request], "test", None, "stop"))
            for _ in range(nodes)
        ]
        await asyncio.sleep(1.2)
        seen = looks / nodes
        waiting.model_management.interrupt_current_processing(True)
        ended = await asyncio.wait(tasks, timeout=2 * waiting.SLOWEST)
        assert not ended[1]
        interrupted = waiting.model_management.InterruptProcessingException
        assert all(isinstance(task.exception(), interrupted) for task in tasks)
        return seen

    monkeypatch.setattr(waiting.model_management, "processing_interrupted", look)
    try:
        assert asyncio.run(wait_for(8 * waiting.MANY)) <= 4
        looks = 0
        waiting.model_management.interrupt_current_processing(False)
        assert asyncio.run(wait_for(1)) > 4, "nodes that ended still count as waiting"
    finally:
        waiting.model_management.interrupt_current_processing(False)


@pytest.mark.parametrize("client_id", [None, "", 0, ["x"]])
def test_a_prompt_of_no_page_says_nothing_to_any(
    emulator: Any, said: list[str], monkeypatch: pytest.MonkeyPatch, client_id: object
) -> None:
    """ComfyUI sends what names no client to everybody, and the texts name costs."""
    steps: list[int] = []

    async def note(self: object, value: int, count: int, node_id: str) -> None:
        steps.append(value)

    monkeypatch.setattr(waiting.ComfyAPI().execution.__class__, "set_progress", note)
    monkeypatch.setattr(waiting.PromptServer.instance, "client_id", client_id)
    run("a fox", "a hare")
    waiting.show_notes("MAI Crop for Edit", NODE, ["a note"])
    assert (said, steps) == ([], [])


def test_a_page_that_queues_next_gets_nothing_of_the_prompt_before(
    emulator: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = waiting.shared_client.get()
    real = client.submit

    def submit(*arguments: Any) -> Any:
        waiting.PromptServer.instance.client_id = "another page"
        return real(*arguments)

    monkeypatch.setattr(client, "submit", submit)
    run("a fox")
    assert said[-1].startswith("$0.0")


def test_emulated_images_say_what_real_ones_cost(emulator: Any, said: list[str]) -> None:
    run("a fox", "a hare", profile="emulator")
    assert re.fullmatch(r"emulated; real ≈ \$0\.04\d · \d+ s", said[-1])
    run("a fox", profile="emulator")
    assert re.fullmatch(r"emulated; real ≈ \$0\.000 · \d+ s · 1 from the store", said[-1])


@pytest.fixture
def three_that_wait(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three calls one is sent and two wait for their turn, for 40 s at most."""
    client = waiting.shared_client.get()

    def submit(request: Any, profile: str, on_progress: Any) -> Future[Result]:
        wait = Progress("waiting", time.monotonic() + 20 * request.seed, 3.0)
        on_progress(wait if request.seed else Progress("sent"))
        return Future()

    monkeypatch.setattr(client, "submit", submit)


def cancel_after_a_text(said: list[str], end: Callable[[asyncio.Task[Any]], object]) -> None:
    """Run three calls, and call `end` with the node's task once it has said something."""

    async def scenario() -> None:
        requests = [Generate("MAI-Image-2.6", "a fox", 768, 768, seed) for seed in range(3)]
        task = asyncio.create_task(run_requests(requests, "test", NODE, "stop"))
        while not said:
            await asyncio.sleep(0.01)
        end(task)
        await asyncio.wait([task])

    asyncio.run(scenario())


@pytest.mark.usefixtures("three_that_wait")
def test_a_batch_that_waits_says_when_all_will_be_there(said: list[str]) -> None:
    cancel_after_a_text(said, lambda task: task.cancel())
    assert "your turn in 20 s" in said[0]
    assert "all in about 60 s" in said[0]


@pytest.mark.usefixtures("three_that_wait")
def test_a_cancel_leaves_no_turn_on_the_node(said: list[str]) -> None:
    cancel_after_a_text(
        said, lambda task: waiting.model_management.interrupt_current_processing(True)
    )
    waiting.model_management.interrupt_current_processing(False)
    assert said[-1] == "stopped · 1 sent before will be kept"


@pytest.mark.usefixtures("three_that_wait")
def test_a_node_that_ends_because_another_failed_says_no_turn_either(said: list[str]) -> None:
    cancel_after_a_text(said, lambda task: task.cancel())
    assert said[-1] == "stopped · 1 sent before will be kept"
