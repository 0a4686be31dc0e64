"""Prompts in a real ComfyUI: what is bought, what is saved, what is refused."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import urllib.request
from typing import Any

import numpy as np
import pytest
from mai_image import emulator
from mai_image.demo import graph as workflows
from mai_image.demo.__main__ import WORKFLOW
from mai_image.demo.client import ComfyUIClient, Finished, Graph
from mai_image.demo.launch import PACK, ComfyUIServer
from PIL import Image

NODES = ("MAIGenerate", "MAIEdit", "MAISizeHelper")


def run(server: ComfyUIServer, graph: Graph) -> Finished:
    async def scenario() -> Finished:
        async with ComfyUIClient(server.url) as client:
            return await client.run(graph)

    return asyncio.run(scenario())


def pixels(server: ComfyUIServer, finished: Finished) -> list[Any]:
    files = [server.output / subfolder / name for subfolder, name in finished.files()]
    return [np.asarray(Image.open(file)) for file in files]


def sent_again(service: emulator.Emulator, body: dict[str, Any]) -> Any:
    """The image of the emulator's last request: the same request gets the same image."""
    last = service.log.entries[-1]
    request = urllib.request.Request(
        f"{service.url}{last.path}",
        json.dumps(body).encode(),
        {
            "Content-Type": "application/json",
            "api-key": emulator.DEFAULT_KEY,
            "x-ms-client-request-id": last.client_request_id or "",
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        png = base64.b64decode(json.load(answer)["data"][0]["b64_json"])
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_pack_loads_and_every_node_is_announced(server: ComfyUIServer) -> None:
    async def announced() -> Any:
        async with ComfyUIClient(server.url) as client:
            return await client.get("/object_info")

    info = asyncio.run(announced())
    assert set(NODES) <= set(info)
    assert {info[name]["python_module"] for name in NODES} == {f"custom_nodes.{PACK}"}
    assert "IMPORT FAILED" not in server.log()


def test_the_demo_graph_saves_two_images_of_the_wanted_size(
    server: ComfyUIServer, service: emulator.Emulator
) -> None:
    finished = run(server, workflows.load(WORKFLOW))
    assert (finished.status, finished.error) == ("success", "")
    assert [image.shape for image in pixels(server, finished)] == [(1024, 1536, 3)] * 2
    bought = service.log.entries
    assert [entry.path.rsplit("/", 1)[1] for entry in bought] == ["generations"] * 2 + ["edits"] * 2
    assert all(len(entry.files) == 2 for entry in bought[2:])
    shown = [json.loads(finished.text(node_id))["cost_usd"] for node_id in ("7", "8")]
    assert sum(shown) == pytest.approx(service.log.billed_usd, abs=1e-5)


def test_a_png_saved_after_generate_has_exactly_the_pixels_that_the_service_sent(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    finished = run(server, {"1": generate(prompt, width=1024, height=768), "2": save("1")})
    (saved,) = pixels(server, finished)
    body = {"model": "MAI-Image-2.6", "prompt": prompt, "width": 1024, "height": 768}
    assert np.array_equal(saved, sent_again(service, body))


def test_two_prompts_one_after_the_other_both_reach_the_service(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    for seed in (1, 2):
        finished = run(server, {"1": generate(prompt, seed=seed), "2": save("1")})
        assert (finished.status, finished.error) == ("success", "")
    assert len(service.log.entries) == 2


def test_a_batch_is_sent_side_by_side(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, generate: Any, save: Any
) -> None:
    graph = {"1": generate(f"{prompt} [[latency 1]]", batch_size=4), "2": save("1")}
    finished = run(server, graph)
    assert len(pixels(server, finished)) == 4
    sent = [entry.time for entry in service.log.entries]
    assert len(sent) == 4
    assert max(sent) - min(sent) < 1.0


@pytest.mark.parametrize(
    ("model", "width", "height", "nearest"),
    [
        ("MAI-Image-2.6", 2000, 2000, "1536"),
        ("MAI-Image-2.6", 700, 1024, "768"),
        ("MAI-Image-2.5", 1536, 1024, "1248"),
    ],
)
def test_a_wrong_size_is_refused_with_the_nearest_and_never_sent(
    server: ComfyUIServer,
    service: emulator.Emulator,
    prompt: str,
    generate: Any,
    save: Any,
    model: str,
    width: int,
    height: int,
    nearest: str,
) -> None:
    node = generate(prompt, model=model, width=width, height=height)
    finished = run(server, {"1": node, "2": save("1")})
    assert finished.status == "error"
    assert nearest in finished.error
    assert service.log.entries == ()


def test_an_error_names_a_command_that_works_on_this_machine(
    server: ComfyUIServer, prompt: str, generate: Any, save: Any
) -> None:
    refused = generate(f"{prompt} [[fault status=400]]")
    error = run(server, {"1": refused, "2": save("1")}).error
    command = error.partition("Run `")[2].partition(" doctor`")[0]
    shell = subprocess.run(
        f"{command} --version", shell=True, cwd="/", capture_output=True, text=True, check=True
    )
    assert shell.stdout.startswith("mai-image ")
