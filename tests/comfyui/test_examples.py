"""The example workflows in a real ComfyUI, on the emulator: they run, and cost what they say."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from mai_image import emulator
from mai_image.demo import graph as workflows
from mai_image.demo.client import Client, Finished
from mai_image.demo.launch import PACK, Server
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "example_workflows"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))

SIZES = {
    "text_to_4k": (3840, 2160),
    "edit_with_two_references": (1248, 832),
    "cut_out_over_photograph": (1248, 832),
}


Runs = dict[str, tuple[Finished, float]]


@pytest.fixture(scope="module")
def first_runs(server: Server, session_service: emulator.Emulator) -> Runs:
    """name -> how its first run ended, and what the service billed for it in USD."""
    runs = {}
    for name in NAMES:
        session_service.log.clear()
        finished = run(server, name)
        runs[name] = (finished, session_service.log.billed_usd)
    return runs


def run(server: Server, name: str) -> Finished:
    async def scenario() -> Finished:
        async with Client(server.url) as client:
            return await client.run(workflows.load(EXAMPLES / "api" / f"{name}.json"))

    return asyncio.run(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_it_saves_one_picture_of_the_size_that_it_promises(
    server: Server, first_runs: Runs, name: str
) -> None:
    finished, _ = first_runs[name]
    assert (finished.status, finished.error) == ("success", "")
    ((subfolder, file),) = finished.files()
    with Image.open(server.output / subfolder / file) as image:
        assert image.size == SIZES[name]


@pytest.mark.parametrize("name", NAMES)
def test_its_note_says_what_the_first_run_costs(first_runs: Runs, name: str) -> None:
    page = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    notes = [node["widgets_values"][0] for node in page["nodes"] if "Note" in node["type"]]
    said = re.search(r"Cost: about \$(\d+\.\d\d) a run", notes[0])
    assert said is not None
    assert float(said[1]) == round(first_runs[name][1], 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_buys_nothing(
    server: Server, first_runs: Runs, service: emulator.Emulator, name: str
) -> None:
    assert first_runs[name][1] > 0
    assert run(server, name).status == "success"
    assert service.log.entries == ()


def test_the_templates_dialog_offers_each_with_its_thumbnail(server: Server) -> None:
    async def offered() -> tuple[Any, list[int]]:
        async with Client(server.url) as client:
            templates = await client.get("/workflow_templates")
            paths = [f"/api/workflow_templates/{PACK}/{name}.jpg" for name in NAMES]
            answers = [await client._session.get(path) for path in paths]
            return templates, [answer.status for answer in answers]

    templates, thumbnails = asyncio.run(offered())
    assert sorted(templates[PACK]) == NAMES
    assert thumbnails == [200] * len(NAMES)


def test_the_core_nodes_still_have_the_inputs_that_tests_compare_with(server: Server) -> None:
    """tests/core_nodes.json stands for ComfyUI where there is none."""

    async def announced() -> Any:
        async with Client(server.url) as client:
            return await client.get("/object_info")

    info = asyncio.run(announced())
    for kind, noted in json.loads((ROOT / "tests" / "core_nodes.json").read_text("utf-8")).items():
        inputs = {**info[kind]["input"]["required"], **info[kind]["input"].get("optional", {})}
        assert set(noted["inputs"]) <= set(inputs)
