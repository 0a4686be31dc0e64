"""Sizes: the rules of mai/sizes against an exhaustive search over every size of a model."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mai_image.mai import sizes
from mai_image.mai.errors import SizeError
from mai_image.mai.models import CATALOGUE, DEFAULT_MODEL, Model
from mai_image.mai.sizes import Size

MODELS = st.sampled_from(tuple(CATALOGUE.values()))
SIDES = st.integers(min_value=1, max_value=6000)
BOTH_SIGNS = st.integers(min_value=-5, max_value=9000)


@cache
def _legal(max_pixels: int) -> tuple[tuple[int, int], ...]:
    """Every (width, height) that a limit allows, by trying all of them."""
    longest = max_pixels // 768
    sides = range(768, longest + 1, 16)
    return tuple((w, h) for w in sides for h in sides if w * h <= max_pixels)


def _error(width: int, height: int, ratio: Fraction) -> tuple[int, int]:
    """Numerator and denominator of max(q, 1/q), q = (width / height) / ratio; not reduced."""
    one, other = width * ratio.denominator, height * ratio.numerator
    return (one, other) if one > other else (other, one)


def _best_by_search(model: Model, ratio: Fraction) -> Size:
    """The rule of `best`'s docstring, word by word, over all sizes (landscape and portrait).

    Logarithms find the few that may be the best, exact fractions decide between them.
    """
    asked = math.log(ratio)
    scores = {
        (w, h): 50 * abs(math.log(w / h) - asked) - math.log(w * h)
        for w, h in _legal(model.max_pixels)
    }
    least = min(scores.values())

    def order(size: tuple[int, int]) -> tuple[Fraction, Fraction, int]:
        w, h = size
        off = Fraction(*_error(w, h, ratio))
        return off**50 / (w * h), off, -(w if ratio >= 1 else h)

    return Size(*min((size for size, score in scores.items() if score < least + 1e-6), key=order))


def _nearest_by_search(model: Model, width: int, height: int) -> Size:
    wide = width >= height
    width, height = max(width, 768), max(height, 768)

    def order(size: tuple[int, int]) -> tuple[Fraction, Fraction, int, int]:
        w, h = size
        change = max(_side(w, width), _side(h, height))
        off = Fraction(*_error(w, h, Fraction(width, height)))
        return change, off, -w * h, -(w if wide else h)

    def _side(one: int, other: int) -> Fraction:
        return Fraction(max(one, other), min(one, other))

    return Size(*min(_legal(model.max_pixels), key=order))


@pytest.mark.parametrize("preset", sizes.PRESETS)
@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_best_is_what_an_exhaustive_search_finds_for_every_model_and_preset(
    model: Model, preset: str
) -> None:
    ratio = sizes.ratio_of(preset)
    assert sizes.best(model, ratio) == _best_by_search(model, ratio)


@settings(max_examples=60, deadline=None)
@given(model=MODELS, width=SIDES, height=SIDES)
def test_best_is_what_an_exhaustive_search_finds_for_any_ratio(
    model: Model, width: int, height: int
) -> None:
    ratio = Fraction(width, height)
    assert sizes.best(model, ratio) == _best_by_search(model, ratio)


@settings(max_examples=40, deadline=None)
@given(model=MODELS, width=SIDES, height=SIDES)
def test_a_slightly_better_ratio_never_costs_half_the_pixels(
    model: Model, width: int, height: int
) -> None:
    ratio = math.log(width / height)
    chosen = sizes.best(model, Fraction(width, height))
    errors = {s: abs(math.log(s[0] / s[1]) - ratio) for s in _legal(model.max_pixels)}
    rivals = [s for s, e in errors.items() if e <= errors[chosen] + 0.003]
    assert all(w * h < 1.17 * chosen.pixels for w, h in rivals)


@settings(max_examples=40, deadline=None)
@given(model=MODELS, width=SIDES, height=SIDES)
def test_no_size_is_both_nearer_and_larger(model: Model, width: int, height: int) -> None:
    ratio = Fraction(width, height)
    chosen = sizes.best(model, ratio)
    off = sizes.off_by(chosen, ratio)
    larger = [Size(*s) for s in _legal(model.max_pixels) if s[0] * s[1] > chosen.pixels]
    assert all(sizes.off_by(size, ratio) > off for size in larger)


@pytest.mark.parametrize(
    ("model", "preset", "expected"),
    [
        ("MAI-Image-2.5", "1:1", (1024, 1024)),
        ("MAI-Image-2.5", "16:9", (1360, 768)),
        ("MAI-Image-2.5", "9:16", (768, 1360)),
        ("MAI-Image-2.5", "3:2", (1248, 832)),
        ("MAI-Image-2.5", "4:3", (1152, 864)),
        ("MAI-Image-2.5", "21:9", (1376, 768)),
        ("MAI-Image-2.6", "1:1", (1536, 1536)),
        ("MAI-Image-2.6", "16:9", (2048, 1152)),
        ("MAI-Image-2.6", "3:2", (1872, 1248)),
        ("MAI-Image-2.6", "21:9", (2240, 960)),
        ("MAI-Image-2.6", "5:4", (1680, 1344)),
        ("MAI-Image-2.7", "1:1", (2048, 2048)),
        ("MAI-Image-2.7", "16:9", (2704, 1520)),
    ],
)
def test_presets_give_the_known_sizes(model: str, preset: str, expected: tuple[int, int]) -> None:
    assert sizes.best(CATALOGUE[model], sizes.ratio_of(preset)) == expected


@given(model=MODELS, width=SIDES, height=SIDES)
def test_best_of_a_turned_ratio_is_the_turned_size(model: Model, width: int, height: int) -> None:
    size = sizes.best(model, Fraction(width, height))
    assert sizes.best(model, Fraction(height, width)) == size.transposed


@given(model=MODELS, width=SIDES, height=SIDES)
def test_a_float_ratio_gives_what_the_exact_ratio_gives(
    model: Model, width: int, height: int
) -> None:
    assert sizes.best(model, width / height) == sizes.best(model, Fraction(width, height))


@pytest.mark.parametrize("ratio", [Fraction(5000), Fraction(1, 5000), 1e300, 1e-300])
@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_a_ratio_beyond_the_model_gives_its_most_extreme_size(
    model: Model, ratio: Fraction | float
) -> None:
    size = sizes.best(model, ratio)
    assert min(size) == 768
    assert max(size) == model.max_pixels // 768 // 16 * 16
    assert (size.width > size.height) == (ratio > 1)


@pytest.mark.parametrize("ratio", [0, -1.5, math.inf, math.nan, Fraction(-16, 9)])
def test_best_refuses_a_ratio_that_is_not_positive(ratio: float) -> None:
    with pytest.raises(SizeError, match="positive"):
        sizes.best(CATALOGUE[DEFAULT_MODEL], ratio)


@settings(max_examples=25, deadline=None)
@given(
    model=st.sampled_from([CATALOGUE["MAI-Image-2.5"], CATALOGUE["MAI-Image-2.6"]]),
    width=SIDES,
    height=SIDES,
)
def test_the_nearest_size_is_what_an_exhaustive_search_finds(
    model: Model, width: int, height: int
) -> None:
    assert sizes.nearest_legal(model, width, height) == _nearest_by_search(model, width, height)


@given(model=MODELS, width=BOTH_SIGNS, height=BOTH_SIGNS)
def test_the_nearest_size_is_legal_and_its_own_nearest(
    model: Model, width: int, height: int
) -> None:
    nearest = sizes.nearest_legal(model, width, height)
    sizes.validate_size(model, *nearest)
    assert sizes.nearest_legal(model, *nearest) == nearest
    assert sizes.nearest_legal(model, height, width) == nearest.transposed


@pytest.mark.parametrize(
    ("model", "asked", "nearest"),
    [
        ("MAI-Image-2.5", (1033, 1024), (1024, 1024)),
        ("MAI-Image-2.5", (767, 1024), (768, 1024)),
        ("MAI-Image-2.5", (512, 512), (768, 768)),
        ("MAI-Image-2.5", (1920, 1080), (1376, 768)),
        ("MAI-Image-2.6", (500, 1000), (768, 1008)),
        ("MAI-Image-2.6", (160, 1024), (768, 1024)),
        ("MAI-Image-2.6", (4096, 4096), (1536, 1536)),
        ("MAI-Image-2.6", (0, 1024), (1024, 1024)),
        ("MAI-Image-2.6", (0, -3), (1536, 1536)),
        ("MAI-Image-2.6", (100_000, 1), (3072, 768)),
    ],
)
def test_a_refused_size_names_the_nearest_one(
    model: str, asked: tuple[int, int], nearest: tuple[int, int]
) -> None:
    with pytest.raises(SizeError) as caught:
        sizes.validate_size(CATALOGUE[model], *asked)
    assert f"{model} can't make {asked[0]} x {asked[1]}" in caught.value.what
    assert f"set width to {nearest[0]} and height to {nearest[1]}" in caught.value.hint


@pytest.mark.parametrize(
    ("width", "height", "why"),
    [
        (752, 1024, "the width is 752, less than 768"),
        (1024, 752, "the height is 752, less than 768"),
        (1024, 0, "the height is 0, less than 768"),
        (-16, 1024, "the width is -16, less than 768"),
        (767, 1024, "the width is 767, less than 768"),
        (1033, 1024, "1,057,792 pixels are more than its 1,056,768"),
        (1040, 1024, "1,064,960 pixels are more than its 1,056,768"),
    ],
)
def test_a_refused_size_says_what_is_wrong_with_it(width: int, height: int, why: str) -> None:
    assert sizes.size_problems(CATALOGUE["MAI-Image-2.5"], width, height) == [why]


@settings(max_examples=200)
@given(model=MODELS, width=st.integers(700, 3200), height=st.integers(700, 3200))
def test_check_accepts_exactly_the_legal_sizes(model: Model, width: int, height: int) -> None:
    """Legal is what the service takes: multiples of 16 or not, within both limits as asked."""
    legal = min(width, height) >= 768 and width * height <= model.max_pixels
    assert (not sizes.size_problems(model, width, height)) == legal
    if legal:
        assert sizes.snap(width, height) in set(_legal(model.max_pixels))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ((768, 1365), (768, 1360)),  # Microsoft's own page gives it as a good size
        ((1366, 768), (1360, 768)),
        ((1031, 1024), (1024, 1024)),
        ((1024, 1024), (1024, 1024)),
    ],
)
def test_a_side_is_rounded_down_to_a_multiple_of_16(
    asked: tuple[int, int], sent: tuple[int, int]
) -> None:
    assert sizes.snap(*asked) == sent
    assert not sizes.size_problems(CATALOGUE["MAI-Image-2.5"], *asked)


@pytest.mark.parametrize("odd", [True, 1024.0, "1024", None])
def test_a_side_that_is_not_a_whole_number_is_refused(odd: object) -> None:
    with pytest.raises(SizeError, match="whole number"):
        sizes.validate_size(CATALOGUE[DEFAULT_MODEL], odd, 1024)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        ("16:9", Fraction(16, 9)),
        (" 16 : 9 ", Fraction(16, 9)),
        ("3/2", Fraction(3, 2)),
        ("1920x1080", Fraction(16, 9)),
        ("2.39:1", Fraction(239, 100)),
        ("1.85", Fraction(37, 20)),
    ],
)
def test_ratio_of_reads_the_usual_ways_of_writing(text: str, ratio: Fraction) -> None:
    assert sizes.ratio_of(text) == ratio


@pytest.mark.parametrize(
    "text", ["", "0:9", "16:0", "0", "-16:9", "16:9:1", "wide", "1e9:1", "nan", "9" * 400]
)
def test_ratio_of_refuses_what_is_no_ratio(text: str) -> None:
    with pytest.raises(SizeError, match="is not an aspect ratio"):
        sizes.ratio_of(text)


@settings(max_examples=300)
@given(
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
    target=st.tuples(st.integers(1, 16384), st.integers(1, 16384)),
)
def test_scale_is_the_smallest_float_that_covers_after_truncation(
    width: int, height: int, target: tuple[int, int]
) -> None:
    scale = sizes.scale_to_cover(Size(width, height), Size(*target))
    less = math.nextafter(scale, 0)
    assert int(width * scale) >= target[0]
    assert int(height * scale) >= target[1]
    assert int(width * less) < target[0] or int(height * less) < target[1]


@given(size=st.tuples(SIDES, SIDES))
def test_the_scale_to_the_same_size_is_one(size: tuple[int, int]) -> None:
    assert sizes.scale_to_cover(Size(*size), Size(*size)) == 1.0


def test_scale_refuses_an_empty_size() -> None:
    with pytest.raises(SizeError, match="1 pixel or more"):
        sizes.scale_to_cover(Size(1024, 1024), Size(0, 100))


@given(width=SIDES, height=SIDES, other=SIDES)
def test_off_by_is_the_factor_between_two_ratios(width: int, height: int, other: int) -> None:
    assume(width != other)
    factor = sizes.off_by(Size(width, height), Fraction(other, height))
    assert factor == Fraction(max(width, other), min(width, other)) > 1


def test_a_size_knows_its_pixels_tokens_ratio_and_name() -> None:
    size = Size(1360, 768)
    assert (size.pixels, size.megapixels, size.tokens) == (1_044_480, 1.04448, 1020)
    assert size.ratio == Fraction(85, 48)
    assert f"{size}" == "1360 x 768"
    assert Size(784, 784).tokens == 601
