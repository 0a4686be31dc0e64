"""The sidebar tab of the real page: the history of images, what settles a call, the way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.find import ROOT
from mai_image.demo.launch import ComfyUIServer

RENDERERS = pytest.mark.parametrize("renderer", ["canvas", "vue"])


@pytest.fixture(scope="module", params=["canvas", "vue"])
def seen(
    request: pytest.FixtureRequest, server: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What sidebar.mjs saw."""
    folder = tmp_path_factory.mktemp("sidebar")
    facts: dict[str, Any] = json.loads(
        browser.run_script("sidebar.mjs", server.url, request.param, str(folder))
    )
    return {**facts, "renderer": request.param}


def test_the_console_holds_no_error(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []


def test_images_are_found_by_words_model_date_and_origin(seen: dict[str, Any]) -> None:
    search, renderer = seen["search"], seen["renderer"]
    assert search["words"] == [f"a red fox, {renderer}"] * 2
    assert search["none"] == 0
    of_model = search["model"].split(" | ")
    assert "MAI-Image-2.6 · 768 x 768 · $0.022" in of_model
    assert all(one.startswith("MAI-Image-2.6 · ") for one in of_model)
    assert all("emulated; real ≈ $" in one for one in search["emulated"].split(" | "))
    assert "emulated" not in search["paid"]


def test_emulated_calls_stand_apart_from_what_was_spent(seen: dict[str, Any]) -> None:
    assert "Emulated this month, free calls: " in seen["search"]["sums"]
    assert "MAI-Image-2.7" in seen["search"]["sums"]


def test_an_image_is_enlarged_turned_over_and_closed_by_keys(seen: dict[str, Any]) -> None:
    viewer = seen["viewer"]
    assert viewer["first"]["alt"] == viewer["start"]["alt"] == viewer["prompt"]
    assert viewer["second"]["alt"] != viewer["prompt"]
    assert viewer["second"]["counter"].startswith("2 of ")
    assert viewer["width"] == 768
    assert viewer["inside"]
    assert viewer["focus"]


@pytest.mark.parametrize("part", ["insert", "reuse"])
def test_a_new_node_is_seen_and_lies_over_no_other(part: str, seen: dict[str, Any]) -> None:
    assert seen[part]["apart"]
    assert seen[part]["seen"]
    assert seen[part]["selected"]


def test_a_node_takes_an_images_settings(seen: dict[str, Any]) -> None:
    assert seen["reuse"]["values"] == {
        "prompt": f"a harbour in the sidebar, {seen['renderer']}",
        "model": "MAI-Image-2.6",
        "width": 768,
        "height": 768,
        "seed": 41,
        "profile": "default",
    }


def test_an_image_can_be_dragged_onto_the_graph_and_onto_a_node(seen: dict[str, Any]) -> None:
    drag = seen["drag"]
    assert drag["first"]["status"] == drag["second"]["status"] == 200
    assert drag["first"]["name"].startswith("mai_")
    assert drag["first"]["name"] != drag["second"]["name"]
    assert drag["nodes"] == 1


def test_a_prompt_is_copied(seen: dict[str, Any]) -> None:
    assert seen["copied"] == f"a harbour in the sidebar, {seen['renderer']}"


def test_a_call_is_settled_by_two_steps_of_the_keyboard(seen: dict[str, Any]) -> None:
    settle = seen["settle"]
    assert settle["asked"] == "Yes, it was free: count nothing"
    assert settle["still"] == settle["before"]
    assert settle["after"] == settle["before"] - 1


@RENDERERS
def test_without_an_account_the_tab_shows_the_way_in(
    renderer: str, of_a_new_user: ComfyUIServer, tmp_path: Path
) -> None:
    profiles = of_a_new_user.user / "__mai" / "profiles.toml"
    printed = browser.run_script(
        "start.mjs", of_a_new_user.url, renderer, str(tmp_path), str(profiles)
    )
    seen = json.loads(printed)
    assert "Try it without an account Connect an account" in seen["empty"]
    assert seen["before"] == ["not yet", *["later"] * 4]
    assert seen["copied"] == "az login"
    assert "python -m mai-image.cli init" in seen["guide"]
    assert str(ROOT) not in seen["guide"]
    assert seen["after"] == ["done", "done", "not yet", "later", "later"]
    assert seen["first"] == "Profile “mine”, its endpoint is valid"
    if (ROOT / "web" / "account.mjs").is_file():
        assert seen["profiles"] == ["emulator", "emulator"]
