"""Transparent images in a real ComfyUI: core's nodes give back what the service sent."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import urllib.request
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient
from mai_image.demo.launch import ComfyUIServer
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Node = dict[str, Any]

WIDTH, HEIGHT = 1024, 768


def node(kind: str, **inputs: Any) -> Node:
    return {"class_type": kind, "inputs": inputs}


def saved(server: ComfyUIServer, graph: dict[str, Node]) -> list[Pixels]:
    """What a graph saves, in the order of its nodes' ids."""

    async def scenario() -> list[Pixels]:
        async with ComfyUIClient(server.url) as client:
            finished = await client.run(graph)
            assert (finished.status, finished.error) == ("success", "")
            files = sorted(finished.files(), key=lambda file: file[1])
            return [np.asarray(Image.open(io.BytesIO(await client.image(*file)))) for file in files]

    return asyncio.run(scenario())


def sent_again(service: emulator.Emulator, prompt: str) -> Pixels:
    """The image of the emulator's last request: the same request gets the same image."""
    last = service.log.entries[-1]
    body = {"model": "MAI-Image-2.7", "prompt": prompt, "width": WIDTH, "height": HEIGHT,
            "background": "transparent"}  # fmt: skip
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


@pytest.fixture
def transparent(prompt: str, generate: Any) -> Node:
    made: Node = generate(
        prompt, model="MAI-Image-2.7", width=WIDTH, height=HEIGHT, background="transparent"
    )
    return made


def test_join_image_with_alpha_and_save_image_write_the_service_s_own_pixels(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, transparent: Node
) -> None:
    graph = {
        "1": transparent,
        "2": node("JoinImageWithAlpha", image=["1", 0], alpha=["1", 2]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="joined"),
    }
    (joined,) = saved(server, graph)
    sent = sent_again(service, prompt)
    assert sent.shape == (HEIGHT, WIDTH, 4)
    assert len(np.unique(sent[..., 3])) > 100
    assert np.array_equal(joined, sent)


def test_invert_mask_and_image_composite_masked_show_the_service_s_own_alpha(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, transparent: Node
) -> None:
    graph = {
        "1": transparent,
        "2": node("InvertMask", mask=["1", 2]),
        "3": node("EmptyImage", width=WIDTH, height=HEIGHT, batch_size=1, color=0),
        "4": node("EmptyImage", width=WIDTH, height=HEIGHT, batch_size=1, color=0xFFFFFF),
        "5": node("ImageCompositeMasked", destination=["3", 0], source=["4", 0], x=0, y=0,
                  resize_source=False, mask=["2", 0]),
        "6": node("SaveImage", images=["5", 0], filename_prefix="a_white_over_black"),
        "7": node("ImageCompositeMasked", destination=["3", 0], source=["1", 0], x=0, y=0,
                  resize_source=False, mask=["2", 0]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="b_image_over_black"),
    }  # fmt: skip
    white, image = saved(server, graph)
    sent = sent_again(service, prompt)
    assert np.array_equal(white, np.repeat(sent[..., 3:], 3, axis=2))
    solid = sent[..., 3] == 255
    assert np.array_equal(image[solid], sent[..., :3][solid])
    assert not image[sent[..., 3] == 0].any()
