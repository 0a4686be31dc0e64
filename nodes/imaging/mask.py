"""From a MASK to the alpha of a blend: scaled, grown, feathered, and split into separate areas.

Masks are handled as uint8 [H,W], 0 (keep the input) to 255 (take the edit): a quarter of the memory
of floats, and what is 0 stays exactly 0.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from torch import Tensor

from ...mai.errors import ImageError
from ...mai.models import Model
from ...mai.sizes import Size
from .regions import SMALLEST_BOX, Rect, bounds, frame_around, with_context

Levels = npt.NDArray[np.uint8]

RECTANGLES = 8
"""A disc is grown as the union of at most so many rectangles inscribed in it: exact up to a radius
of 8 or so, and never beyond the disc. Their cost hardly depends on the radius."""

FAINT = 16
"""Blurred coverage (of 255) below which a part of a mask is too small for a ramp: it stays hard."""

FAR = 2 / 3
"""The scale at which a box around several areas is shrunk too much: below, a second paid request
shows clearly more."""

LARGE = 2 << 20
"""Pixels sent; of a larger box around several areas most is paid for, and nothing of it changes."""

MAX_AREAS = 4
"""Each area that is edited alone is a paid request."""

MAX_SPECKS = 32
"""A mask of more separate parts than this is taken as one area: noise, text, foliage."""

GRID = 128
"""Separate areas are looked for on a grid of at most so many cells a side."""


@dataclass(frozen=True)
class EditMask:
    """The alpha of an edit [H,W], and the rectangle around it.

    `padded`: the mask is that of a padded image, whose old part is left as it was. `notes` are
    sentences for the user.
    """

    levels: Levels = field(repr=False)
    bounds: Rect
    padded: bool
    notes: tuple[str, ...]


def pair_masks(
    images: Sequence[Tensor], masks: Tensor | None
) -> list[tuple[Tensor, Tensor | None]]:
    """Each image with its mask [h,w]: its own of a batch [B,h,w], or the only one for all.

    ImageError: another number of masks than images, or no MASK.
    """
    if masks is None:
        return [(image, None) for image in images]
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.ndim == 2:
        masks = masks.unsqueeze(0)
    if masks.ndim != 3 or 0 in masks.shape:
        raise ImageError(
            f"A MASK has the shape [B,H,W]; this one has {list(masks.shape)}.",
            "Connect the MASK output of a node; Convert Image to Mask makes one of an IMAGE.",
        )
    if len(masks) not in (1, len(images)):
        raise ImageError(
            f"There are {len(masks)} masks for {len(images)} image{'s' * (len(images) > 1)}.",
            "Give one mask for all images, or as many masks as images (Repeat Image Batch repeats "
            "an image).",
        )
    return list(zip(images, masks.expand(len(images), -1, -1), strict=True))


def edit_mask(image: Tensor, mask: Tensor, mask_grow: int, mask_feather: int) -> EditMask:
    """The alpha for an image [H,W,C] from its mask [h,w]: scaled to it, grown, then feathered.

    In an image that was padded for outpainting (`unpadded_part`) all of the padding is edited and
    nothing else, whatever soft edge the mask has: the old image stays untouched. ImageError:
    nothing is masked.
    """
    height, width = image.shape[:2]
    levels, notes = levels_of(mask, height, width), []
    if mask.shape != (height, width):
        notes.append(
            f"The mask is {mask.shape[1]} x {mask.shape[0]} and its image {width} x {height}: the "
            "mask was scaled."
        )
    if not levels.any():
        raise ImageError(
            "The mask is empty: nothing in it is selected.",
            "Paint a mask (right click on Load Image, Open in MaskEditor), or disconnect the mask "
            "to edit the whole image. Load Image gives an empty mask for a file without alpha.",
        )
    old = unpadded_part(image, levels)
    if old is None:
        levels = _softened(levels, mask_grow, mask_feather)
    else:
        levels = np.full_like(levels, 255)
        levels[old.slices] = 0
        notes.append(
            "The mask is that of a padded image: the old image was left untouched, mask_grow, "
            "mask_feather and the padding's own feathering were not applied."
        )
    around = bounds(levels)
    if not around.area:
        raise ImageError(
            f"Nothing is left of the mask after mask_grow {mask_grow}.",
            "Raise mask_grow: a negative number shrinks the mask.",
        )
    return EditMask(levels, around, old is not None, tuple(notes))


def _softened(levels: Levels, mask_grow: int, mask_feather: int) -> Levels:
    soft = feather(grow(levels, mask_grow), mask_feather)
    # Rounded corners would leave a trace of the input in those of the mask itself.
    return np.maximum(soft, levels) if mask_grow >= mask_feather else soft


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
    """The mask widened by a disc of this radius in pixels; a negative number shrinks.

    The image's border counts as mask when shrinking: a mask that touches it stays there.
    """
    if pixels < 0:
        kept: Levels = 255 - grow(255 - levels, -pixels)
        return kept
    area = bounds(levels).grown(pixels, levels.shape).slices
    grown: Levels = levels.copy()
    for across, down in _rectangles(pixels):
        np.maximum(grown[area], largest_within(levels[area], across, down), out=grown[area])
    return grown


def feather(levels: Levels, pixels: int) -> Levels:
    """The outermost `pixels` become a smooth ramp from 0 at the edge to the mask's own level.

    The ramp runs inwards, so nothing outside the mask is ever touched. Where a part is thinner than
    twice `pixels` the ramp is as long as there is room for, and its middle keeps its level. At the
    image's border there is nothing to blend with, so no ramp.
    """
    inside = bounds(levels)
    if pixels <= 0 or not inside.area:
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


def unpadded_part(image: Tensor, levels: Levels) -> Rect | None:
    """The old image inside a padded one [H,W,C], where the mask is that of the padding.

    That is so if bands along one or more borders are fully masked and of one colour, as
    ImagePadForOutpaint makes them, and what the mask has inside them is at most a soft edge
    (`feathering` there): full level nowhere but on the outermost pixels. Otherwise None.
    """
    height, width = levels.shape
    edges = (levels[0], levels[-1], levels[:, 0], levels[:, -1])
    if not any(edge.min() == 255 for edge in edges):
        return None
    corners = ((0, 0), (-1, -1), (0, -1), (-1, 0))
    fill = next(image[y, x, :3] for y, x in corners if levels[y, x] == 255)
    padded = torch.from_numpy(levels == 255) & (image[..., :3] == fill).all(-1).cpu()
    rows, columns = padded.all(1).numpy(), padded.all(0).numpy()
    old = bounds(~(rows[:, None] | columns))
    core = levels[old.top + 1 : old.bottom - 1, old.left + 1 : old.right - 1]
    if not old.area or old == (0, 0, width, height) or (core == 255).any():
        return None
    return old


def largest_within(levels: Levels, across: int, down: int) -> Levels:
    """The largest level within `across` pixels left and right and `down` above and below."""
    return _line(_line(levels.T, across).T, down)


def _line(levels: Levels, radius: int) -> Levels:
    """The largest level within `radius` rows, by doubling: as fast for 100 rows as for 10."""
    if radius == 0:
        return levels
    length = 2 * radius + 1
    largest = np.pad(levels, ((radius, radius), (0, 0)))
    span = 1
    while 2 * span <= length:
        largest = np.maximum(largest[:-span], largest[span:])
        span *= 2
    remaining = length - span
    return np.maximum(largest[:-remaining], largest[remaining:]) if remaining else largest


def _rectangles(radius: int) -> list[tuple[int, int]]:
    """Half widths and half heights of the rectangles whose union stands for a disc."""
    tallest: dict[int, int] = {}
    for down in range(radius + 1):
        across = math.isqrt(radius * radius - down * down)
        tallest[across] = down
    pairs = list(tallest.items())
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
    near = largest_within(pooled(np.minimum(covered, support), cell), 2, 2)
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


def separate_areas(levels: Levels, model: Model, context: float) -> list[Rect]:
    """The rectangles that are edited one by one: one around all, unless they are far apart.

    They are far apart if one box around all would lose more than a third of its resolution (FAR) or
    would be LARGE, and the boxes of the single areas (each with its context) together cover less
    than half of it.
    Parts whose boxes overlap, or that are less than SMALLEST_BOX apart, count as one area. There
    are at most MAX_AREAS: of more, the nearest are joined.
    """
    image = Size(levels.shape[1], levels.shape[0])
    around_all = bounds(levels)

    @functools.cache
    def box(rect: Rect) -> Rect:
        return frame_around(with_context(rect, image, context, model), image, model).box

    joint = frame_around(with_context(around_all, image, context, model), image, model)
    if joint.scale >= FAR and joint.sent.pixels <= LARGE:
        return [around_all]
    rects = _parts(levels)
    if len(rects) > MAX_SPECKS:
        return [around_all]
    rects = _joined(rects, box)
    if sum(box(rect).area for rect in rects) * 2 >= joint.box.area:
        return [around_all]
    return sorted(rects, key=lambda rect: (rect.top, rect.left))


def _joined(rects: list[Rect], box: Callable[[Rect], Rect]) -> list[Rect]:
    """Two become one until no boxes overlap, then the nearest until there are MAX_AREAS."""
    while True:
        pairs = list(itertools.combinations(rects, 2))
        overlapping = (pair for pair in pairs if box(pair[0]).overlaps(box(pair[1])))
        pair = next(overlapping, None)
        if pair is None:
            if len(rects) <= MAX_AREAS:
                return rects
            pair = min(pairs, key=lambda pair: pair[0].joined(pair[1]).area)
        rects = [rect for rect in rects if rect not in pair]
        rects.append(pair[0].joined(pair[1]))


def _parts(levels: Levels) -> list[Rect]:
    """The bounds of the parts of a mask that are SMALLEST_BOX or more apart.

    Found on a coarse grid, so the distance is right to a cell; stops after MAX_SPECKS + 1.
    """
    height, width = levels.shape
    cell = -(-max(height, width) // GRID)
    cells = pooled(levels, cell) > 0
    reach = max(1, SMALLEST_BOX // cell)
    parts: list[Rect] = []
    while cells.any() and len(parts) <= MAX_SPECKS:
        part = _part(cells, reach)
        cells = cells & ~part
        area = Rect(*(edge * cell for edge in bounds(part))).grown(0, levels.shape)
        parts.append(bounds(levels[area.slices]).moved(area.left, area.top))
    return parts


def _part(cells: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """The cells that the first one is linked with, by steps of at most `reach` cells."""
    part = np.zeros(cells.shape, np.uint8)
    part.flat[int(cells.argmax())] = 1
    while True:
        wider = np.where(cells, largest_within(part, reach, reach), np.uint8(0))
        if np.array_equal(wider, part):
            return part > 0
        part = wider
