"""Before any run: no account, a profile that isn't there, options that a model lacks, new images.

In the real page, drawn by the canvas and by Vue, with the mouse and by the keyboard.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.find import ROOT
from mai_image.demo.launch import ComfyUIServer

INSIDE = {
    "MAIGenerate": "default",
    "subgraph/subgraph/MAIEdit": "studio",
    "subgraph": "default",
    "subgraph*/subgraph": "default",
    "subgraph*/subgraph*/MAIGenerate": "default",
}
"""The profiles by the path of their nodes; * is a subgraph whose own node shows the profile."""

Seen = dict[str, Any]


@pytest.fixture(scope="module", params=["canvas", "vue"])
def new(
    request: pytest.FixtureRequest,
    without_account: ComfyUIServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Seen:
    """What account.mjs saw."""
    folder = str(tmp_path_factory.mktemp("account"))
    seen: Seen = json.loads(
        browser.run_script("account.mjs", without_account.url, request.param, folder)
    )
    return seen


@pytest.fixture(scope="module", params=["canvas", "vue"])
def seen(
    request: pytest.FixtureRequest, server: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory
) -> Seen:
    """What settings.mjs saw."""
    folder = str(tmp_path_factory.mktemp("settings"))
    printed: Seen = json.loads(
        browser.run_script("settings.mjs", server.url, request.param, folder)
    )
    return printed


def test_a_new_node_says_that_no_account_is_set_up(new: Seen) -> None:
    assert new["fresh"]["said"] == "no account: try it free"


def test_a_new_node_keeps_its_seed_and_shows_six_lines_of_its_prompt(new: Seen) -> None:
    assert new["fresh"]["control"] == ["fixed"]
    assert new["fresh"]["lines"] >= 6


def test_one_click_emulates_every_node_also_in_subgraphs_and_another_goes_back(new: Seen) -> None:
    everywhere = new["everywhere"]
    assert everywhere["before"] == INSIDE
    assert everywhere["emulated"] == dict.fromkeys(INSIDE, "emulator")
    assert everywhere["badge"] == "use my account"
    assert everywhere["back"] == INSIDE


def test_one_undo_takes_the_emulator_back_from_all_nodes(new: Seen) -> None:
    assert new["everywhere"]["undone"] == INSIDE


def test_the_keyboard_does_the_same(new: Seen) -> None:
    assert new["keys"] == {
        "emulated": {"MAIGenerate": "emulator"},
        "back": {"MAIGenerate": "default"},
    }


def test_a_price_that_the_profiles_service_does_not_publish_is_about(new: Seen) -> None:
    assert new["unpriced"] == {"about": "≈ $0.022", "exact": "$0.020"}


def test_a_page_that_may_not_know_says_nothing_of_accounts(new: Seen) -> None:
    assert new["unknown"] == "$0.035"
    # The browser itself notes the refusal, and nothing else went wrong.
    assert all("403 (Forbidden)" in problem for problem in new["problems"])


def test_new_image_names_the_price_of_the_whole_batch(seen: Seen) -> None:
    more = seen["more"]
    assert (more["one"], more["batch"]) == ("New image ($0.035)", "New images ($0.140)")
    assert more["free"] == "New image (free)"
    assert more["impossible"] is True


def test_new_image_runs_the_graph_with_a_new_seed(seen: Seen) -> None:
    assert seen["more"]["sent"] == seen["more"]["seed"] != 0


def test_new_image_sets_a_linked_primitive(seen: Seen) -> None:
    assert seen["linkedSeed"]["primitive"] != 0


def test_options_that_the_model_lacks_are_marked_seen_and_switched_off(seen: Seen) -> None:
    option = seen["option"]
    assert option["marked"] == ["⚠ auto_aspect_ratio", "⚠ web_grounding", "⚠ background"]
    assert "⚠ web_grounding" in option["rows"]
    assert (option["left"], option["after"]) == (0, [])
    assert option["values"] == [False, False, "opaque"]


def test_a_profile_that_is_not_there_is_told_and_replaced(seen: Seen) -> None:
    missing = seen["missing"]
    assert missing["badge"] == "no account: try it free"
    assert "“studio” is not set up on this server" in missing["notice"]
    assert missing["marked"] == ["⚠ profile"]
    assert (missing["value"], missing["after"]) == ("default", [])


def test_the_profiles_of_the_server_are_offered_at_the_widget(seen: Seen) -> None:
    suggested = seen["suggested"]
    assert suggested["offered"][:2] == ["default", "emulator"]
    assert suggested["offered"][-1] == "Use “default” for all MAI nodes"
    assert suggested["chosen"] == "emulator"
    assert (suggested["closed"], suggested["escaped"]) == (0, 0)


def test_one_profile_is_used_for_all_nodes_and_one_undo_takes_it_back(seen: Seen) -> None:
    assert seen["forAll"] == {"edit": "emulator", "undone": "default"}


def test_a_workflow_saved_before_opens_with_every_value_in_its_place(seen: Seen) -> None:
    file = ROOT / "tests" / "browser" / "saved_before_fixed_seeds.json"
    saved = json.loads(file.read_text("utf-8"))
    before = {node["type"]: node["widgets_values"] for node in saved["nodes"]}
    later = {"MAIGenerate": ["wait"], "MAIEdit": ["wait"]}  # delivery, which came after that
    opened = {kind: node["values"] for kind, node in seen["opened"].items()}
    assert opened == {kind: values + later.get(kind, []) for kind, values in before.items()}
    assert before["MAIGenerate"][5] == "randomize"


def test_the_search_lists_generate_before_edit_for_the_service(seen: Seen) -> None:
    found = [text.split(" mai_")[0] for text in seen["search"]["azure"]]
    assert found[0] == "MAI Generate"
    assert "MAI Edit" in found


@pytest.mark.parametrize("query", ["mask edit", "inpaint"])
def test_the_search_finds_edit_by_what_it_is_for(seen: Seen, query: str) -> None:
    assert any(text.startswith("MAI Edit") for text in seen["search"][query])


def test_the_console_holds_no_error_of_the_pack(seen: Seen) -> None:
    assert seen["problems"] == []
