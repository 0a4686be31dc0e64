"""price and plan: what the page shows is what mai computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

import pytest
from mai_image.mai import sizes
from mai_image.mai.models import CATALOGUE
from mai_image.mai.sizes import plan_size
from mai_image.mai.types import Usage
from mai_image.page.prices import quote, size_plan
from page_helpers import Ask

Own = Callable[..., None]


@pytest.fixture
def own() -> Iterator[Own]:
    """Adds models of the user's own: a successor ("" for none) and whether it is retired."""

    def add(**models: tuple[str, bool]) -> None:
        plain = replace(CATALOGUE["MAI-Image-2.6"], max_references=0)
        CATALOGUE.take_own(
            replace(
                plain,
                name=name,
                successor=successor,
                retired=date(2026, 1, 1) if retired else None,
            )
            for name, (successor, retired) in models.items()
        )

    yield add
    CATALOGUE.take_own(())


@pytest.mark.parametrize("model", CATALOGUE)
def test_the_price_of_every_model_and_preset_is_the_catalogues(model: str) -> None:
    for preset in sizes.PRESETS:
        size = sizes.best(CATALOGUE[model], sizes.ratio_of(preset))
        answer = quote("generate", model, *size)
        assert answer["problems"] == []
        assert answer["bound"] == ("exact" if CATALOGUE[model].price_known else "about")
        assert answer["usd"] == round(CATALOGUE[model].cost(Usage(image_out=size.tokens)), 6)
        assert answer["usd"] == size_plan(model, preset, 0, 0)["price_usd"]


@pytest.mark.parametrize("model", CATALOGUE)
def test_a_size_that_is_not_known_costs_at_least_what_the_smallest_does(model: str) -> None:
    answer = quote("generate", model, None, 1024)
    assert answer["bound"] == ("at least" if CATALOGUE[model].price_known else "about")
    assert answer["usd"] == quote("generate", model, 768, 768)["usd"]
    assert answer["problems"] == []


def test_an_automatic_aspect_ratio_costs_at_most_the_largest_image() -> None:
    answer = quote("generate", "MAI-Image-2.6", 1, 1, auto_aspect_ratio=True)
    assert (answer["bound"], answer["problems"]) == ("at most", [])
    assert answer["usd"] == quote("generate", "MAI-Image-2.6", 1536, 1536)["usd"]


@pytest.mark.parametrize("model", CATALOGUE.edit_names)
def test_an_edit_costs_about_the_largest_image_that_may_come_back(model: str) -> None:
    answer = quote("edit", model)
    largest = -(-CATALOGUE[model].edit_pixels // 1024)
    assert answer["bound"] == "about"
    assert answer["usd"] == round(CATALOGUE[model].cost(Usage(image_out=largest)), 6)


def test_what_web_grounding_costs_is_about() -> None:
    answer = quote("generate", "MAI-Image-2.6", 1024, 1024, web_grounding=True)
    assert (answer["bound"], answer["problems"]) == ("about", [])


def test_a_size_that_cannot_be_made_has_no_price_and_names_the_nearest() -> None:
    answer = quote("generate", "MAI-Image-2.5", 1920, 1080)
    assert answer["usd"] is None
    assert answer["nearest"] == sizes.nearest_legal(CATALOGUE["MAI-Image-2.5"], 1920, 1080)
    (problem,) = answer["problems"]  # type: ignore[misc]
    assert "1920 x 1080" in problem
    assert "1,056,768" in problem


def test_a_size_that_is_rounded_down_costs_what_comes_back_and_is_noted() -> None:
    answer = quote("generate", "MAI-Image-2.6", 768, 1365)
    assert answer["usd"] == quote("generate", "MAI-Image-2.6", 768, 1360)["usd"]
    assert (answer["problems"], answer["nearest"]) == ([], None)
    (note,) = answer["notes"]  # type: ignore[misc]
    assert "768 x 1365 comes back as 768 x 1360" in note


def test_an_option_that_the_model_lacks_is_a_problem_with_the_way_out() -> None:
    answer = quote("generate", "MAI-Image-2", 1024, 1024, web_grounding=True)
    (problem,) = answer["problems"]  # type: ignore[misc]
    assert "web_grounding" in problem
    assert "MAI-Image-2.6" in problem
    assert answer["nearest"] is None
    assert answer["off"] == {"web_grounding": False}


def test_every_option_that_the_model_lacks_has_a_value_that_is_off() -> None:
    on: dict[str, Any] = {
        "auto_aspect_ratio": True,
        "web_grounding": True,
        "background": "transparent",
    }
    for model in CATALOGUE:
        off = quote("generate", model, 1024, 1024, **on)["off"]
        assert isinstance(off, dict)
        assert set(off) == set(on) - CATALOGUE[model].options
        assert quote("generate", model, 1024, 1024, **{**on, **off})["problems"] == []


def test_the_price_route_answers_what_quote_does(ask: Ask) -> None:
    answer = ask("price?kind=generate&model=MAI-Image-2.7&width=2048&height=2048")
    assert answer.status == 200
    assert answer.json == quote("generate", "MAI-Image-2.7", 2048, 2048)
    assert answer.json["usd"] == pytest.approx(4096 * 34 / 1e6)


@pytest.mark.parametrize("preset", sizes.PRESETS)
def test_the_plan_route_answers_what_size_helper_does(preset: str, ask: Ask) -> None:
    query = {"model": "MAI-Image-2.6", "aspect_ratio": preset, "target_width": 3840}
    answer = ask(f"plan?{urlencode(query)}")
    wanted = plan_size(CATALOGUE["MAI-Image-2.6"], sizes.ratio_of(preset), 3840, 0)
    assert answer.json == {**wanted.facts(), "problems": []}


def test_the_plan_route_takes_the_ratio_from_the_target_or_the_image(ask: Ask) -> None:
    by_target = ask(
        "plan?model=MAI-Image-2e&aspect_ratio=from%20target&target_width=600&target_height=400"
    )
    by_image = ask(
        "plan?model=MAI-Image-2e&aspect_ratio=from%20image&image_width=300&image_height=200"
    )
    assert by_target.json["ratio_asked"] == by_image.json["ratio_asked"] == "3:2"
    assert by_target.json["target"] == [600, 400]


@pytest.mark.parametrize(
    "question",
    [
        "price?model=MAI-Image-9&width=1024&height=1024",
        "price",
        "plan?model=MAI-Image-2.6&aspect_ratio=7",
        "plan?model=MAI-Image-2.6&aspect_ratio=1:1&target_width=20000",
        "plan?model=MAI-Image-2.6&aspect_ratio=from%20target&target_width=0",
        "plan?model=MAI-Image-2.6&aspect_ratio=from%20image&image_width=0&image_height=0",
        "plan",
    ],
)
def test_settings_that_the_node_would_refuse_are_answered_with_its_sentences(
    question: str, ask: Ask
) -> None:
    """Not with a 400: the browser would write that into the console as an error."""
    answer = ask(question)
    assert answer.status == 200
    (problem,) = answer.json["problems"]  # type: ignore[misc]
    assert problem.endswith(".")


@pytest.mark.parametrize("side", ["-5", "99999999999999999999", "%D9%A3", "1.5", "100001"])
def test_what_is_no_number_of_pixels_is_a_400(side: str, ask: Ask) -> None:
    answer = ask(f"price?model=MAI-Image-2.6&width={side}&height=1024")
    assert answer.status == 400
    assert "whole number" in str(answer.json["error"])


@pytest.mark.parametrize("path", ["price?model=MAI-Image-2e", "plan?model=MAI-Image-2e"])
def test_arithmetic_is_for_everybody_also_on_a_network(path: str, ask: Ask) -> None:
    assert ask(path, listen="0.0.0.0", headers={"Host": "comfy.lan"}).status == 200


def test_a_living_model_is_not_said_to_be_retired() -> None:
    assert quote("generate", "MAI-Image-2.6", 1024, 1024)["retired"] is None
    assert quote("edit", "MAI-Image-2.7")["retired"] is None


@pytest.mark.parametrize("model", [name for name in CATALOGUE if CATALOGUE[name].is_retired])
def test_a_retired_model_has_a_price_a_date_and_a_model_to_use_instead(model: str) -> None:
    answer = quote("generate", model, 1024, 1024)
    assert (answer["problems"], answer["usd"] is None) == ([], False)
    retired = answer["retired"]
    assert isinstance(retired, dict)
    assert retired["on"] == str(CATALOGUE[model].retired)
    assert retired["successor"] == retired["use"] == CATALOGUE[model].successor
    assert retired["size"] is None


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(768, 1365, None), (2048, 2048, (1536, 1536)), (160, 1024, (768, 1024)), (None, 9000, None)],
)
def test_the_successor_keeps_a_size_that_fits_and_names_the_nearest_else(
    width: int | None, height: int, size: tuple[int, int] | None
) -> None:
    retired = quote("generate", "MAI-Image-2.5", width, height)["retired"]
    assert isinstance(retired, dict)
    assert retired["size"] == size


def test_a_chain_of_retired_successors_is_followed_to_the_end(own: Own) -> None:
    own(A=("MAI-Image-2.5", True), B=("A", True), C=("nowhere", True), D=("E", True), E=("D", True))
    used = {}
    for name in "ABCDE":
        retired = quote("generate", name, 1024, 1024)["retired"]
        assert isinstance(retired, dict)
        used[name] = (retired["successor"], retired["use"])
    assert used == {
        "A": ("MAI-Image-2.5", "MAI-Image-2.6"),
        "B": ("A", "MAI-Image-2.6"),
        "C": ("nowhere", None),
        "D": ("E", None),
        "E": ("D", None),
    }


def test_an_edit_is_not_sent_to_a_successor_that_cannot_edit(own: Own) -> None:
    own(Painter=("", False), Editor=("Painter", True))
    assert not CATALOGUE["Painter"].can_edit
    by_kind = [quote(kind, "Editor")["retired"] for kind in ("generate", "edit")]
    assert [retired["use"] for retired in by_kind if isinstance(retired, dict)] == ["Painter", None]


def test_a_background_that_the_model_lacks_is_a_problem_before_the_run(ask: Ask) -> None:
    size = "width=1024&height=1024&background=transparent"
    (problem,) = ask(f"price?model=MAI-Image-2.6&{size}").json["problems"]  # type: ignore[misc]
    assert "no transparent background" in problem
    assert "MAI-Image-2.7" in problem
    assert ask(f"price?model=MAI-Image-2.7&{size}").json["problems"] == []


def test_a_plan_says_whether_its_price_is_published() -> None:
    known = [size_plan(f"MAI-Image-{name}", "1:1", 0, 0)["price_known"] for name in ("2.7", "2.6")]
    assert (known, size_plan("MAI-Image-2.7-Flash", "1:1", 0, 0)["price_known"]) == (
        [True, True],
        False,
    )
