"""The blueprints in the real page: found by its search, added as one node, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))

SIZES = {
    "Text to 4K (MAI)": (1000, 1500),
    "Outpaint (MAI)": (1600 + 2 * 256, 1200),
    "Crop, edit, stitch (MAI)": (1600, 1200),
}
"""name -> what comes of the targets and the image that use_blueprints.mjs gives."""

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def used(server: ComfyUIServer) -> dict[str, Seen]:
    """name -> what use_blueprints.mjs saw."""
    seen: dict[str, Seen] = json.loads(browser.run_script("use_blueprints.mjs", server.url, *NAMES))
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_the_search_finds_it_and_adds_one_node(used: dict[str, Seen], name: str) -> None:
    assert used[name]["title"] == name
    assert used[name]["missing"] == []
    assert used[name]["problems"] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_node_shows_the_widgets_that_the_file_has(used: dict[str, Seen], name: str) -> None:
    file = json.loads((ROOT / "subgraphs" / f"{name}.json").read_text("utf-8"))
    shown = [slot["name"] for slot in file["nodes"][0]["inputs"] if "widget" in slot]
    assert list(used[name]["widgets"]) == shown
    assert used[name]["widgets"]["profile"] == "default"
    assert used[name]["widgets"]["model"] == "MAI-Image-2.6"


@pytest.mark.parametrize("name", NAMES)
def test_the_model_chosen_on_the_node_reaches_every_node_inside(
    used: dict[str, Seen], name: str
) -> None:
    models = {inputs["model"] for _, inputs in used[name]["prompt"] if "model" in inputs}
    assert models == {"MAI-Image-2.5"}


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_gives_an_image_of_the_size_that_it_promises(
    server: ComfyUIServer, used: dict[str, Seen], name: str
) -> None:
    assert used[name]["error"] == ""
    (saved,) = (image for image in used[name]["images"] if image["type"] == "output")
    with Image.open(server.output / saved["subfolder"] / saved["filename"]) as image:
        assert image.size == SIZES[name]
