"""All that the pack puts into the page can be used by keyboard and screen reader: axe-core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer


@pytest.fixture(scope="module")
def axe() -> Path:
    """The script of axe-core."""
    try:
        return browser.axe_core()
    except browser.Missing as error:
        pytest.skip(str(error))


@pytest.fixture(
    scope="module",
    params=[(renderer, theme) for renderer in ("canvas", "vue") for theme in ("dark", "light")],
    ids="-".join,
)
def seen(
    request: pytest.FixtureRequest,
    server: ComfyUIServer,
    axe: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What access.mjs saw."""
    folder = tmp_path_factory.mktemp("access")
    facts: dict[str, Any] = json.loads(
        browser.run_script("access.mjs", server.url, *request.param, str(folder), str(axe))
    )
    return facts


@pytest.mark.parametrize("part", ["tab", "nodes", "viewer"])
def test_no_part_breaks_wcag_a_or_aa(part: str, seen: dict[str, Any]) -> None:
    assert seen[part]["violations"] == []
    assert seen[part]["passes"] > 5


def test_the_tab_key_comes_to_every_control_of_the_sidebar(seen: dict[str, Any]) -> None:
    assert seen["tabbed"]["all"] > 10
    assert seen["tabbed"]["missed"] == []


def test_a_notice_is_followed_by_the_keyboard(seen: dict[str, Any]) -> None:
    assert seen["pressed"] != ["MAI-Image-2.5", 2048]
