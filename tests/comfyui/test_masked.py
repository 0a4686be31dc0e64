"""Masked edits in a real ComfyUI: what is outside the mask is saved as it was loaded."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from mai_image import emulator
from mai_image.demo.client import ComfyUIClient, Finished, Graph
from mai_image.demo.find import ROOT
from mai_image.demo.launch import ComfyUIServer
from PIL import Image

PALETTE = ROOT / "example_workflows" / "inputs" / "mai_palette.png"
LEFT, TOP, SIDE = 300, 200, 60
"""The masked square of the palette image."""

Pixels = npt.NDArray[np.uint8]


def run(server: ComfyUIServer, graph: Graph) -> tuple[Finished, list[Pixels]]:
    async def scenario() -> tuple[Finished, list[Pixels]]:
        async with ComfyUIClient(server.url) as client:
            finished = await client.run(graph)
            files = [await client.image(*file) for file in finished.files()]
            return finished, [np.asarray(Image.open(io.BytesIO(file))) for file in files]

    return asyncio.run(scenario())


def palette() -> Pixels:
    return np.asarray(Image.open(PALETTE).convert("RGB"))


def graph_with(nodes: Graph) -> Graph:
    """The palette image as node "1", its mask as node "4", and more nodes."""
    height, width, _ = palette().shape
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": PALETTE.name}},
        "2": solid(0.0, width, height),
        "3": solid(1.0, SIDE, SIDE),
        "4": {
            "class_type": "MaskComposite",
            "inputs": {
                "destination": ["2", 0],
                "source": ["3", 0],
                "x": LEFT,
                "y": TOP,
                "operation": "add",
            },
        },
        **nodes,
    }


def solid(value: float, width: int, height: int) -> dict[str, Any]:
    inputs = {"value": value, "width": width, "height": height}
    return {"class_type": "SolidMask", "inputs": inputs}


def inside(grow: int) -> tuple[slice, slice]:
    return slice(TOP - grow, TOP + SIDE + grow), slice(LEFT - grow, LEFT + SIDE + grow)


def test_a_masked_edit_changes_nothing_outside_the_grown_mask(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, save: Any
) -> None:
    edit = {
        "images.image_1": ["1", 0],
        "prompt": f"{prompt} [[edit shift=3,-2 recolour=1.05,1,0.95]]",
        "model": "MAI-Image-2.6",
        "seed": 0,
        "batch_size": 1,
        "mask": ["4", 0],
    }
    finished, (saved,) = run(
        server, graph_with({"5": {"class_type": "MAIEdit", "inputs": edit}, "6": save("5")})
    )
    assert finished.status == "success"
    changed = np.any(saved != palette(), axis=2)
    assert changed[inside(0)].any()
    changed[inside(16)] = False
    assert not changed.any()
    assert service.log.billed == 1


def test_crop_and_stitch_without_an_edit_give_the_image_back(
    server: ComfyUIServer, save: Any
) -> None:
    crop = {
        "image": ["1", 0],
        "mask": ["4", 0],
        "model": "MAI-Image-2.6",
        "context": 1.5,
        "mask_grow": 16,
        "mask_feather": 16,
    }
    stitch = {"stitch": ["5", 2], "image": ["5", 0], "match_color": True}
    _, (saved,) = run(
        server,
        graph_with(
            {
                "5": {"class_type": "MAICrop", "inputs": crop},
                "6": {"class_type": "MAIStitch", "inputs": stitch},
                "7": save("6"),
            }
        ),
    )
    assert np.array_equal(saved, palette())


def test_an_outpainted_image_keeps_the_old_one_as_it_was(
    server: ComfyUIServer, service: emulator.Emulator, prompt: str, save: Any
) -> None:
    pad = {"image": ["1", 0], "left": 200, "top": 0, "right": 100, "bottom": 60, "feathering": 40}
    edit = {
        "images.image_1": ["2", 0],
        "prompt": prompt,
        "model": "MAI-Image-2.6",
        "seed": 0,
        "batch_size": 1,
        "mask": ["2", 1],
    }
    old = palette()
    height, width, _ = old.shape
    _, (saved,) = run(
        server,
        {
            "1": {"class_type": "LoadImage", "inputs": {"image": PALETTE.name}},
            "2": {"class_type": "ImagePadForOutpaint", "inputs": pad},
            "3": {"class_type": "MAIEdit", "inputs": edit},
            "4": save("3"),
        },
    )
    assert saved.shape == (height + 60, width + 300, 3)
    assert np.array_equal(saved[:height, 200 : 200 + width], old)
    assert service.log.billed == 1
