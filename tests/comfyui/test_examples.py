"""The example workflows in a real ComfyUI, on the emulator: they run, and cost what they say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from mai_image import emulator
from mai_image.demo import graph as workflows
from mai_image.demo.client import ComfyUIClient, Finished
from mai_image.demo.launch import PACK, ComfyUIServer
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "example_workflows"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))
INPAINT = "Inpaint one object (Azure MAI)"
OUTPAINT = "Outpaint to 16x9 (Azure MAI)"

SIZES = {
    "Text to 4K (Azure MAI)": [(3840, 2160)],
    "Edit with two references (Azure MAI)": [(1248, 832)],
    "Cut out over a photograph (Azure MAI)": [(1248, 832)],
    INPAINT: [(4000, 3000)],
    OUTPAINT: [(1536, 864)],
    "Edit, upscale, composite (Azure MAI)": [(1536, 1536)],
    "Compare models with a slider (Azure MAI)": [(1248, 832), (1248, 832)],
    "Images from a list (Azure MAI)": [(832, 1248), (1024, 1024), (1024, 1024), (1248, 832)],
    "Product shot in five ratios (Azure MAI)": [
        (768, 1360),
        (832, 1248),
        (896, 1120),
        (1024, 1024),
        (1360, 768),
    ],
}
"""name -> width and height of the images that are saved, in rising order."""

CALLS = {
    "Text to 4K (Azure MAI)": 1,
    "Edit with two references (Azure MAI)": 3,
    "Cut out over a photograph (Azure MAI)": 2,
    INPAINT: 2,
    OUTPAINT: 2,
    "Edit, upscale, composite (Azure MAI)": 3,
    "Compare models with a slider (Azure MAI)": 3,
    "Images from a list (Azure MAI)": 4,
    "Product shot in five ratios (Azure MAI)": 5,
}

Runs = dict[str, tuple[Finished, float, int]]
Node = dict[str, Any]
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def first_runs(server: ComfyUIServer, session_service: emulator.Emulator) -> Runs:
    """name -> how its first run ended, what the service billed for it in USD, its requests."""
    runs = {}
    for name in NAMES:
        session_service.log.clear()
        finished = run(server, name)
        log = session_service.log
        runs[name] = (finished, log.billed_usd, len(log.entries))
    return runs


def run(server: ComfyUIServer, name: str, **more: Node) -> Finished:
    """Run an example, with `more` nodes in it."""

    async def scenario() -> Finished:
        async with ComfyUIClient(server.url) as client:
            return await client.run(workflows.load(EXAMPLES / "api" / f"{name}.json") | more)

    return asyncio.run(scenario())


def before_and_after(
    server: ComfyUIServer, name: str, source: str, save: Callable[[str], Node]
) -> tuple[Pixels, Pixels]:
    """The image of the node `source` and the one that the example saves, as [H,W,3] bytes."""
    images = {}
    for subfolder, file in run(server, name, before=save(source)).files():
        with Image.open(server.output / subfolder / file) as image:
            images[file.startswith("test")] = np.asarray(image.convert("RGB"))
    return images[True], images[False]


@pytest.mark.parametrize("name", NAMES)
def test_it_saves_images_of_the_sizes_that_it_promises(
    server: ComfyUIServer, first_runs: Runs, name: str
) -> None:
    finished, _, _ = first_runs[name]
    assert (finished.status, finished.error) == ("success", "")
    sizes = []
    for subfolder, file in finished.files():
        with Image.open(server.output / subfolder / file) as image:
            sizes.append(image.size)
    assert sorted(sizes) == SIZES[name]


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_one_request_for_each_image_and_each_edit(first_runs: Runs, name: str) -> None:
    assert first_runs[name][2] == CALLS[name]


@pytest.mark.parametrize("name", NAMES)
def test_its_note_says_what_the_first_run_costs(first_runs: Runs, name: str) -> None:
    page = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    notes = [node["widgets_values"][0] for node in page["nodes"] if "Note" in node["type"]]
    said = re.search(r"Cost: about \$(\d+\.\d\d) a run", notes[0])
    assert said is not None
    assert float(said[1]) == round(first_runs[name][1], 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_buys_nothing(
    server: ComfyUIServer, first_runs: Runs, service: emulator.Emulator, name: str
) -> None:
    assert first_runs[name][1] > 0
    assert run(server, name).status == "success"
    assert service.log.entries == ()


def test_outside_the_mask_the_large_photograph_keeps_every_pixel(
    server: ComfyUIServer, first_runs: Runs, save: Callable[[str], Node]
) -> None:
    before, after = before_and_after(server, INPAINT, "2", save)
    twin = workflows.load(EXAMPLES / "api" / f"{INPAINT}.json")
    where, size, edit = (twin[node_id]["inputs"] for node_id in ("5", "4", "6"))
    soft = edit["mask_grow"] + edit["mask_feather"]
    changed = np.argwhere((before != after).any(axis=-1))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert where["x"] - soft <= left <= where["x"]
    assert where["y"] - soft <= top <= where["y"]
    assert where["x"] + size["width"] <= right + 1 <= where["x"] + size["width"] + soft
    assert where["y"] + size["height"] <= bottom + 1 <= where["y"] + size["height"] + soft


def test_the_outpainted_image_holds_the_old_one_untouched(
    server: ComfyUIServer, first_runs: Runs, save: Callable[[str], Node]
) -> None:
    before, after = before_and_after(server, OUTPAINT, "1", save)
    pad = workflows.load(EXAMPLES / "api" / f"{OUTPAINT}.json")["2"]["inputs"]
    left, right = pad["left"], after.shape[1] - pad["right"]
    assert np.array_equal(after[:, left:right], before)
    assert (after[:, :left] != 128).any()
    assert after.shape[1] * 9 == after.shape[0] * 16


def test_the_templates_dialog_offers_each_with_its_thumbnail(server: ComfyUIServer) -> None:
    async def offered() -> tuple[Any, list[int]]:
        async with ComfyUIClient(server.url) as client:
            templates = await client.get("/workflow_templates")
            paths = [f"/api/workflow_templates/{PACK}/{name}.jpg" for name in NAMES]
            return templates, [await client.status(path) for path in paths]

    templates, thumbnails = asyncio.run(offered())
    assert sorted(templates[PACK]) == NAMES
    assert thumbnails == [200] * len(NAMES)


def test_the_core_nodes_still_have_the_inputs_that_tests_compare_with(
    server: ComfyUIServer,
) -> None:
    """tests/core_nodes.json stands for ComfyUI where there is none."""

    async def announced() -> Any:
        async with ComfyUIClient(server.url) as client:
            return await client.get("/object_info")

    info = asyncio.run(announced())
    for kind, noted in json.loads((ROOT / "tests" / "core_nodes.json").read_text("utf-8")).items():
        inputs = {**info[kind]["input"]["required"], **info[kind]["input"].get("optional", {})}
        assert set(noted["inputs"]) <= set(inputs)
