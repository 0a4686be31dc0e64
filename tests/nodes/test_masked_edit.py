"""nodes/imaging/masked_edit.py: outside the mask nothing changes, whatever comes back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mai_image.mai.errors import ImageError
from mai_image.mai.models import CATALOGUE
from mai_image.mai.sizes import validate_size
from mai_image.nodes import inputs
from mai_image.nodes.imaging.masked_edit import (
    ImagePlan,
    MaskSettings,
    finish_image,
    plan_image,
)
from mai_image.nodes.imaging.paste import Stitch
from mai_image.nodes.imaging.regions import Rect
from torch import Tensor

M26 = CATALOGUE["MAI-Image-2.6"]


class Finished(NamedTuple):
    image: Tensor
    facts: list[dict[str, object]]
    notes: list[str]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random images in every run and order."""
    torch.manual_seed(0)


def bits(image: Tensor) -> Tensor:
    return image.contiguous().view(torch.int32)


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """Soft colours [H,W,3] with grain."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((1, 3, height // 40 + 2, width // 40 + 2), generator=generator)
    image = torch.nn.functional.interpolate(small, (height, width), mode="bicubic")
    grain = 0.02 * torch.randn((height, width, 3), generator=generator)
    return (image[0].permute(1, 2, 0) + grain).clamp_(0, 1)


def finish(
    plan: ImagePlan, edits: list[Tensor | None] | list[Tensor], match_color: bool = True
) -> Finished:
    """The image that the edits give, with its facts and notes."""
    out = torch.empty((*plan.image.shape[:2], 3))
    facts, notes = finish_image(plan, edits, out, match_color)
    return Finished(out, facts, notes)


def alpha_of(plan: ImagePlan) -> Tensor:
    """The largest alpha of all patches, [H,W]."""
    alpha = torch.zeros(plan.image.shape[:2], dtype=torch.uint8)
    for patch in plan.patches:
        part = alpha[patch.frame.box.slices]
        part.copy_(torch.maximum(part, torch.from_numpy(patch.alpha)))
    return alpha


def near(mask: Tensor, pixels: int) -> Tensor:
    """Where the mask is, or is at most so many pixels away along both axes."""
    grown = mask[None, None]
    for kernel in ((2 * pixels + 1, 1), (1, 2 * pixels + 1)):
        grown = torch.nn.functional.max_pool2d(grown, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    return grown[0, 0] > 0


@st.composite
def masks(draw: st.DrawFn, height: int, width: int) -> Tensor:
    """Single pixels and rectangles, some at the border, some soft; or all."""
    mask = torch.zeros(height, width)
    for _ in range(draw(st.integers(1, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        bottom = draw(st.one_of(st.just(top + 1), st.integers(top + 1, height), st.just(height)))
        right = draw(st.one_of(st.just(left + 1), st.integers(left + 1, width), st.just(width)))
        mask[top:bottom, left:right] = draw(st.sampled_from([1.0, 1.0, 0.4]))
    return mask


small_sides = st.one_of(st.integers(1, 20), st.integers(1, 300))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from(CATALOGUE.edit_names), st.booleans())
def test_outside_the_mask_nothing_changes_and_what_is_sent_is_legal(
    data: st.DataObject, name: str, whole: bool
) -> None:
    height, width = data.draw(small_sides), data.draw(small_sides)
    mask = data.draw(masks(height, width))
    grow, feather = data.draw(st.integers(-3, 40)), data.draw(st.integers(0, 40))
    image = torch.rand((height, width, data.draw(st.sampled_from([1, 3, 4])))) * 3 - 1
    region = inputs.WHOLE_IMAGE if whole else inputs.AROUND_MASK
    try:
        plan = plan_image(image, mask, CATALOGUE[name], MaskSettings(region, 1.5, grow, feather))
    except ImageError:
        assert grow < 0
        assume(False)
    for crop in plan.crops:
        validate_size(CATALOGUE[name], crop.shape[1], crop.shape[0])
        assert crop.min() >= 0
        assert crop.max() <= 1
    edits = [torch.rand_like(crop) for crop in plan.crops]
    done = finish(plan, edits)
    outside = ~near(mask, max(0, grow))
    assert done.image.shape == (height, width, 3)
    assert torch.equal(
        bits(done.image)[outside],
        bits(image.expand(-1, -1, max(3, image.shape[2]))[..., :3])[outside],
    )
    assert not torch.equal(done.image, image[..., :3].expand_as(done.image))


@pytest.mark.parametrize(
    ("height", "width", "rect"),
    [
        (3000, 5000, Rect(2000, 1000, 2300, 1300)),
        (1800, 1000, Rect(0, 0, 1000, 1800)),
        (900, 2000, Rect(1999, 899, 2000, 900)),
        (1, 5000, Rect(100, 0, 4000, 1)),
        (5000, 1, Rect(0, 4999, 1, 5000)),
    ],
)
def test_large_and_long_images_keep_what_is_outside(height: int, width: int, rect: Rect) -> None:
    image = torch.rand(height, width, 3)
    mask = torch.zeros(height, width)
    mask[rect.slices] = 1
    plan = plan_image(image, mask, M26)
    done = finish(plan, [torch.rand(512, 512, 3) for _ in plan.crops])
    inside = rect.grown(inputs.MASK_GROW, (height, width))
    for part in (
        (slice(0, inside.top),),
        (slice(inside.bottom, None),),
        (slice(None), slice(0, inside.left)),
        (slice(None), slice(inside.right, None)),
    ):
        assert torch.equal(bits(done.image[part]), bits(image[part]))
    assert not torch.equal(done.image[rect.slices], image[rect.slices])


def test_every_channel_value_outside_the_mask_stays() -> None:
    image = photo(300, 300)
    strange = torch.tensor([float("nan"), float("inf"), -float("inf"), 7.5, -0.0, 1e-42])
    image[:2, :2] = image[150, 150] = strange[:3]
    image[298:, 298:] = image[150, 152] = strange[3:]
    mask = torch.zeros(300, 300)
    mask[100:200, 100:200] = 1
    plan = plan_image(image, mask, M26)
    assert torch.isfinite(plan.crops[0]).all()
    done = finish(plan, [torch.rand_like(plan.crops[0])])
    outside = alpha_of(plan) == 0
    assert torch.equal(bits(done.image)[outside], bits(image)[outside])
    assert torch.isfinite(done.image[150, 150]).all()


def test_inside_the_mask_is_the_edit_and_nothing_of_the_input() -> None:
    image = photo(1600, 1600)
    mask = torch.zeros(1600, 1600)
    mask[600:1000, 600:1000] = 1
    plan = plan_image(image, mask, M26)
    assert plan.patches[0].frame.scale == 1
    edit = plan.crops[0].clone()
    inner = slice(600 - plan.patches[0].frame.box.top, 1000 - plan.patches[0].frame.box.top)
    new = torch.rand(400, 400, 3)
    edit[inner, inner] = new
    done = finish(plan, [edit], match_color=False)
    assert torch.equal(done.image[600:1000, 600:1000], new)


@pytest.mark.parametrize("region", [inputs.AROUND_MASK, inputs.WHOLE_IMAGE])
@pytest.mark.parametrize("height", [200, 900, 1500])
def test_an_edit_that_changes_nothing_gives_the_input_bit_for_bit(region: str, height: int) -> None:
    image = photo(height, 1200)
    mask = torch.zeros(height, 1200)
    mask[50:150, 100:1100] = 1
    plan = plan_image(image, mask, M26, MaskSettings(region))
    as_png = (plan.crops[0] * 255).round() / 255
    for edit in (plan.crops[0].clone(), as_png):
        assert torch.equal(finish(plan, [edit]).image, image)


def test_pixels_of_the_crop_that_came_back_unchanged_keep_the_inputs_bits() -> None:
    image = photo(1000, 1000)
    plan = plan_image(image, torch.ones(1000, 1000), M26)
    edit = plan.crops[0].clone()
    edit[100:140, 100:140] = 0
    done = finish(plan, [edit])
    assert torch.equal(done.image[160:], image[160:])
    assert done.image[110:130, 110:130].max() < 0.01


def test_a_shrunk_box_keeps_its_fine_detail_where_the_edit_did_not_change_it() -> None:
    image = torch.rand(1500, 2000, 3) * 0.3 + photo(1500, 2000) * 0.5
    mask = torch.zeros(1500, 2000)
    mask[200:1300, 200:1800] = 1
    plan = plan_image(image, mask, M26)
    noisy = plan.crops[0] + 0.01 * torch.randn_like(plan.crops[0])
    noisy[500:600, 500:600] = 0.9
    done = finish(plan, [noisy])
    left = (done.image - image)[300:600, 300:1700].abs().mean()
    assert left < 0.02
    lost = torch.nn.functional.interpolate(
        plan.crops[0].permute(2, 0, 1)[None], (1500, 2000), mode="bicubic"
    )[0].permute(1, 2, 0)
    assert left < 0.4 * (lost - image)[300:600, 300:1700].abs().mean()


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_an_edit_that_only_scales_the_crop_gives_the_image_back(scale: float) -> None:
    image = photo(1200, 1600)
    mask = torch.zeros(1200, 1600)
    mask[200:1000, 200:1400] = 1
    plan = plan_image(image, mask, M26)
    scaled = torch.nn.functional.interpolate(
        plan.crops[0].permute(2, 0, 1)[None], scale_factor=scale, mode="bicubic", antialias=True
    )
    done = finish(plan, [scaled[0].permute(1, 2, 0)])
    assert (done.image - image).abs().mean() < 0.01


def two_corners() -> tuple[Tensor, ImagePlan]:
    image = photo(1600, 2000)
    mask = torch.zeros(1600, 2000)
    mask[100:200, 100:200] = mask[1400:1500, 1800:1900] = 1
    return image, plan_image(image, mask, M26)


def test_far_areas_are_sent_one_by_one_and_all_set_back() -> None:
    _, plan = two_corners()
    assert len(plan.crops) == 2
    done = finish(plan, [torch.zeros(64, 64, 3) for _ in plan.crops], False)
    assert done.image[150, 150].max() == done.image[1450, 1850].max() == 0
    assert len(done.facts) == 2


def test_an_area_without_an_edit_stays_and_is_named() -> None:
    image, plan = two_corners()
    done = finish(plan, [None, torch.zeros_like(plan.crops[1])], False)
    assert torch.equal(done.image[:800], image[:800])
    assert "Area 1 has no edit" in done.notes[-1]


@pytest.mark.parametrize("region", [inputs.AROUND_MASK, inputs.WHOLE_IMAGE])
@pytest.mark.parametrize("feathered", [False, True])
def test_outpainting_leaves_the_old_image_untouched_and_fills_all_the_rest(
    feathered: bool, region: str
) -> None:
    old = photo(600, 700)
    image, mask = torch.full((600, 1060, 3), 0.5), torch.ones(600, 1060)
    image[:, 200:900] = old
    depth = torch.arange(700.0)
    distance = torch.minimum(depth, 700 - depth)
    mask[:, 200:900] = ((40 - distance).clamp(0) / 40) ** 2 if feathered else 0.0
    plan = plan_image(image, mask, M26, MaskSettings(region))
    assert len(plan.crops) == 1
    done = finish(plan, [torch.rand_like(plan.crops[0]) * 0.2])
    assert torch.equal(bits(done.image[:, 200:900]), bits(old))
    assert done.image.shape == (600, 1060, 3)
    assert (done.image[:, :200] - 0.5).abs().amin(-1).mean() > 0.05
    assert "padded image" in done.notes[0]


def test_a_mask_of_another_size_is_scaled_with_a_note() -> None:
    mask = torch.zeros(64, 64)
    mask[20:30, 20:30] = 1
    plan = plan_image(photo(640, 1280), mask, M26, MaskSettings(mask_grow=0, mask_feather=0))
    assert "64 x 64 and its image 1280 x 640" in plan.notes[0]
    alpha = alpha_of(plan)
    assert alpha[250, 500] == 255
    assert not alpha[:, 640:].any()


@pytest.mark.parametrize("mask", [torch.zeros(64, 64), torch.full((100, 100), float("nan"))])
def test_an_empty_mask_is_refused(mask: Tensor) -> None:
    with pytest.raises(ImageError, match="The mask is empty"):
        plan_image(photo(100, 100), mask, M26)


def test_a_mask_that_is_shrunk_to_nothing_is_refused() -> None:
    mask = torch.zeros(100, 100)
    mask[40:60, 40:60] = 1
    with pytest.raises(ImageError, match="mask_grow -30"):
        plan_image(photo(100, 100), mask, M26, MaskSettings(mask_grow=-30))


def test_without_a_mask_the_edit_gets_the_inputs_size_without_distortion() -> None:
    plan = plan_image(photo(900, 1600), None, M26)
    assert plan.crops[0] is plan.image
    square = torch.zeros(1024, 1024, 3)
    square[412:612, 412:612] = 1
    done = finish(plan, [square])
    assert done.image.shape == (900, 1600, 3)
    rows, columns = (done.image[..., 0] > 0.5).any(1).sum(), (done.image[..., 0] > 0.5).any(0).sum()
    assert abs(int(rows) - int(columns)) <= 1
    assert "another aspect" in done.notes[0]


def test_a_batch_is_written_into_without_a_copy_and_from_another_inference_mode() -> None:
    image, mask = photo(300, 300), torch.zeros(300, 300)
    mask[100:200, 100:200] = 1
    with torch.inference_mode():
        batch = torch.empty(2, 300, 300, 3)
        plan = plan_image(image.clone(), mask.clone(), M26)
    finish_image(plan, [torch.rand(900, 900, 3)], batch[1])
    assert torch.equal(batch[1][:50], image[:50])


def test_the_facts_for_info_are_in_pixels_of_what_was_sent_and_of_the_image() -> None:
    image, mask = photo(800, 800), torch.zeros(800, 800)
    mask[350:450, 350:450] = 1
    plan = plan_image(image, mask, M26)
    moved = torch.roll(plan.crops[0], (-6, 12), (0, 1))
    (facts,) = finish(plan, [moved]).facts
    frame = plan.patches[0].frame
    assert facts["sent"] == [768, 768] == facts["returned"]
    assert facts["box"] == [frame.box.left, frame.box.top, frame.box.width, frame.box.height]
    assert facts["shift_px"] == pytest.approx([12, -6], abs=0.3)
    scale = 768 / frame.box.width
    assert facts["shift_px_in_image"] == pytest.approx([12 / scale, -6 / scale], abs=0.1)
    assert facts["shift_corrected"] is True


def test_a_patch_says_nothing_of_its_pixels_when_shown() -> None:
    plan = plan_image(photo(100, 100), torch.ones(100, 100), M26)
    assert "tensor" not in repr(plan)
    assert "array" not in repr(Stitch((plan.image,), plan.patches))
    assert np.asarray(plan.patches[0].alpha).dtype == np.uint8
