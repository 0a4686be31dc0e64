"""The page's modules: one script loads with ComfyUI's page, the others when they are needed."""

from __future__ import annotations

import re

import pytest
from mai_image.page.routes import WEB_FOLDER
from page_helpers import Ask

MODULES = sorted(file.name for file in WEB_FOLDER.glob("*.mjs"))


def test_comfyui_finds_one_script_to_load_before_its_page_is_ready() -> None:
    assert [file.name for file in WEB_FOLDER.rglob("*.js")] == ["main.js"]
    assert not re.search(r"^import .* from '\./", (WEB_FOLDER / "main.js").read_text("utf-8"), re.M)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_served_as_one_and_asked_for_anew_with_each_load(ask: Ask, name: str) -> None:
    answer = ask(f"web/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.body == (WEB_FOLDER / name).read_bytes()


def test_the_style_sheet_is_served_as_one(ask: Ask) -> None:
    assert ask("web/style.css").headers["Content-Type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["nothing.mjs", "main.js", "../pyproject.toml", "%2e%2e/README.mjs", "docs/MAIEdit.md"]
)
def test_nothing_else_is_served(ask: Ask, path: str) -> None:
    assert ask(f"web/{path}").status == 404


def test_every_module_is_imported_by_another_and_none_that_is_not_there() -> None:
    imported = {"parts.mjs"}  # by main.js
    for name in MODULES:
        imported.update(
            re.findall(r"(?: from |import\()'\./(.+\.mjs)'", (WEB_FOLDER / name).read_text("utf-8"))
        )
    assert imported == set(MODULES)
