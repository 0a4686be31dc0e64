"""nodes/imaging/regions.py: the box is around the mask, in the image, and legal for every model."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.models import CATALOGUE, Model
from mai_image.mai.sizes import Size, validate_size
from mai_image.nodes.imaging.mask import MAX_AREAS, separate_areas
from mai_image.nodes.imaging.regions import (
    Frame,
    Rect,
    common_size,
    frame_around,
    frame_whole,
    with_context,
)

MODELS = [CATALOGUE[name] for name in CATALOGUE.edit_names]
M27, M26, M25 = (CATALOGUE[f"MAI-Image-{version}"] for version in ("2.7", "2.6", "2.5"))
ODD_SIZES = [Size(1, 1), Size(5000, 1), Size(1, 5000), Size(15, 16), Size(767, 769), Size(16384, 7)]

models = st.sampled_from(MODELS)
sides = st.one_of(st.integers(1, 40), st.integers(700, 1600), st.integers(1, 5000))


@st.composite
def places(draw: st.DrawFn) -> tuple[Size, Rect]:
    """An image's size and a rectangle in it, often at its border."""
    size = draw(st.one_of(st.builds(Size, sides, sides), st.sampled_from(ODD_SIZES)))
    spans = []
    for side in size:
        start = draw(st.one_of(st.just(0), st.integers(0, side - 1)))
        end = draw(st.one_of(st.just(side), st.integers(start + 1, side)))
        spans.append((start, end))
    (left, right), (top, bottom) = spans
    return size, Rect(left, top, right, bottom)


def holds(outer: Rect, inner: Rect) -> bool:
    return outer.joined(inner) == outer


def assert_sound(frame: Frame, size: Size, rect: Rect, model: Model) -> None:
    validate_size(model, *frame.sent)
    assert holds(frame.box, rect)
    assert holds(Rect(0, 0, *size), frame.box)
    assert holds(Rect(0, 0, *frame.sent), frame.inner)
    assert frame.inner.area > 0


@settings(max_examples=300, deadline=None)
@given(places(), models, st.floats(1, 20))
def test_the_box_holds_the_mask_and_is_sent_at_a_legal_size(
    place: tuple[Size, Rect], model: Model, context: float
) -> None:
    size, rect = place
    frame = frame_around(with_context(rect, size, context, model), size, model)
    assert_sound(frame, size, rect, model)


@settings(max_examples=300, deadline=None)
@given(places(), models, st.floats(1, 20))
def test_the_box_keeps_its_aspect_to_a_pixel(
    place: tuple[Size, Rect], model: Model, context: float
) -> None:
    size, rect = place
    frame = frame_around(with_context(rect, size, context, model), size, model)
    across = frame.inner.width / frame.box.width
    down = frame.inner.height / frame.box.height
    scale = across if frame.inner.width >= frame.inner.height else down
    pixel = max(1.0, scale) + 0.01
    assert abs(frame.inner.width - scale * frame.box.width) <= pixel
    assert abs(frame.inner.height - scale * frame.box.height) <= pixel


@settings(max_examples=200, deadline=None)
@given(places(), models)
def test_the_whole_image_is_sent_at_a_legal_size(place: tuple[Size, Rect], model: Model) -> None:
    size, _ = place
    frame = frame_whole(size, model)
    assert frame.box == Rect(0, 0, *size)
    assert_sound(frame, size, frame.box, model)


@settings(max_examples=100, deadline=None)
@given(places(), places(), models, st.floats(1, 4))
def test_boxes_of_a_batch_can_share_one_size(
    place: tuple[Size, Rect], other: tuple[Size, Rect], model: Model, context: float
) -> None:
    size, rect = place
    second = Rect(*(min(edge, side) for edge, side in zip(other[1], size * 2, strict=True)))
    if second.width < 1 or second.height < 1:
        second = rect
    needs = [with_context(one, size, context, model) for one in (rect, second)]
    sent = common_size(needs, model)
    for one in needs:
        frame = frame_around(one, size, model, sent)
        assert frame.sent == sent
        assert_sound(frame, size, one.rect, model)


@pytest.mark.parametrize("model", MODELS)
def test_a_box_of_a_usable_size_is_sent_pixel_for_pixel(model: Model) -> None:
    size, rect = Size(4000, 3000), Rect(1600, 1200, 2000, 1600)
    frame = frame_around(with_context(rect, size, 1.5, model), size, model)
    assert frame.scale == 1
    assert frame.sent == (800, 800) == (frame.box.width, frame.box.height)


def test_context_adds_its_share_of_the_longer_side_on_every_side() -> None:
    one = with_context(Rect(1000, 1000, 1400, 1300), Size(4000, 3000), 1.5, M26)
    assert (one.width, one.height) == (800, 700)


def test_a_small_box_is_enlarged_at_most_fourfold() -> None:
    size = Size(4000, 3000)
    frame = frame_around(with_context(Rect(50, 50, 51, 51), size, 1.5, M26), size, M26)
    assert (frame.box.width, frame.box.height) == (192, 192)
    assert frame.sent == (768, 768)


@pytest.mark.parametrize("model", MODELS)
def test_a_large_box_is_shrunk_to_what_an_edit_of_the_model_can_have(model: Model) -> None:
    frame = frame_whole(Size(4000, 3000), model)
    assert 0.95 * model.edit_pixels < frame.sent.pixels <= model.edit_pixels


def test_an_own_model_s_edit_pixels_are_what_is_sent() -> None:
    own = replace(M26, name="own", max_pixels=9_000_000, edit_pixels=1_500_000)
    frame = frame_whole(Size(4000, 3000), own)
    assert 0.95 * 1_500_000 < frame.sent.pixels <= 1_500_000


def test_a_long_object_keeps_its_pixels_where_the_model_can() -> None:
    size, rect = Size(4000, 3000), Rect(500, 1300, 3500, 1700)
    frame = frame_around(with_context(rect, size, 1.0, M27), size, M27)
    assert frame.scale >= 1


def test_a_panorama_is_sent_in_its_aspect_where_the_model_can_and_padded_where_not() -> None:
    assert frame_whole(Size(4000, 1000), M26).sent == (3072, 768)
    padded = frame_whole(Size(4000, 1000), M25)
    assert padded.sent == (1376, 768)
    assert padded.inner == Rect(0, 212, 1376, 556)


def test_a_box_at_the_border_moves_inwards_and_needs_no_padding() -> None:
    size = Size(4000, 3000)
    for rect in (Rect(0, 0, 400, 400), Rect(3600, 2600, 4000, 3000)):
        frame = frame_around(with_context(rect, size, 1.5, M26), size, M26)
        assert frame.inner == Rect(0, 0, *frame.sent)
        assert holds(Rect(0, 0, *size), frame.box)


def spots(*rects: Rect) -> np.ndarray:
    levels = np.zeros((3000, 4000), np.uint8)
    for rect in rects:
        levels[rect.slices] = 255
    return levels


FAR = (Rect(100, 100, 300, 300), Rect(3600, 2600, 3800, 2800))


def test_areas_far_apart_are_edited_one_by_one() -> None:
    assert separate_areas(spots(*FAR), M26, 1.5) == list(FAR)


def test_areas_near_each_other_are_one() -> None:
    near = (Rect(100, 100, 300, 300), Rect(600, 100, 800, 300))
    assert separate_areas(spots(*near), M26, 1.5) == [Rect(100, 100, 800, 300)]


def test_areas_that_fill_most_of_their_common_box_are_one() -> None:
    wide = (Rect(0, 0, 1200, 3000), Rect(2800, 0, 4000, 3000))
    assert separate_areas(spots(*wide), M26, 1.5) == [Rect(0, 0, 4000, 3000)]


def test_areas_whose_common_box_keeps_its_resolution_are_one() -> None:
    levels = np.zeros((1000, 1000), np.uint8)
    levels[10:30, 10:30] = levels[970:990, 970:990] = 255
    assert separate_areas(levels, M26, 1.0) == [Rect(10, 10, 990, 990)]


def test_more_than_four_areas_are_joined_to_four_with_their_nearest() -> None:
    corners = [Rect(x, y, x + 60, y + 60) for x in (0, 3900) for y in (0, 2900)]
    fifth = Rect(3300, 2900, 3360, 2960)
    found = separate_areas(spots(*corners, fifth), M26, 1.5)
    assert len(found) == 4
    assert corners[3].joined(fifth) in found


def test_a_mask_of_specks_is_one_area_found_in_a_moment() -> None:
    generator = np.random.default_rng(1)
    levels = np.where(generator.random((3000, 4000)) < 0.0001, 255, 0).astype(np.uint8)
    begin = time.process_time()
    assert len(separate_areas(levels, M26, 1.5)) == 1
    assert time.process_time() - begin < 1


@settings(max_examples=30, deadline=None)
@given(st.lists(places(), min_size=1, max_size=8), models, st.floats(1, 3))
def test_every_masked_pixel_is_in_some_area(
    drawn: list[tuple[Size, Rect]], model: Model, context: float
) -> None:
    size = Size(min(drawn[0][0].width, 2000), min(drawn[0][0].height, 2000))
    levels = np.zeros((size.height, size.width), np.uint8)
    for _, rect in drawn:
        levels[rect.slices] = 255
    covered = np.zeros_like(levels)
    found = separate_areas(levels, model, context)
    for rect in found:
        covered[rect.slices] = 255
    assert (covered >= levels).all()
    assert len(found) <= MAX_AREAS
