"""What a real ComfyUI with this pack tells whom: other pages, and who knocks at the emulator."""

from __future__ import annotations

import asyncio
import http.client
from typing import Any

import aiohttp
import psutil
import pytest
from mai_image.demo.client import ComfyUIClient, Finished, Graph
from mai_image.demo.launch import ComfyUIServer


async def until_done(session: aiohttp.ClientSession, prompt_id: str) -> None:
    for _ in range(300):
        async with session.get(f"/history/{prompt_id}") as answer:
            if prompt_id in await answer.json():
                return
        await asyncio.sleep(0.1)
    raise AssertionError("the prompt did not end")


def test_costs_are_told_to_the_page_that_asked_and_to_no_other(
    server: ComfyUIServer, prompt: str, generate: Any, save: Any
) -> None:
    graph: Graph = {"1": generate(prompt), "2": save("1")}

    async def scenario() -> tuple[Finished, list[str], list[str]]:
        async with ComfyUIClient(server.url) as asking, ComfyUIClient(server.url) as other:
            finished = await asking.run(graph)
            await asyncio.sleep(0.5)
            return finished, asking.texts("1"), other.texts("1")

    finished, asked, others = asyncio.run(scenario())
    assert (finished.status, finished.error) == ("success", "")
    assert any("$0.0" in text for text in asked)
    assert others == []


def test_costs_of_a_prompt_without_a_page_are_told_to_none(
    server: ComfyUIServer, prompt: str, generate: Any, save: Any
) -> None:
    body = {"prompt": {"1": generate(prompt), "2": save("1")}}

    async def scenario() -> list[str]:
        async with ComfyUIClient(server.url) as other, aiohttp.ClientSession(server.url) as session:
            async with session.post("/prompt", json=body) as answer:
                queued = await answer.json()
            await until_done(session, queued["prompt_id"])
            await asyncio.sleep(0.5)
            return other.texts("1")

    assert asyncio.run(scenario()) == []


@pytest.fixture
def port(server: ComfyUIServer, prompt: str, generate: Any, save: Any) -> int:
    """Where the built-in emulator of the running ComfyUI listens, which its first use starts."""

    async def use() -> Finished:
        async with ComfyUIClient(server.url) as client:
            node = generate(f"{prompt} [[fault status=500]] blockprompt", profile="emulator")
            return await client.run({"1": node, "2": save("1")})

    finished = asyncio.run(use())
    # The directive of this prompt is text like any other here.
    assert (finished.status, finished.error) == ("success", "")
    connections = psutil.Process(server.pid).net_connections("tcp")
    found = {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}
    (emulator,) = found - {server.port}
    return emulator


def test_the_built_in_emulator_gives_nothing_out(port: int) -> None:
    def status(method: str, path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, body="{}", headers=headers)
        found = connection.getresponse().status
        connection.close()
        return found

    for key in ({}, {"api-key": "emulator"}):
        assert status("GET", "/emulator/log", **key) == 404
        assert status("POST", "/mai/v1/images/generations", **key) == 401
        assert status("GET", "/metadata/identity/oauth2/token", Metadata="true", **key) == 404
        assert status("GET", "/emulator/log", Host=f"evil.example:{port}", **key) == 403
