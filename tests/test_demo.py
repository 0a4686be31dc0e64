"""The demo's own parts: finding a ComfyUI, reading a workflow, a run without ComfyUI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mai_image.demo import graph as workflows
from mai_image.demo.__main__ import WORKFLOW
from mai_image.demo.find import NotUsable, locate
from PIL import Image


def fake_comfyui(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("main.py", "nodes.py", "folder_paths.py"):
        (folder / name).touch()
    (folder / "comfyui_version.py").write_text('__version__ = "9.8.7"\n')
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, so that this machine's own ComfyUI isn't found."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path / "home"


def environ(**names: object) -> dict[str, str]:
    return {"COMFYUI_PYTHON": sys.executable, **{name: str(names[name]) for name in names}}


def test_no_comfyui_is_none(home: Path, tmp_path: Path) -> None:
    assert locate(environ(), tmp_path / "clone") is None


def test_comfyui_path_comes_before_the_home_folder(home: Path, tmp_path: Path) -> None:
    fake_comfyui(home / "comfy" / "ComfyUI")
    named = fake_comfyui(tmp_path / "named")
    found = locate(environ(COMFYUI_PATH=named), tmp_path / "clone")
    assert found is not None
    assert (found.folder, found.version) == (named.resolve(), "9.8.7")


def test_the_home_folder_comes_before_the_comfyui_around_the_clone(
    home: Path, tmp_path: Path
) -> None:
    around = fake_comfyui(tmp_path / "ComfyUI")
    clone = around / "custom_nodes" / "mai-image"
    found = locate(environ(), clone)
    assert found is not None
    assert found.folder == around.resolve()
    at_home = fake_comfyui(home / "comfy" / "ComfyUI")
    found = locate(environ(), clone)
    assert found is not None
    assert found.folder == at_home.resolve()


def test_a_wrong_comfyui_path_is_said_and_not_passed_over(home: Path, tmp_path: Path) -> None:
    fake_comfyui(home / "comfy" / "ComfyUI")
    with pytest.raises(NotUsable, match="no ComfyUI"):
        locate(environ(COMFYUI_PATH=tmp_path / "nowhere"), tmp_path / "clone")


def test_a_comfyui_without_a_python_that_runs_it_says_what_to_set(
    home: Path, tmp_path: Path
) -> None:
    named = fake_comfyui(tmp_path / "named")
    names = environ(COMFYUI_PATH=named, COMFYUI_PYTHON=tmp_path / "no-python")
    with pytest.raises(NotUsable, match="COMFYUI_PYTHON"):
        locate(names, tmp_path / "clone")


def test_the_order_of_the_demo_graph_puts_every_node_after_its_sources() -> None:
    graph = workflows.load(WORKFLOW)
    order = workflows.order(graph)
    assert sorted(order) == sorted(graph)
    for node_id, node in graph.items():
        for _, source, _ in workflows.links(node):
            assert order.index(source) < order.index(node_id)


def test_a_graph_that_runs_in_a_circle_is_refused() -> None:
    nodes = {"1": ["2", 0], "2": ["1", 0]}
    graph = {name: {"class_type": "X", "inputs": {"a": link}} for name, link in nodes.items()}
    with pytest.raises(ValueError, match="circle"):
        workflows.order(graph)


def test_the_estimate_before_spending_counts_a_batch_that_is_edited() -> None:
    count, usd = workflows.most_expensive(workflows.load(WORKFLOW))
    assert count == 4
    # Two at 1536 x 1536 cost $0.088 each (measured); two edits at 1 MP with two large references.
    assert 2 * 0.088 < usd < 0.6


def test_the_demo_runs_without_comfyui_and_names_each_saved_png(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mai_image.demo", "--in-process", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    saved = sorted((tmp_path / "demo").glob("*.png"))
    assert [Image.open(file).size for file in saved] == [(1536, 1024)] * 2
    for file in saved:
        assert f"{file}   1536 x 1024" in done.stdout
    assert "would have been $" in done.stdout
    assert done.stderr == ""


def test_live_refuses_to_spend_when_nobody_can_be_asked(tmp_path: Path, home: Path) -> None:
    names = {"AZURE_ENDPOINT": "http://127.0.0.1:9", "AZURE_API_KEY": "not-a-key"}
    done = subprocess.run(
        [sys.executable, "-m", "mai_image.demo", "--live", "--in-process"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **names},
    )
    assert done.returncode == 1
    assert "nothing was spent" in done.stderr
