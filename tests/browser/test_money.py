"""Money in sight before a run, and what went wrong after one: in the real page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mai_image.demo import browser
from mai_image.demo.launch import ComfyUIServer


@pytest.fixture(scope="module", params=["canvas", "vue"])
def seen(
    request: pytest.FixtureRequest, server: ComfyUIServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What money.mjs saw."""
    folder = tmp_path_factory.mktemp("money")
    facts: dict[str, Any] = json.loads(
        browser.run_script("money.mjs", server.url, request.param, str(folder))
    )
    return facts


def test_the_console_holds_no_error(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []


def test_the_badge_says_what_all_images_of_a_batch_cost(seen: dict[str, Any]) -> None:
    assert seen["prices"]["dear"] == "$0.139 × 64 = $8.90"
    assert "times the number of images" in seen["prices"]["tip"]


def test_a_price_over_the_users_limit_is_amber(seen: dict[str, Any]) -> None:
    amber = ("#ffb020", "rgb(255, 176, 32)")
    assert seen["prices"]["amber"] in amber
    assert seen["prices"]["plain"] not in amber


def test_an_emulated_price_says_what_a_real_one_is(seen: dict[str, Any]) -> None:
    assert seen["prices"]["emulated"] == "emulated; real ≈ $0.278"


def test_the_graphs_total_stands_on_the_tabs_icon_and_in_its_name(seen: dict[str, Any]) -> None:
    totals = seen["totals"]
    assert totals["edit"].startswith("≈$0.")
    assert "next run of this graph: ≈ $0." in totals["name"]


def test_what_would_not_run_or_is_emulated_is_not_in_the_total(seen: dict[str, Any]) -> None:
    totals = seen["totals"]
    assert (totals["bypassed"], totals["muted"], totals["emulated"]) == ("$0.07", "$0.02", "")
    assert totals["emulatedName"].endswith("emulated; real ≈ $0.022")


def test_a_subgraph_shows_the_price_of_what_is_in_it(seen: dict[str, Any]) -> None:
    assert seen["subgraph"] == {"badge": "$8.90", "icon": "$8.90", "muted": ""}


def test_a_run_is_asked_about_once_where_it_costs_more_than_the_limit(
    seen: dict[str, Any],
) -> None:
    question = seen["question"]
    assert (question["cheap"], question["under"]) == (1, 3)
    assert question["asked"].startswith("This run costs at most $8.90")
    assert question["agreed"] == 2
    assert question["many"].startswith("This run costs at most $7.04")


def test_a_run_that_is_not_agreed_to_is_not_queued(seen: dict[str, Any]) -> None:
    assert seen["question"]["cancelled"] == [False, 1]
    assert seen["question"]["closed"] == 3


def test_the_node_says_why_it_failed_until_its_next_run(seen: dict[str, Any]) -> None:
    failure = seen["failure"]
    assert failure["notice"].startswith("Blocked The content filter blocked the prompt")
    assert "Change the prompt" in failure["notice"]
    assert failure["after"] == 0


def test_a_saved_workflow_gives_the_notice_no_room(seen: dict[str, Any]) -> None:
    saved, shown = seen["failure"]["heights"]
    assert saved < shown


def test_the_pages_own_message_begins_in_words(seen: dict[str, Any], server: ComfyUIServer) -> None:
    """A later page (1.58.1) says one sentence of its own for every error; the node has ours."""
    ours = "Blocked: The content filter blocked the prompt"
    later = "This node threw an error during execution."
    assert seen["failure"]["toast"].startswith(later if server.front_end else ours)


def test_no_old_text_stands_under_a_new_error(seen: dict[str, Any]) -> None:
    failure = seen["failure"]
    assert failure["stays"].startswith("emulated; real ≈ $0.0")
    assert "What the last run of this node cost" in failure["tip"]
    assert failure["size"].startswith("Size not possible MAI-Image-2.6 can't make 160 x 768")
    assert failure["text"] == ""


def test_a_failure_in_a_subgraph_is_seen_on_the_subgraphs_node(seen: dict[str, Any]) -> None:
    inside = seen["failureInside"]
    assert inside["blocked"] == "Blocked"
    assert "Blocked" not in inside["after"]
    assert any(text.startswith("emulated; real ≈ $0.022 · ") for text in inside["after"])


def test_a_stopped_node_waits_for_nothing(seen: dict[str, Any]) -> None:
    assert seen["stopped"]["text"] == "stopped · 1 sent before will be kept"
