"""nodes/imaging/drift.py: what came back is brought onto what was sent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mai_image.nodes.imaging.color_match import fit_colors, map_colors
from mai_image.nodes.imaging.drift import (
    Drift,
    FittedEdit,
    detail_share,
    fit_edit,
    ring_around,
)
from mai_image.nodes.imaging.least_squares import trimmed_fit
from mai_image.nodes.imaging.regions import Rect
from mai_image.nodes.imaging.registration import Move
from mai_image.nodes.imaging.resample import Window, resample
from PIL import Image, ImageOps
from torch import Tensor

HEIGHT, WIDTH = 512, 608
MASK = Rect(230, 160, 380, 330)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random images in every run and order."""
    torch.manual_seed(0)


def photo(height: int, width: int, seed: int) -> Tensor:
    """Smooth noise on many scales, discs of other colours, and grain: [H,W,3] in 0..1."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), 0.45, np.float32)
    for octave in range(2, 8):
        grid = generator.normal(size=(3, 2**octave, 2**octave)).astype(np.float32)
        grid = 0.8 * grid.mean(0) + 0.3 * grid
        for channel in range(3):
            wave = Image.fromarray(grid[channel]).resize((width, height), Image.Resampling.BICUBIC)
            image[..., channel] += 0.25 / octave * np.asarray(wave)
    y, x = np.mgrid[:height, :width]
    for _ in range(20):
        centre_x, centre_y, radius = generator.random(3) * (width, height, 50)
        disc = (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2
        image[disc] = 0.4 * image[disc] + 0.6 * generator.random(3)
    image += generator.normal(size=image.shape) * 0.01
    return torch.from_numpy(np.clip(image, 0, 1).astype(np.float32))


SENT = photo(HEIGHT, WIDTH, 1)
ALPHA = np.zeros((HEIGHT, WIDTH), np.uint8)
ALPHA[MASK.slices] = 255
INNER = Rect(0, 0, WIDTH, HEIGHT)


OTHER = photo(HEIGHT, WIDTH, 2)


def edited() -> Tensor:
    """What was sent with another image inside the mask."""
    image = SENT.clone()
    image[MASK.slices] = OTHER[MASK.slices]
    return image


def moved(image: Tensor, x: float = 0, y: float = 0, zoom: float = 0) -> Tensor:
    """The content x, y pixels further right and down, and enlarged about the middle."""
    height, width = image.shape[:2]
    half_x, half_y = width / 2 / (1 + zoom), height / 2 / (1 + zoom)
    middle_x, middle_y = width / 2 - x / (1 + zoom), height / 2 - y / (1 + zoom)
    window = Window(middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y)
    return resample(image, window, height, width).clamp_(0, 1)


def as_png(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255


def off_in_mask(fitted: FittedEdit, wanted: Tensor) -> float:
    """The mean difference inside the mask, in levels of 8 bits."""
    image = fitted.at(HEIGHT, WIDTH)
    return 255 * float((image - wanted)[MASK.slices].abs().mean())


@pytest.mark.parametrize(
    ("x", "y", "zoom"), [(3, -2, 0), (-7.4, 5.3, 0), (1.5, 1.5, 0), (0, 0, 0.02), (-4, 3, -0.01)]
)
def test_a_small_shift_and_zoom_are_found_and_undone(x: float, y: float, zoom: float) -> None:
    back = as_png(moved(edited(), x, y, zoom))
    fitted = fit_edit(back, SENT, INNER, ALPHA, match_color=False)
    assert fitted.drift.corrected
    assert fitted.drift.shift == pytest.approx((x, y), abs=0.15)
    assert fitted.drift.zoom == pytest.approx(zoom, abs=5e-4)
    assert off_in_mask(fitted, edited()) < 2.5


def test_a_shift_is_found_through_a_recolouring_and_a_change_of_a_fifth_of_the_ring() -> None:
    back = moved(edited(), 5, -3) ** 1.2 * 0.8 + 0.1
    back[330:380, 200:400] = 0.1
    fitted = fit_edit(as_png(back), SENT, INNER, ALPHA, match_color=False)
    assert fitted.drift.shift == pytest.approx((5, -3), abs=0.2)


def test_a_large_shift_is_reported_and_not_undone() -> None:
    fitted = fit_edit(as_png(moved(edited(), 40, -20)), SENT, INNER, ALPHA, match_color=False)
    assert fitted.drift.shift == pytest.approx((40, -20), abs=0.5)
    assert not fitted.drift.corrected
    assert fitted.window == Window.of(SENT)
    assert "shifted by 40.0, -20.0 pixels" in fitted.notes[0]


def test_another_image_gives_no_shift() -> None:
    fitted = fit_edit(OTHER, SENT, INNER, ALPHA, match_color=False)
    assert fitted.drift.shift == (0, 0)
    assert not fitted.drift.corrected
    assert fitted.drift.difference is not None
    assert fitted.drift.difference > 0.1


def test_the_difference_is_the_mean_over_the_ring() -> None:
    fitted = fit_edit(edited() + 0.03, SENT, INNER, ALPHA, match_color=False)
    assert fitted.drift.difference == pytest.approx(0.03, abs=0.002)


def hue(image: Tensor) -> Tensor:
    """Turned by 40 degrees in YIQ."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    turn = torch.tensor([[1, 0, 0], [0, 0.766, -0.643], [0, 0.643, 0.766]])
    return image @ (torch.linalg.inv(to_yiq) @ turn @ to_yiq).T


RECOLOURINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "gain": lambda image: image * torch.tensor([0.85, 0.95, 0.8]),
    "offset": lambda image: image + torch.tensor([0.05, -0.03, 0.02]),
    "contrast": lambda image: (image - 0.5) * 0.6 + 0.5,
    "tint": lambda image: image * 0.82 + 0.18 * torch.tensor([0.1, 0.8, 0.4]),
    "hue": hue,
}


@pytest.mark.parametrize("name", RECOLOURINGS)
def test_a_linear_recolouring_is_undone_inside_the_mask(name: str) -> None:
    back = as_png(RECOLOURINGS[name](edited()))
    plain = fit_edit(back, SENT, INNER, ALPHA, match_color=False)
    fitted = fit_edit(back, SENT, INNER, ALPHA, match_color=True)
    assert fitted.drift.matched
    assert off_in_mask(plain, edited()) > 5
    assert off_in_mask(fitted, edited()) < 1.6


def test_a_gamma_is_undone_for_the_most_part() -> None:
    back = as_png(edited() ** 1.3)
    fitted = fit_edit(back, SENT, INNER, ALPHA, match_color=True)
    assert off_in_mask(fit_edit(back, SENT, INNER, ALPHA, match_color=False), edited()) > 15
    assert off_in_mask(fitted, edited()) < 4


def test_colours_are_learnt_from_the_ring_that_did_not_change() -> None:
    back = edited() * 0.85 + 0.02
    back[340:380, 200:390] = torch.tensor([0.9, 0.1, 0.1])
    fitted = fit_edit(as_png(back), SENT, INNER, ALPHA, match_color=True)
    assert off_in_mask(fitted, edited()) < 4


def test_a_grey_ring_does_not_bleach_a_red_object() -> None:
    sent = torch.full((HEIGHT, WIDTH, 3), 0.5) + 0.02 * torch.randn(HEIGHT, WIDTH, 1)
    back = sent.clone()
    back[MASK.slices] = torch.tensor([0.9, 0.1, 0.1])
    fitted = fit_edit(as_png(back + 0.04), sent.clamp(0, 1), INNER, ALPHA, match_color=True)
    colour_now = fitted.at(HEIGHT, WIDTH)[MASK.slices].mean((0, 1))
    assert colour_now.tolist() == pytest.approx([0.9, 0.1, 0.1], abs=0.03)


def test_grain_alone_is_not_taken_for_a_recolouring() -> None:
    ring = ring_around(ALPHA)
    matrix = fit_colors(SENT + 0.01 * torch.randn_like(SENT), SENT, ring)
    assert matrix is not None
    assert torch.equal(matrix, torch.eye(4, 3))


def test_another_image_in_the_ring_does_not_flatten_the_edit() -> None:
    assert fit_colors(OTHER, SENT, ring_around(ALPHA)) is None


def test_texture_that_was_drawn_anew_still_shows_the_tint() -> None:
    soft = resample(resample(SENT, Window.of(SENT), 16, 19), Window(0, 0, 19, 16), HEIGHT, WIDTH)
    sent, drawn = (soft + 0.15 * torch.randn_like(soft) for _ in range(2))
    matrix = fit_colors(drawn * 0.9 + 0.06, sent, ring_around(ALPHA))
    assert matrix is not None
    assert torch.allclose(map_colors(soft * 0.9 + 0.06, matrix), soft, atol=0.03)


def test_without_a_ring_nothing_is_corrected() -> None:
    full = np.full((HEIGHT, WIDTH), 255, np.uint8)
    fitted = fit_edit(edited() + 0.1, SENT, INNER, full, match_color=True)
    assert fitted.drift == Drift()
    assert fitted.matrix is None


def pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().to(torch.uint8).numpy())


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image) / np.float32(255))


@pytest.mark.parametrize("size", [(1216, 1024), (760, 640), (304, 256)])
def test_another_size_of_the_same_aspect_is_scaled(size: tuple[int, int]) -> None:
    back = tensor(pil(edited()).resize(size, Image.Resampling.BICUBIC))
    fitted = fit_edit(back, SENT, INNER, ALPHA, match_color=True)
    assert fitted.notes == ()
    assert not fitted.drift.corrected
    assert off_in_mask(fitted, edited()) < (6 if size[0] < WIDTH else 2)


@pytest.mark.parametrize(
    ("way", "says"),
    [
        (lambda p: p.resize((1024, 1024), Image.Resampling.BICUBIC), "squeezed"),
        (lambda p: ImageOps.fit(p, (1024, 1024), Image.Resampling.BICUBIC), "cut the image"),
        (lambda p: ImageOps.expand(p, (100, 0), 90), "cut at the centre"),
    ],
)
def test_another_aspect_is_fitted_by_what_the_ring_shows(
    way: Callable[[Image.Image], Image.Image], says: str
) -> None:
    fitted = fit_edit(tensor(way(pil(edited()))), SENT, INNER, ALPHA, match_color=False)
    assert says in fitted.notes[0]
    assert off_in_mask(fitted, edited()) < 3


def test_another_aspect_without_a_ring_covers_and_is_cut_at_the_centre() -> None:
    full = np.full((HEIGHT, WIDTH), 255, np.uint8)
    fitted = fit_edit(torch.rand(1024, 1024, 3), SENT, INNER, full, match_color=True)
    assert fitted.window.width == pytest.approx(1024)
    assert fitted.window.width / fitted.window.height == pytest.approx(WIDTH / HEIGHT)


def test_what_a_cut_left_out_is_not_taken_from_the_edit() -> None:
    alpha = ALPHA.copy()
    alpha[200:260, :40] = 255
    fitted = fit_edit(
        tensor(ImageOps.fit(pil(edited()), (512, 512))), SENT, INNER, alpha, match_color=False
    )
    assert fitted.visible is not None
    assert not fitted.visible[:, :40].any()
    assert "did not come back at all" in fitted.notes[1]


def test_detail_comes_back_only_where_nothing_changed() -> None:
    share = detail_share(edited(), SENT)[..., 0]
    assert share[:120].min() == 1
    assert share[MASK.slices][20:-20, 20:-20].mean() < 0.3


def test_a_move_says_where_in_a_window_of_any_scale_the_content_lies() -> None:
    seen = Move(2, -1, 0).applied(Window(0, 0, 200, 100), 50, 100)
    assert seen == Window(4, -2, 204, 98)


def test_a_fit_follows_the_rows_that_agree_and_leaves_the_others_out() -> None:
    generator = np.random.default_rng(0)
    design = np.stack([generator.random(200), np.ones(200)], 1)
    wanted = design @ np.array([[0.8], [0.1]])
    wanted[:50] = 0.9
    solution = trimmed_fit(design, wanted, np.array([[1.0], [0.0]]), 1e-9)
    assert solution[:, 0] == pytest.approx([0.8, 0.1], abs=1e-4)


def test_a_fit_keeps_what_nothing_determines_as_it_was() -> None:
    grey = np.full((100, 2), 0.5)
    solution = trimmed_fit(grey, grey[:, :1], np.eye(2, 1), 1e-4)
    assert solution[:, 0] == pytest.approx([1, 0], abs=1e-6)
