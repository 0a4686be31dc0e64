"""The example workflows in the real page, drawn by the canvas and by Vue ("Nodes 2.0").

Each is opened as the Templates dialog does it, at the size of a laptop's window, and run; what is
asked of its layout must hold before and after the run; on a server without an account, as a new
user's is, too. Boxes are left, top, right, bottom.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from mai_image.demo import browser

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "example_workflows"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.json"))

READABLE = 0.6
"""Below this zoom the canvas draws no text."""

ROOM = (1750, 1050)
"""What the page can fit into three quarters of 1440 x 900 at a readable zoom."""

Box = tuple[float, float, float, float]
Seen = dict[str, Any]


LOOKS = [
    ("account", "canvas", "1440x900"),
    ("account", "vue", "1440x900"),
    ("account", "canvas", "1920x1080"),
    ("none", "canvas", "1440x900"),
    ("none", "vue", "1440x900"),
]
"""Whether the server has an account, what draws the nodes, and the window's size."""


@pytest.fixture(scope="module", params=LOOKS, ids="-".join)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """name -> what look.mjs saw in the page; screenshots are kept beside pytest's other files."""
    folder = str(tmp_path_factory.mktemp("screenshots"))
    account, renderer, size = request.param
    server = request.getfixturevalue("with_account" if account == "account" else "without_account")
    arguments = (server.url, renderer, folder, size, account, *NAMES)
    seen: Seen = json.loads(browser.run_script("look.mjs", *arguments, timeout=900))
    return seen


@pytest.fixture(params=["opened", "ran"])
def when(request: pytest.FixtureRequest) -> str:
    """Before or after a run."""
    moment: str = request.param
    return moment


def file(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_every_node_known_and_no_complaint(opened: Seen, name: str) -> None:
    seen = opened[name]["opened"]
    assert seen["nodes"] == len(file(name)["nodes"])
    assert (seen["missing"], seen["faulty"], seen["dialogs"]) == ([], [], [])
    assert opened[name]["problems"] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_link_is_there_and_joins_what_fits(opened: Seen, name: str) -> None:
    seen = opened[name]["opened"]
    assert seen["links"] == len(file(name)["links"])
    assert (seen["broken"], seen["undrawn"]) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_queueing_it_would_send_its_api_format_twin(opened: Seen, name: str) -> None:
    """An older page may send more than the twin has for core nodes, such as a preview's mode."""
    twin = json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8"))
    prompt = opened[name]["opened"]["prompt"]
    assert prompt.keys() == twin.keys()
    for node_id, node in twin.items():
        sent, wanted = prompt[node_id]["inputs"], node["inputs"]
        ours = node["class_type"].startswith("MAI")
        assert {key: sent[key] for key in (sent if ours else wanted)} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_read_when_it_opens(opened: Seen, name: str) -> None:
    assert opened[name]["opened"]["zoom"] >= READABLE


@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_read(opened: Seen, name: str, when: str) -> None:
    assert opened[name][when]["cut"] == []


@pytest.mark.parametrize("name", NAMES)
def test_its_nodes_fit_into_the_window(opened: Seen, name: str, when: str) -> None:
    left, top, right, bottom = zip(*boxes(opened[name][when]).values(), strict=True)
    assert max(right) - min(left) <= ROOM[0]
    assert max(bottom) - min(top) <= ROOM[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_note_comes_first(opened: Seen, name: str, when: str) -> None:
    """At the top left: nothing starts further left or higher but by a group's frame."""
    seen = opened[name][when]
    (note,) = [box for _, kind, box in seen["boxes"] if kind == "MarkdownNote"]
    assert note[0] <= min(box[0] for box in boxes(seen).values())
    assert note[1] <= min(box[1] for box in boxes(seen).values())


@pytest.mark.parametrize("name", NAMES)
def test_no_node_covers_another(opened: Seen, name: str, when: str) -> None:
    pairs = combinations(boxes(opened[name][when]).items(), 2)
    assert [(one, two) for (one, a), (two, b) in pairs if overlap(a, b)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_node_stays_inside_its_group(opened: Seen, name: str, when: str) -> None:
    seen = opened[name][when]
    note = next(title for title, kind, _ in seen["boxes"] if kind == "MarkdownNote")
    grouped = {node: frame for _, frame, _, nodes in seen["groups"] for node in nodes}
    assert grouped.keys() == boxes(seen).keys() - {note}
    assert [n for n, frame in grouped.items() if not inside(boxes(seen)[n], frame)] == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_covers_the_title_of_a_group(opened: Seen, name: str, when: str) -> None:
    """No node, no badge above a node, no wire, no other group."""
    seen = opened[name][when]
    drawn = [*boxes(seen).items(), *seen["badges"]]
    for title, frame, band, _ in seen["groups"]:
        others = [(other, box) for other, box, *_ in seen["groups"] if other != title]
        assert [one for one, box in (*drawn, *others) if overlap(box, area(band))] == [], title
        assert [one for one, box in others if overlap(box, frame)] == [], title
    assert seen["titles"] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_wire_runs_behind_a_node(opened: Seen, name: str, when: str) -> None:
    assert opened[name][when]["behind"] == []


@pytest.mark.parametrize("name", NAMES)
def test_its_note_is_its_own(opened: Seen, name: str) -> None:
    notes = [node["widgets_values"][0] for node in file(name)["nodes"] if "Note" in node["type"]]
    assert opened[name]["opened"]["notes"] == notes


def boxes(seen: Seen) -> dict[str, Box]:
    """A node's title -> where it is drawn, with its title bar."""
    found = {title: box for title, _, box in seen["boxes"]}
    assert len(found) == len(seen["boxes"]) > 4
    return found


def area(band: Box) -> Box:
    """From left, top, width and height."""
    left, top, width, height = band
    return left, top, left + width, top + height


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(inner: Box, outer: Box) -> bool:
    starts = outer[0] <= inner[0] and outer[1] <= inner[1]
    return starts and inner[2] <= outer[2] + 0.5 and inner[3] <= outer[3] + 0.5
