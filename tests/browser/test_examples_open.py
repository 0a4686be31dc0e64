"""The example workflows in the real page, drawn by the canvas and by Vue ("Nodes 2.0")."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import Server

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "example_workflows"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))

Box = tuple[float, float, float, float]


@pytest.fixture(scope="module", params=["canvas", "vue"])
def opened(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """name -> what look.mjs saw in the page; screenshots are kept beside pytest's other files."""
    folder = tmp_path_factory.mktemp("screenshots")
    printed = browser.run("look.mjs", server.url, request.param, str(folder), *NAMES)
    seen: dict[str, Any] = json.loads(printed)
    return seen


def file(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_every_node_known_and_no_complaint(opened: dict[str, Any], name: str) -> None:
    seen = opened[name]
    assert seen["nodes"] == len(file(name)["nodes"])
    assert (seen["missing"], seen["faulty"], seen["dialogs"]) == ([], [], [])
    assert seen["problems"] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_link_is_there_and_joins_what_fits(opened: dict[str, Any], name: str) -> None:
    assert opened[name]["links"] == len(file(name)["links"])
    assert opened[name]["broken"] == []


@pytest.mark.parametrize("name", NAMES)
def test_queueing_it_would_send_its_api_format_twin(opened: dict[str, Any], name: str) -> None:
    """An older page may send more than the twin has for core nodes, such as a preview's mode."""
    twin = json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8"))
    prompt = opened[name]["prompt"]
    assert prompt.keys() == twin.keys()
    for node_id, node in twin.items():
        sent, wanted = prompt[node_id]["inputs"], node["inputs"]
        ours = node["class_type"].startswith("MAI")
        assert {key: sent[key] for key in (sent if ours else wanted)} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_no_node_covers_another(opened: dict[str, Any], name: str) -> None:
    boxes = opened[name]["boxes"]
    assert len(boxes) > 5
    pairs = combinations(boxes, 2)
    assert [(one, two) for (one, a), (two, b) in pairs if overlap(a, b)] == []


@pytest.mark.parametrize("name", NAMES)
def test_its_note_is_its_own(opened: dict[str, Any], name: str) -> None:
    notes = [node["widgets_values"][0] for node in file(name)["nodes"] if "Note" in node["type"]]
    assert opened[name]["notes"] == notes


def overlap(a: Box, b: Box) -> bool:
    """Boxes are left, top, right, bottom."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
