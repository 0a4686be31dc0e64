"""A key in a real ComfyUI that logs at DEBUG: nothing that it keeps, shows or says holds it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from canary import KEY, error_body, files_that_show_it, shows
from client_harness import draw, prompt_of
from mai_image.demo.client import ComfyUIClient, Finished, Graph, Refused
from mai_image.demo.find import ROOT, ComfyUI
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for
from PIL import Image
from scripted_server import Connection, ReceivedRequest, Scripted

PROFILES = """
[profiles.canary]
service = "foundry"
endpoint = "{url}"
credential = {{ kind = "key_env", name = "MY_CANARY" }}
requests_a_minute = 6000
"""

ECHO = {"x-request-id": KEY, "apim-request-id": f"id {KEY}", "set-cookie": f"k={KEY}"}

HOSTILE_NAMES = [
    "../canary",
    "/etc/passwd",
    "http://127.0.0.1:1/",
    'canary"]\nendpoint = "http://127.0.0.1:1"\n[profiles."x',
    "canary\n",
    "\x00",
    "${MY_CANARY}",
    "x" * 10_000,
    "",
]

NO_TEXTS: list[Any] = [None, 7, 1.5, True, [], ["1", "2", "3"], {"name": "canary"}]


def answer(connection: Connection, request: ReceivedRequest) -> None:
    """Echo the key in every way; the prompt says how the call ends."""
    status = prompt_of(request).rsplit(" ", 1)[-1]
    if status.isdigit():
        connection.answer(int(status), error_body(KEY), ECHO)
    else:
        draw(connection, request)


class Talkative(ComfyUIServer):
    """A ComfyUI that logs all it can."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--verbose", "DEBUG"]


@pytest.fixture(scope="module")
def hostile() -> Iterator[Scripted]:
    server = Scripted(default=answer)
    yield server
    server.close()


@pytest.fixture(scope="module")
def talkative(
    comfyui: ComfyUI, hostile: Scripted, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyUIServer]:
    folder = tmp_path_factory.mktemp("canary")
    (folder / "user" / "__mai").mkdir(parents=True)
    profiles = folder / "user" / "__mai" / "profiles.toml"
    profiles.write_text(PROFILES.format(url=hostile.url), encoding="utf-8")
    environ = {**environ_for(hostile.url), "AZURE_ENDPOINT": None, "AZURE_API_KEY": None}
    with Talkative(
        comfyui,
        output=folder / "output",
        packages=ROOT / ".venv" / "comfyui-packages",
        environ={**environ, "MY_CANARY": KEY},
        user=folder / "user",
    ) as running:
        yield running


def run(server: ComfyUIServer, graph: Graph) -> tuple[Finished, str]:
    """How a prompt ended, and all that was said of it over the API and the websocket."""

    async def scenario() -> tuple[Finished, str]:
        async with ComfyUIClient(server.url) as client:
            finished = await client.run(graph)
            history = await client.get("/history")
            return finished, json.dumps([history, [event.data for event in client.events]])

    return asyncio.run(scenario())


def graph_of(node: dict[str, Any], save: Any) -> Graph:
    return {
        "1": node,
        "2": save("1"),
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }


def test_a_good_run_leaves_the_key_nowhere(
    talkative: ComfyUIServer, hostile: Scripted, generate: Any, save: Any
) -> None:
    finished, said = run(talkative, graph_of(generate("good", profile="canary"), save))
    assert (finished.status, finished.error) == ("success", "")
    assert KEY in str(hostile.requests[-1].headers)
    assert not shows(said)
    assert json.loads(finished.text("3"))["count"] == 1
    ((subfolder, name),) = finished.files()
    data = (talkative.output / subfolder / name).read_bytes()
    assert KEY.encode() not in data
    assert not shows(repr(Image.open(io.BytesIO(data)).info))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_failed_run_leaves_the_key_nowhere(
    status: int, talkative: ComfyUIServer, generate: Any, save: Any
) -> None:
    finished, said = run(talkative, graph_of(generate(f"bad {status}", profile="canary"), save))
    assert finished.status == "error"
    assert f"HTTP {status}" in finished.error
    assert "[hidden]" in finished.error
    assert not shows(said)


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, *NO_TEXTS], ids=lambda name: ascii(name)[:20])
def test_a_hostile_name_in_a_prompt_is_only_not_configured(
    name: Any, talkative: ComfyUIServer, hostile: Scripted, generate: Any, save: Any
) -> None:
    """ComfyUI turns what is no text into one, or refuses the prompt; a name of ours it never is."""
    before = len(hostile.requests)
    try:
        finished, said = run(talkative, graph_of(generate("named", profile=name), save))
    except Refused:
        said = ""
    else:
        assert finished.status == "error"
        assert "is not configured" in finished.error
    assert len(hostile.requests) == before
    assert not shows(said)


def test_an_input_that_the_node_does_not_know_changes_nothing(
    talkative: ComfyUIServer, hostile: Scripted, generate: Any, save: Any
) -> None:
    other = Scripted()
    places = ("endpoint", "url", "base_url", "api_key", "header", "headers", "proxy", "path")
    added = dict.fromkeys(places, other.url)
    node = generate("extra", profile="canary", **added)
    try:
        finished, _ = run(talkative, graph_of(node, save))
    except Refused:
        pass
    else:
        assert finished.status == "success"
        assert KEY in str(hostile.requests[-1].headers)
    other.close()
    assert other.connections == 0


ASKED = (
    "/object_info/MAIGenerate",
    "/mai-image/status",
    "/mai-image/images",
    "/userdata?dir=../__mai&recurse=true&full_info=true",
    "/userdata/..%2f__mai%2fprofiles.toml",
    "/userdata/__mai%2fprofiles.toml",
    "/v2/userdata?path=../__mai",
    "/view?filename=profiles.toml&subfolder=../user/__mai&type=output",
    "/view?filename=../user/__mai/profiles.toml&type=input",
    "/extensions/mai_image_of_this_clone/../../user/__mai/profiles.toml",
    "/settings",
    "/system_stats",
    "/internal/logs",
)


def test_no_route_of_comfyui_leads_to_the_key_or_its_file(talkative: ComfyUIServer) -> None:
    async def ask() -> dict[str, str]:
        async with aiohttp.ClientSession(talkative.url, trust_env=False) as session:
            found = {}
            for path in ASKED:
                async with session.get(path) as answer:
                    found[path] = await answer.text()
            return found

    said = asyncio.run(ask())
    assert '"MAIGenerate"' in said["/object_info/MAIGenerate"]
    assert [path for path, text in said.items() if shows(text) or "key_env" in text] == []


def test_neither_the_log_nor_any_file_holds_the_key(talkative: ComfyUIServer) -> None:
    """Last in this file: it looks at what all tests before it have left."""
    log = talkative.log()
    assert "httpcore" in log or "receive_response_headers" in log or "HTTP Request: POST" in log
    assert not shows(log)
    user: Path = talkative.user
    assert list((user / "__mai" / "store").rglob("*.png"))
    for folder in (user, talkative.output, talkative.base):
        assert files_that_show_it(folder) == []
