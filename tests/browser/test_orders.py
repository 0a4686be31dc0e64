"""Order now, collect later, in the real page: what the sidebar shows, and its two buttons."""

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
    """What orders.mjs saw."""
    folder = tmp_path_factory.mktemp("orders")
    facts: dict[str, Any] = json.loads(
        browser.run_script("orders.mjs", server.url, request.param, str(folder))
    )
    return facts


def test_the_console_holds_no_error(seen: dict[str, Any]) -> None:
    assert seen["problems"] == []


def test_a_node_says_what_it_ordered_and_its_run_ends_well(seen: dict[str, Any]) -> None:
    collect = seen["collect"]
    assert (collect["first"]["end"], collect["first"]["images"]) == ("execution_success", 0)
    assert collect["onNode"] == "2 ordered"
    assert collect["buttons"] == ["Forget"]


def test_after_a_reload_the_button_queues_the_same_prompt_and_workflow_again(
    seen: dict[str, Any],
) -> None:
    collect = seen["collect"]
    first, second = collect["first"], collect["second"]
    assert collect["ready"] == ["Collect", "Forget"]
    assert (second["end"], second["images"]) == ("execution_success", 2)
    assert second["prompt"] == first["prompt"]
    assert second["id"] != first["id"]
    assert second["workflow"]
    assert second["own"]
    assert collect["left"] == ""


def test_why_an_order_failed_is_said_in_the_tab_and_by_the_node_that_collects(
    seen: dict[str, Any],
) -> None:
    blocked = seen["blocked"]
    assert "content filter" in blocked["reason"]
    assert blocked["end"]["end"] == "execution_error"
    assert "1 of 2 images failed" in blocked["notice"]


def test_a_run_that_the_history_has_no_more_is_to_be_opened_by_the_user(
    seen: dict[str, Any],
) -> None:
    assert "Open its workflow and run it" in seen["gone"]["said"]
    assert seen["gone"]["buttons"] == ["Forget"]


def test_an_order_is_told_in_the_pages_language(seen: dict[str, Any]) -> None:
    assert "1 en el almacén · 1 con error" in seen["spanish"]
    assert "filtro de contenido" in seen["spanish"]
    assert "Recoger Olvidar" in seen["spanish"]
