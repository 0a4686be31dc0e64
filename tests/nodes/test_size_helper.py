"""MAI Size Helper: its schema, its arithmetic and its refusals, called as ComfyUI calls it."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai import sizes
from mai_image.mai.errors import ImageError, InputError, OptionError, SizeError
from mai_image.mai.models import CATALOGUE
from mai_image.nodes.size_helper import ASPECT_RATIOS, MAISizeHelper

OLD, NEW = "MAI-Image-2.5", "MAI-Image-2.6"
TARGETS = st.integers(1, 16384)


def run(**inputs: Any) -> tuple[tuple[int, int, int, int, float], dict[str, Any]]:
    """The five numbers of one run, and its info."""
    *numbers, info = MAISizeHelper.execute(**inputs).result
    facts: dict[str, Any] = json.loads(info)
    return tuple(numbers), facts  # type: ignore[return-value]


def image(width: int, height: int) -> torch.Tensor:
    """An IMAGE of one value, whose memory does not grow with its size."""
    return torch.zeros(1, 1, 1, 1).expand(1, height, width, 3)


# Schema


def test_the_aspect_ratios_stand_in_their_permanent_order() -> None:
    expected = "1:1 5:4 4:5 4:3 3:4 3:2 2:3 16:9 9:16 21:9 9:21".split()
    assert list(ASPECT_RATIOS) == [*expected, "from target", "from image"]


def test_every_input_and_output_has_a_tooltip() -> None:
    schema = MAISizeHelper.GET_SCHEMA()
    slots = [*schema.inputs, *schema.outputs]
    assert len(slots) == 11
    assert all(slot.tooltip and slot.tooltip.endswith(".") for slot in slots)


def test_the_node_is_found_by_the_words_that_people_type() -> None:
    words = {"resolution", "aspect ratio", "size", "azure", "foundry", "dimensions"}
    assert words <= set(MAISizeHelper.GET_SCHEMA().search_aliases)


def test_equal_inputs_give_equal_outputs_without_an_api_node_s_look() -> None:
    schema = MAISizeHelper.GET_SCHEMA()
    assert not schema.is_api_node
    assert not schema.not_idempotent
    assert run(model=NEW, aspect_ratio="5:4") == run(model=NEW, aspect_ratio="5:4")


# Sizes


@pytest.mark.parametrize("preset", sizes.PRESETS)
@pytest.mark.parametrize("model", CATALOGUE)
def test_a_preset_gives_the_best_size_of_the_model(model: str, preset: str) -> None:
    best = sizes.best(CATALOGUE[model], sizes.ratio_of(preset))
    numbers, info = run(model=model, aspect_ratio=preset)
    assert numbers == (*best, *best, 1.0)
    assert info["size"] == list(best)
    assert info["ratio_asked"] == preset


def test_without_inputs_it_is_the_largest_square_of_the_default_model() -> None:
    assert run()[0] == (2048, 2048, 2048, 2048, 1.0)


def test_a_ratio_that_the_model_cannot_do_gives_the_nearest_and_says_so() -> None:
    numbers, info = run(model=OLD, aspect_ratio="21:9")
    assert numbers[:2] == (1376, 768)
    assert info["ratio_error_percent"] > 30
    assert info["notes"][0] == (
        "MAI-Image-2.5 can't make 21:9, it is too wide: 1376 x 768 (1.79:1) is the nearest that it "
        "can. MAI-Image-2.7, MAI-Image-2.7-Flash, MAI-Image-2.6, MAI-Image-2.6-Flash can."
    )
    assert "set a target" in info["notes"][1]


def test_a_ratio_that_the_model_can_do_has_no_note() -> None:
    for model in CATALOGUE:
        for preset in ("1:1", "16:9", "2:3"):
            assert run(model=model, aspect_ratio=preset)[1]["notes"] == []
    assert run(model=NEW, aspect_ratio="21:9")[1]["notes"] == []


def test_from_image_takes_the_image_s_ratio() -> None:
    numbers, info = run(model=NEW, aspect_ratio="from image", image=image(4032, 3024))
    assert numbers[:2] == sizes.best(CATALOGUE[NEW], Fraction(4, 3))
    assert info["ratio_asked"] == "4:3"
    turned, _ = run(model=NEW, aspect_ratio="from image", image=image(3024, 4032))
    assert turned[:2] == numbers[1::-1]


@pytest.mark.parametrize(
    ("width", "height", "size", "shape"),
    [(1, 5000, (768, 3072), "tall"), (5000, 1, (3072, 768), "wide")],
)
def test_an_extreme_image_gives_the_most_extreme_size_and_says_so(
    width: int, height: int, size: tuple[int, int], shape: str
) -> None:
    numbers, info = run(model=NEW, aspect_ratio="from image", image=image(width, height))
    assert numbers[:2] == size
    assert f"it is too {shape}" in info["notes"][0]
    assert "No other model can either" in info["notes"][0]


def test_the_image_is_not_looked_at_with_another_aspect_ratio() -> None:
    assert run(aspect_ratio="1:1", image=torch.zeros(3))[0][:2] == (2048, 2048)


# Targets


def test_from_target_takes_the_target_s_ratio() -> None:
    numbers, info = run(
        model=NEW, aspect_ratio="from target", target_width=3840, target_height=2160
    )
    assert numbers == (2048, 1152, 3840, 2160, 1.875)
    assert info["cut"] == [0, 0]


def test_a_target_is_covered_and_the_cut_is_told() -> None:
    numbers, info = run(model=OLD, aspect_ratio="16:9", target_width=3840, target_height=2160)
    assert numbers[:4] == (1360, 768, 3840, 2160)
    assert info["scaled"] == [3840, 2168]
    assert info["cut"] == [0, 8]
    assert "cut 0 pixels of the width and 8 of the height" in info["how"]


@pytest.mark.parametrize(
    ("given", "target"),
    [((3840, 0), (3840, 2160)), ((0, 2160), (3840, 2160)), ((0, 0), (1360, 768)), ((1, 0), (1, 1))],
)
def test_a_missing_side_of_the_target_follows_from_the_asked_ratio(
    given: tuple[int, int], target: tuple[int, int]
) -> None:
    numbers, _ = run(model=OLD, aspect_ratio="16:9", target_width=given[0], target_height=given[1])
    assert numbers[2:4] == target


def test_a_target_smaller_than_the_generated_size_shrinks_and_says_so() -> None:
    numbers, info = run(model=NEW, aspect_ratio="1:1", target_width=512, target_height=512)
    assert numbers[4] < 1
    assert info["how"] == "Shrink it to 512 x 512 (scale 0.333333); nothing is cut."
    assert any("is shrunk" in note for note in info["notes"])


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(tuple(CATALOGUE)),
    aspect_ratio=st.sampled_from([*sizes.PRESETS, "from target"]),
    target=st.tuples(TARGETS, TARGETS),
)
def test_the_scaled_image_always_covers_the_target(
    model: str, aspect_ratio: str, target: tuple[int, int]
) -> None:
    numbers, info = run(
        model=model, aspect_ratio=aspect_ratio, target_width=target[0], target_height=target[1]
    )
    width, height, *ends, scale = numbers
    assert tuple(ends) == target
    assert int(width * scale) >= target[0]
    assert int(height * scale) >= target[1]
    assert min(info["cut"]) == 0
    assert [sum(axis) for axis in zip(info["cut"], target, strict=True)] == info["scaled"]


# Info


def test_info_holds_the_numbers_of_one_image() -> None:
    _, info = run(model=NEW, aspect_ratio="16:9")
    assert info["model"] == NEW
    assert info["ratio"] == "16:9"
    assert info["ratio_error_percent"] == 0
    assert info["megapixels"] == 2.3593
    assert info["percent_of_limit"] == 100
    assert info["tokens"] == 2304
    assert info["price_usd"] == pytest.approx(2304 * 38 / 1e6)


# Refusals


@pytest.mark.parametrize(
    ("inputs", "error", "what_to_do"),
    [
        ({"aspect_ratio": "from image"}, OptionError, "Connect an image"),
        ({"aspect_ratio": "from target"}, OptionError, "Set both target_width"),
        ({"aspect_ratio": "from target", "target_width": 9}, OptionError, "Set both target_width"),
        ({"aspect_ratio": "17:9"}, OptionError, "Choose one of 1:1"),
        ({"aspect_ratio": None}, OptionError, "Choose one of 1:1"),
        ({"model": "MAI-Image-9"}, OptionError, "Choose one of MAI-Image-2.7"),
        ({"target_width": -1}, InputError, "from 0 to 16384"),
        ({"target_height": 16385}, InputError, "from 0 to 16384"),
        ({"target_height": True}, SizeError, "whole number"),
        ({"target_width": 512.0}, SizeError, "whole number"),
        ({"target_width": "512"}, SizeError, "whole number"),
        ({"target_height": None}, SizeError, "whole number"),
        ({"aspect_ratio": "21:9", "target_height": 16384}, SizeError, "both of its sides"),
        (
            {"aspect_ratio": "from target", "target_width": 20_000, "target_height": 9},
            InputError,
            "from 0 to 16384",
        ),
        (
            {"aspect_ratio": "from image", "image": torch.zeros(1, 8, 8)},
            ImageError,
            "Convert Mask to Image",
        ),
        (
            {"aspect_ratio": "from image", "image": torch.zeros(0, 8, 8, 3)},
            ImageError,
            "Check the node",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_do(
    inputs: dict[str, Any], error: type[Exception], what_to_do: str
) -> None:
    with pytest.raises(error) as caught:
        run(**inputs)
    assert what_to_do in caught.value.hint  # type: ignore[attr-defined]
