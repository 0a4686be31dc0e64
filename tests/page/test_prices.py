"""price and plan: what the page shows is what mai computes."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from mai_image.mai import sizes
from mai_image.mai.models import CATALOGUE
from mai_image.mai.size_plan import plan_size
from mai_image.mai.types import Usage
from mai_image.page.prices import quote, size_plan
from page_helpers import Ask


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
