"""Files of MAI Save Image dropped onto the real page: each opens the graph that made it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer

GRAPH = ["MAIGenerate", "MAISaveImage"]


@pytest.fixture(scope="module")
def dropped(server: ComfyUIServer) -> dict[str, Any]:
    """What save_image.mjs saw."""
    facts: dict[str, Any] = json.loads(browser.run_script("save_image.mjs", server.url))
    return facts


@pytest.mark.parametrize("file", ["webp", "avif", "png.json", "jpeg.json"])
def test_a_file_that_is_dropped_opens_its_graph(dropped: dict[str, Any], file: str) -> None:
    assert dropped["seen"][file] == GRAPH


def test_an_untouched_png_holds_none_since_its_signature_would_break(
    dropped: dict[str, Any],
) -> None:
    assert dropped["seen"]["png"] != GRAPH
    assert dropped["seen"]["webp.json"] == "HTTP 404"


def test_the_page_fills_in_the_date_and_another_node_s_widget(dropped: dict[str, Any]) -> None:
    for format, file in dropped["files"].items():
        assert file["filename"].startswith(f"{date.today().year}_71_{format}_00001_.")


def test_the_console_holds_no_error_of_the_pack(dropped: dict[str, Any]) -> None:
    assert [each for each in dropped["problems"] if "mai-image" in each] == []
