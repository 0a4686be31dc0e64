"""The pack's parts of the real page, used as a user would, drawn by the canvas and by Vue.

What must be seen is read from the page's own elements; screenshots are kept beside pytest's other
files, in both themes.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer
from mai_image.mai.models import CATALOGUE
from mai_image.mai.sizes import nearest_legal, plan_size, ratio_of

GENERATE = ["", "MAI-Image-2.7", 160, 1024, 7, "fixed", 1, "default", False, False, "stop"]


@pytest.fixture(scope="module", params=["canvas", "vue"])
def seen(
    request: pytest.FixtureRequest, server: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What drive.mjs saw."""
    folder = tmp_path_factory.mktemp("page")
    printed = browser.run_script("drive.mjs", server.url, request.param, str(folder))
    facts: dict[str, Any] = json.loads(printed)
    return {**facts, "folder": folder, "renderer": request.param}


@pytest.fixture(scope="module")
def blocked(server: ComfyUIServer) -> dict[str, Any]:
    """What blocked.mjs saw."""
    facts: dict[str, Any] = json.loads(browser.run_script("blocked.mjs", server.url))
    return facts


def test_the_console_holds_no_error_of_the_pack(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []


def test_nothing_is_asked_of_the_server_before_a_node_is_there(seen: dict[str, Any]) -> None:
    assert seen["prices"]["before"] == []


def test_the_badge_follows_every_change_of_a_widget(seen: dict[str, Any]) -> None:
    assert seen["prices"]["texts"] == {
        "plain": "$0.035",
        "edit": "≈ $0.139",
        "batch": "$0.035 × 2 = $0.070",
        "size": "$0.139 × 2 = $0.278",
        "unpublished": "≈ $0.139 × 2 = $0.278",
        "auto": "≤ $0.088",
        "emulator": "emulated; real ≈ $0.088",
    }


def test_the_badge_follows_a_linked_size_helper_and_says_what_it_cannot_know(
    seen: dict[str, Any],
) -> None:
    assert seen["linked"] == {"square": "$0.139", "wide": "$0.035", "unknown": "≥ $0.020"}


def test_a_size_that_cannot_be_made_is_seen_and_mended_with_one_click(
    seen: dict[str, Any],
) -> None:
    wrong, nearest = seen["wrong"], nearest_legal(CATALOGUE["MAI-Image-2.6"], 2048, 1536)
    assert wrong["badge"] == "not possible"
    assert "MAI-Image-2.6 can't make 2048 x 1536" in wrong["notice"]
    assert f"Use {nearest}" in wrong["notice"]
    assert wrong["labels"] == ["⚠ width", "⚠ height"]
    assert wrong["values"] == list(nearest)
    assert (wrong["after"], wrong["notices"]) == ("$0.088", 0)
    assert wrong["labelsAfter"] == ["width", "height"]
    assert abs(wrong["grew"]) <= 1


def test_a_retired_model_is_seen_and_replaced_with_one_click_that_undo_takes_back(
    seen: dict[str, Any],
) -> None:
    retired = seen["retired"]
    assert retired["badges"] == ["$0.048", "retired on 2026-10-01"]
    assert "MAI-Image-2.5 was retired on 2026-10-01" in retired["notice"]
    assert retired["successor"] == ["MAI-Image-2.6", 1024, 1024]
    assert retired["undone"] == ["MAI-Image-2.5", 1024, 1024]
    assert retired["smaller"] == ["MAI-Image-2.6", 1536, 1536]


def test_a_retired_model_is_replaced_within_a_subgraph_too(seen: dict[str, Any]) -> None:
    assert seen["retired"]["inside"] == ["retired on 2026-10-01", "MAI-Image-2.6-Flash"]
    assert seen["retired"]["promoted"] == "MAI-Image-2.6-Flash"


def test_a_size_that_will_be_rounded_is_told_and_not_marked_as_wrong(seen: dict[str, Any]) -> None:
    assert seen["snapped"]["badge"] == "$0.035"
    assert "768 x 1365 comes back as 768 x 1360" in seen["snapped"]["notice"]
    assert seen["snapped"]["labels"] == ["width", "height"]


def test_the_preview_shows_what_size_helper_will_answer(seen: dict[str, Any]) -> None:
    first, wide = seen["preview"]["first"]["shown"], seen["preview"]["wide"]["shown"]
    assert "2048 x 2048 exactly 1:1 4.19 MP · 100 % of the limit" in first
    assert "4096 tokens · $0.139 used as it is" in first
    facts = plan_size(CATALOGUE["MAI-Image-2.6"], ratio_of("16:9"), 3840, 0)
    assert f"{facts.size} exactly 16:9" in wide
    assert f"to {facts.target}: scale {facts.scale:g}, nothing cut" in wide


def test_the_preview_turns_width_and_height_with_one_click(seen: dict[str, Any]) -> None:
    assert seen["preview"]["wide"]["values"] == ["16:9", 3840, 0]
    assert seen["preview"]["tall"]["values"] == ["9:16", 0, 3840]
    assert "1152 x 2048" in seen["preview"]["tall"]["shown"]


def test_the_preview_says_what_is_cut_off_and_how_far_the_ratio_is(seen: dict[str, Any]) -> None:
    last = seen["preview"]["last"]["shown"]
    assert "48:85, 0.392 % off 9:16" in last
    assert "to 2160 x 3840: scale 2.8235, cut 8 x 0 px" in last
    assert seen["preview"]["inside"]


def test_the_preview_says_what_is_missing(seen: dict[str, Any]) -> None:
    assert "Set both target_width and target_height" in seen["preview"]["missing"]["shown"]


def test_what_is_saved_and_sent_knows_nothing_of_the_pages_parts(seen: dict[str, Any]) -> None:
    saved = seen["saved"]
    assert saved["first"] == saved["second"]
    assert saved["first"]["MAIGenerate"][: len(GENERATE)] == GENERATE
    assert saved["first"]["MAISizeHelper"] == ["MAI-Image-2.7", "3:2", 0, 0]
    sent = [name for names in saved["sent"].values() for name in names]
    assert not [name for name in sent if name.startswith("mai_")]


def test_the_sidebar_shows_sums_and_the_last_images(seen: dict[str, Any]) -> None:
    run = seen["run"]
    spent = re.compile(r"Spent Today (\$\d+\.\d\d)")
    before, after = spent.search(run["under"]), spent.search(run["after"])
    assert before is not None
    assert after is not None
    assert before[1] == after[1]  # emulated images cost nothing
    assert run["emulated"] == 2
    assert "Nothing is under way." in run["after"]
    card = f"a harbour, drawn by {seen['renderer']} MAI-Image-2.7 · 768 x 768 · emulated; real ≈"
    assert run["after"].count(card) == 2
    assert len(run["loaded"]) >= 2
    assert all(run["loaded"])


def test_an_image_of_the_sidebar_becomes_a_load_image_node(seen: dict[str, Any]) -> None:
    assert seen["run"]["inserted"].startswith("mai_")
    assert seen["run"]["status"] == 200


def test_cost_and_seconds_stay_on_the_node(seen: dict[str, Any]) -> None:
    (text,) = seen["run"]["stays"]
    assert text.startswith("emulated; real ≈ $0.0")


def test_screenshots_are_kept_in_both_themes(seen: dict[str, Any]) -> None:
    names = {path.stem.rsplit("-", 1)[0] for path in seen["folder"].glob("*.png")}
    assert {"prices", "linked", "wrong-size", "preview", "sidebar", "light"} <= names


def test_a_graph_runs_without_the_packs_scripts(blocked: dict[str, Any]) -> None:
    assert blocked["scripts"] is False
    assert blocked["images"] == 1


def test_a_workflow_saved_without_the_scripts_opens_with_them_unchanged(
    blocked: dict[str, Any],
) -> None:
    """As one does that was saved by a version of the pack that had no page."""
    before, after = blocked["workflow"]["nodes"], blocked["again"]["nodes"]
    values = [[node.get("widgets_values") or [] for node in nodes] for nodes in (before, after)]
    assert values[0] == values[1]
    assert blocked["prompt"] == blocked["promptAgain"]
    assert blocked["room"] >= 0
    assert blocked["problems"] == []
