"""From a MASK to the alpha of a blend: grow, feather, and the masks of padded images.

Masks are handled as uint8 [H,W], 0 (keep the input) to 255 (take the edit): a quarter of the memory
of floats, and what is 0 stays exactly 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from .rectangle import Rect, bounds

Levels = npt.NDArray[np.uint8]

RECTANGLES = 8
"""A disc is grown as the union of at most so many rectangles inscribed in it: exact up to a radius
of 8 or so, and never beyond the disc. Their cost hardly depends on the radius."""

FAINT = 16
"""Blurred coverage (of 255) below which a part of a mask is too small for a ramp: it stays hard."""


def levels_of(mask: Tensor, height: int, width: int) -> Levels:
    """A MASK [h,w] as levels [height,width]; another size is scaled (bilinear).

    Values are rounded to 256 levels, so a mask value under 0.002 counts as 0; NaN counts as 0.
    """
    with torch.inference_mode():
        unit = torch.nan_to_num(mask.detach().cpu().float(), nan=0.0, posinf=1.0, neginf=0.0)
        if unit.shape != (height, width):
            planes = F.interpolate(
                unit[None, None], size=(height, width), mode="bilinear", antialias=True
            )
            unit = planes[0, 0]
        levels: Levels = unit.clamp_(0, 1).mul_(255).round_().to(torch.uint8).numpy()
    return levels


def grow(levels: Levels, pixels: int) -> Levels:
    """Widened by a disc of this radius in pixels; a negative number shrinks.

    The image's border counts as mask when shrinking: a mask that touches it stays there.
    """
    if pixels < 0:
        return _invert(grow(_invert(levels), -pixels))
    inside = bounds(levels)
    if pixels == 0 or inside is None:
        return levels
    area = inside.grown(pixels, levels.shape)
    grown = np.zeros_like(levels)
    grown[area.slices] = _dilate(levels[area.slices], pixels)
    return grown


def feather(levels: Levels, pixels: int) -> Levels:
    """The outermost `pixels` become a smooth ramp from 0 at the edge to the mask's own level.

    The ramp runs inwards, so nothing outside the mask is ever touched. Where a part is thinner than
    twice `pixels` the ramp is as long as there is room for, and its middle keeps its level. At the
    image's border there is nothing to blend with, so no ramp.
    """
    inside = bounds(levels)
    if pixels <= 0 or inside is None:
        return levels
    area = inside.grown(1, levels.shape)
    support = np.where(levels[area.slices] > 0, np.uint8(255), np.uint8(0))
    # Two box blurs of half the length make a triangle: the blur reaches exactly `pixels` far. On a
    # straight edge the covered share is then 1 - (1 - depth / pixels)^2 / 2, which _RAMP inverts.
    blur = ImageFilter.BoxBlur(pixels / 2)
    covered = np.asarray(Image.fromarray(support).filter(blur).filter(blur))
    ramp = _RAMP[covered]
    thin = _thin(covered, support, pixels)
    if thin is not None:
        ramp = np.where(thin < 255, _ramp_of_thin(covered, thin), ramp)
    result = np.zeros_like(levels)
    result[area.slices] = np.minimum(ramp, levels[area.slices])
    return result if result.any() else levels


def padding_around(image: Tensor, levels: Levels) -> Rect | None:
    """The old image inside a padded one [H,W,C], where the mask is that of the padding.

    So it is if bands along one or more borders are wholly masked and of one colour, as
    ImagePadForOutpaint makes them, and what the mask has inside the rest is at most a soft edge
    (`feathering` there): full level nowhere but on the outermost pixels. Otherwise None.
    """
    height, width = levels.shape
    edges = (levels[0], levels[-1], levels[:, 0], levels[:, -1])
    if not any(edge.min() == 255 for edge in edges):
        return None
    fill = _fill(image, levels)
    if fill is None:
        return None
    padded = torch.from_numpy(levels == 255) & (image[..., :3] == fill).all(-1).cpu()
    rows, columns = padded.all(1).numpy(), padded.all(0).numpy()
    if rows.all() or columns.all() or not (rows.any() or columns.any()):
        return None
    top, bottom = _leading(rows), height - _leading(rows[::-1])
    left, right = _leading(columns), width - _leading(columns[::-1])
    core = levels[top + 1 : bottom - 1, left + 1 : right - 1]
    if (top, left, bottom, right) == (0, 0, height, width) or (core == 255).any():
        return None
    return Rect(left, top, right, bottom)


def _fill(image: Tensor, levels: Levels) -> Tensor | None:
    """The colour of the first corner that is wholly masked."""
    for y, x in ((0, 0), (-1, -1), (0, -1), (-1, 0)):
        if levels[y, x] == 255:
            return image[y, x, :3]
    return None


def _leading(flags: npt.NDArray[np.bool_]) -> int:
    """How many of them are true before the first that isn't (there is one)."""
    return int(np.argmin(flags))


def _invert(levels: Levels) -> Levels:
    inverse: Levels = np.subtract(np.uint8(255), levels)
    return inverse


def _dilate(levels: Levels, radius: int) -> Levels:
    result = levels
    for across, down in _rectangles(radius):
        result = np.maximum(result, widest(levels, across, down))
    return result


def widest(levels: npt.NDArray[np.uint8], across: int, down: int) -> Levels:
    """The largest level within `across` pixels left and right and `down` above and below."""
    return _line(_line(levels.T, across).T, down)


def _line(levels: Levels, radius: int) -> Levels:
    """The largest level within `radius` rows, by doubling: as fast for 100 rows as for 10."""
    if radius == 0:
        return levels
    length = 2 * radius + 1
    most = np.pad(levels, ((radius, radius), (0, 0)))
    span = 1
    while 2 * span <= length:
        most = np.maximum(most[:-span], most[span:])
        span *= 2
    rest = length - span
    return np.maximum(most[:-rest], most[rest:]) if rest else most


def _rectangles(radius: int) -> list[tuple[int, int]]:
    """Half widths and half heights of the rectangles whose union stands for a disc."""
    widest_at: dict[int, int] = {}
    for down in range(radius + 1):
        across = math.isqrt(radius * radius - down * down)
        widest_at[across] = down
    pairs = list(widest_at.items())
    if len(pairs) <= RECTANGLES:
        return pairs
    angles = [math.pi / 2 * i / (RECTANGLES - 1) for i in range(RECTANGLES)]
    downs = [round(radius * math.sin(angle)) for angle in angles]
    return [(math.isqrt(radius * radius - down * down), down) for down in downs]


def _ramp_table() -> Levels:
    """From covered share (0..255) to alpha: 0 up to a half, then a smooth step over the depth."""
    beyond = np.clip(np.arange(256) / 127.5 - 1, 0, 1)
    depth = 1 - np.sqrt(1 - beyond)
    table: Levels = np.round(255 * depth * depth * (3 - 2 * depth)).astype(np.uint8)
    return table


_RAMP = _ramp_table()


def _thin(covered: Levels, support: Levels, pixels: int) -> Levels | None:
    """The best coverage found within about `pixels` of each pixel; None if it is full all over."""
    cell = max(1, pixels // 2)
    height, width = covered.shape
    near = widest(pooled(np.minimum(covered, support), cell), 2, 2)
    if near[pooled(support, cell) > 0].min() == 255:
        return None
    small = Image.fromarray(near).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(small)


def pooled(levels: Levels, cell: int) -> Levels:
    """The largest level of each cell of so many pixels a side."""
    rows = np.maximum.reduceat(levels, np.arange(0, levels.shape[0], cell), axis=0)
    pooled: Levels = np.maximum.reduceat(rows, np.arange(0, levels.shape[1], cell), axis=1)
    return pooled


def _ramp_of_thin(covered: Levels, best: Levels) -> Levels:
    """The ramp where the coverage never gets full: measured against the best coverage nearby."""
    share = 2 * covered.astype(np.float32) / np.maximum(best, 1) - 1
    share[best < FAINT] = 1
    ramp: Levels = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return ramp
