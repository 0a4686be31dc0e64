"""MAI Prompt List in the real page: its price, its mistakes, a file, and one run after another."""

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
    """What lists.mjs saw."""
    folder = tmp_path_factory.mktemp("lists")
    facts: dict[str, Any] = json.loads(
        browser.run_script("lists.mjs", server.url, request.param, str(folder))
    )
    return facts


def test_the_console_holds_no_error(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []


def test_list_and_buyer_say_what_all_rows_of_a_run_cost(seen: dict[str, Any]) -> None:
    price = seen["price"]
    one = float(price["buyer"].split(" ")[0].lstrip("$"))
    total = f"${round(round(one, 3) * 64, 2):.2f}"
    assert price["buyer"].endswith(f"× 64 = {total}")
    assert price["list"] == f"rows 1 to 64 of 100 · {total}"
    assert "36 rows are left" in price["note"]
    assert (price["stops"], price["skips"]) == ("stop", "skip failures")
    assert price["rest"].startswith("rows 65 to 100 of 100 · $")
    assert "× 72 = " in price["batch"]


def test_mistakes_stand_on_the_list_with_their_lines_before_a_run(seen: dict[str, Any]) -> None:
    mistakes = seen["mistakes"]
    assert (mistakes["list"], mistakes["buyer"]) == ("the list has mistakes", "not possible")
    assert "line 1: The column 'widht'" in mistakes["notice"]
    assert "line 3: a quote that opens here is never closed." in mistakes["notice"]
    assert "Not read here: model." in mistakes["note"]


def test_a_file_of_this_computer_is_chosen_by_a_button(seen: dict[str, Any]) -> None:
    upload = seen["upload"]
    assert upload["badge"] == "rows 1 to 2 of 2" or upload["badge"].startswith("rows 1 to 2 of 2 ·")
    assert upload["file"].startswith("mine-")
    assert upload["saved"] == 6, "the button isn't saved in a workflow"


def test_a_file_can_be_dropped_on_the_list(seen: dict[str, Any]) -> None:
    assert seen["dropped"]["badge"].startswith("rows 1 to 3 of 3")
    assert seen["dropped"]["file"].startswith("dropped-")


def test_each_run_takes_the_next_rows_and_the_last_one_stays(seen: dict[str, Any]) -> None:
    assert seen["runs"]["starts"] == [3, 5, 5]
    assert seen["runs"]["stored"].endswith("5 in the store")


def test_a_run_that_ends_early_is_taken_again(seen: dict[str, Any]) -> None:
    assert seen["failing"] == {"during": 2, "after": 1}
