"""nodes/imaging/mask.py: from a MASK to levels, grown, feathered, and those of padded images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import ImageError
from mai_image.nodes.imaging.mask import (
    Levels,
    feather,
    grow,
    levels_of,
    pair_masks,
    unpadded_part,
)
from mai_image.nodes.imaging.regions import Rect


def block(height: int, width: int, rect: Rect, level: int = 255) -> Levels:
    levels = np.zeros((height, width), np.uint8)
    levels[rect.slices] = level
    return levels


def padded(
    old: torch.Tensor, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[torch.Tensor, Levels]:
    """What ComfyUI's ImagePadForOutpaint makes of an image [H,W,3]."""
    height, width, _ = old.shape
    image = torch.full((height + top + bottom, width + left + right, 3), 0.5)
    image[top : top + height, left : left + width] = old
    mask = torch.ones(image.shape[:2])
    inside = torch.zeros(height, width)
    for i in range(height):
        for j in range(width):
            distance = min(
                i if top else height,
                height - i if bottom else height,
                j if left else width,
                width - j if right else width,
            )
            if distance < feathering:
                inside[i, j] = ((feathering - distance) / feathering) ** 2
    mask[top : top + height, left : left + width] = inside
    return image, levels_of(mask, *image.shape[:2])


def test_only_mask_values_under_a_512th_count_as_nothing() -> None:
    mask = torch.tensor([[0.0, 0.0019, 0.002, 0.5, 1.0, 7.0, -1.0, float("nan"), float("inf")]])
    assert levels_of(mask, 1, 9).tolist() == [[0, 0, 1, 128, 255, 255, 0, 0, 255]]


def test_a_mask_of_another_size_is_scaled_to_its_image() -> None:
    mask = torch.zeros(8, 8)
    mask[:, 4:] = 1
    levels = levels_of(mask, 100, 200)
    assert levels.shape == (100, 200)
    assert not levels[:, :80].any()
    assert (levels[:, 120:] == 255).all()


@pytest.mark.parametrize("pixels", [1, 5, 16, 60])
def test_growing_reaches_exactly_as_far_along_the_axes_and_never_beyond_the_disc(
    pixels: int,
) -> None:
    levels = block(161, 161, Rect(80, 80, 81, 81))
    grown = grow(levels, pixels)
    y, x = np.nonzero(grown)
    assert ((y - 80) ** 2 + (x - 80) ** 2).max() == pixels**2
    for far in (80 - pixels, 80 + pixels):
        assert grown[80, far] == grown[far, 80] == 255
    assert len(y) > 0.9 * np.pi * pixels**2


def test_shrinking_takes_as_much_but_nothing_from_the_images_border() -> None:
    shrunk = grow(block(60, 60, Rect(0, 10, 40, 50)), -5)
    assert (shrunk == block(60, 60, Rect(0, 15, 35, 45))).all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.001, 0.05, 0.5, 0.99]),
)
def test_a_feather_never_leaves_its_mask_nor_makes_it_vanish(
    height: int, width: int, pixels: int, seed: int, share: float
) -> None:
    levels = np.where(np.random.default_rng(seed).random((height, width)) < share, 255, 0)
    levels = levels.astype(np.uint8)
    soft = feather(levels, pixels)
    assert (soft <= levels).all()
    assert soft.any() == levels.any()


def test_a_feather_rises_from_the_edge_and_is_full_at_its_depth() -> None:
    soft = feather(block(200, 200, Rect(50, 50, 150, 150)), 16)
    line = soft[100, 49:68].astype(int)
    assert line[0] == 0
    assert 0 < line[1] < 20
    assert 90 < line[8] < 165
    assert (np.diff(line) >= 0).all()
    assert (soft[67:133, 67:133] == 255).all()


def test_a_feather_leaves_the_middle_of_what_is_thinner_than_itself() -> None:
    levels = block(100, 100, Rect(10, 50, 90, 51)) | block(100, 100, Rect(30, 5, 31, 6))
    soft = feather(levels, 12)
    assert soft[50, 50] == 255
    assert soft[5, 30] == 255


def test_a_feather_has_no_edge_at_the_images_border() -> None:
    full = np.full((40, 50), 255, np.uint8)
    assert (feather(full, 16) == 255).all()


def test_a_soft_mask_keeps_its_own_levels_inside() -> None:
    levels = block(100, 100, Rect(20, 20, 80, 80), level=100)
    assert feather(levels, 8)[50, 50] == 100


@pytest.mark.parametrize("feathering", [0, 10])
@pytest.mark.parametrize("sides", [(8, 0, 0, 0), (0, 8, 0, 0), (0, 0, 8, 16), (8, 16, 24, 32)])
def test_the_complete_old_image_is_found_in_a_padded_one(
    sides: tuple[int, int, int, int], feathering: int
) -> None:
    left, top, right, bottom = sides
    old = torch.rand(40, 50, 3)
    image, levels = padded(old, left, top, right, bottom, feathering)
    found = unpadded_part(image, levels)
    assert found == Rect(left, top, left + 50, top + 40)


def test_a_mask_over_a_band_of_a_photograph_is_no_padding() -> None:
    image = torch.rand(40, 50, 3)
    assert unpadded_part(image, block(40, 50, Rect(0, 0, 50, 10))) is None


def test_a_full_mask_is_no_padding() -> None:
    image = torch.full((40, 50, 3), 0.5)
    assert unpadded_part(image, np.full((40, 50), 255, np.uint8)) is None


def test_padding_with_more_painted_into_the_mask_is_an_ordinary_mask() -> None:
    image, levels = padded(torch.rand(40, 50, 3), 8, 0, 0, 0, 0)
    levels[20:30, 30:40] = 255
    assert unpadded_part(image, levels) is None


def test_each_image_has_its_mask_or_all_the_only_one() -> None:
    images = list(torch.rand(3, 10, 10, 3))
    own = torch.arange(3.0).reshape(3, 1, 1).expand(3, 10, 10)
    assert [float(mask[0, 0]) for _, mask in pair_masks(images, own)] == [0, 1, 2]
    assert len(pair_masks(images, torch.ones(1, 10, 10))) == 3
    assert len(pair_masks(images, torch.ones(10, 10))) == 3
    assert pair_masks(images, None)[2][1] is None


def test_more_masks_than_images_are_refused() -> None:
    with pytest.raises(ImageError, match="3 masks for 2 images"):
        pair_masks(list(torch.rand(2, 10, 10, 3)), torch.ones(3, 10, 10))
