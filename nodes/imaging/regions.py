"""Which part of an image an edit is sent, and at which size: pure arithmetic.

The box is cut from the image, scaled to the inner part of the sent image, and what is missing
to a size that the model can work with is padding, which is cut off again afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...mai.models import EDIT_PIXELS, MIN_SIDE, STEP, Model
from ...mai.sizes import Size
from .alpha import Levels, pooled, widest
from .rectangle import Rect, bounds

SMALLEST_BOX = 192
"""Pixels: a quarter of the least side that can be sent. Enlarging more than fourfold shows the
model nothing but blur; a small mask gets more context instead."""

WIDEST = (EDIT_PIXELS // MIN_SIDE // STEP * STEP, MIN_SIDE)
"""Width and height of the widest size that comes back at 1 megapixel: 1376 x 768, 1.79:1."""

FAR = 2 / 3
"""The scale at which a box around several areas is shrunk too much: below, a second paid request
shows clearly more."""

MAX_AREAS = 4
"""Each area that is edited alone is a paid request."""

MAX_SPECKS = 32
"""A mask of more separate parts than this is taken as one area: noise, text, foliage."""

GRID = 128
"""Separate areas are looked for on a grid of at most so many cells a side."""


@dataclass(frozen=True)
class Frame:
    """`box` of the image stands at `inner` of a sent image of the size `sent`.

    Box and inner differ by the scale; what lies between inner and sent is padding.
    """

    box: Rect
    inner: Rect
    sent: Size

    @property
    def scale(self) -> float:
        """Pixels sent for each pixel of the image; more than 1 where the box is enlarged."""
        return math.sqrt(self.inner.area / self.box.area)


@dataclass(frozen=True)
class Need:
    """An area that must be sent: its rectangle, and width and height with the context around it."""

    rect: Rect
    width: int
    height: int


def need(rect: Rect, image: Size, context: float) -> Need:
    """The area with its context: (context - 1) times its longer side is added on every side.

    So 1.0 adds nothing and 1.5 half of the longer side, left, right, above and below; never less
    than SMALLEST_BOX in all, never more than the image.
    """
    margin = 2 * math.ceil(max(0.0, context - 1) * max(rect.width, rect.height))
    width, height = (
        min(side, max(SMALLEST_BOX, length + margin))
        for side, length in zip(image, (rect.width, rect.height), strict=True)
    )
    long, short = WIDEST
    return Need(
        rect,
        max(width, min(image.width, -(-height * short // long))),
        max(height, min(image.height, -(-width * short // long))),
    )


def common_size(needs: list[Need], model: Model) -> Size:
    """One sent size that suits several areas: that of the largest width and height among them."""
    largest = max(one.width for one in needs), max(one.height for one in needs)
    return sent_size(model, *largest)[1]


def frame_around(one: Need, image: Size, model: Model, sent: Size | None = None) -> Frame:
    """The box around an area, centred on it, moved inwards where it would leave the image.

    The box is widened to the aspect of what is sent as far as the image allows. `sent` is given
    where several crops must have one size.
    """
    if sent is None:
        scale, sent = sent_size(model, one.width, one.height)
    else:
        scale = min(sent.width / one.width, sent.height / one.height)
    spans = [
        _span(start, end, side, length, scale)
        for start, end, side, length in (
            (one.rect.left, one.rect.right, image.width, sent.width),
            (one.rect.top, one.rect.bottom, image.height, sent.height),
        )
    ]
    (left, width, inner_left, inner_width), (top, height, inner_top, inner_height) = spans
    return Frame(
        Rect(left, top, left + width, top + height),
        Rect(inner_left, inner_top, inner_left + inner_width, inner_top + inner_height),
        sent,
    )


def frame_whole(image: Size, model: Model) -> Frame:
    """The whole image as box."""
    whole = Need(Rect(0, 0, *image), *image)
    return frame_around(whole, image, model)


def sent_size(model: Model, width: int, height: int) -> tuple[float, Size]:
    """The scale and the size at which a box of this size is sent.

    As it is where it fits; enlarged until its shorter side is what the model takes at least; shrunk
    to about 1 megapixel, since that is what comes back whatever is sent and input pixels are paid
    for. Only a box that is too long for that (1.79:1) is sent larger, up to the model's limit; one
    that is too long for the model is padded.
    """
    if width < height:
        scale, size = sent_size(model, height, width)
        return scale, size.transposed
    limit = min(EDIT_PIXELS, model.max_pixels)
    least = -(-model.min_side // STEP) * STEP
    scale = max(1.0, least / height)
    if width * WIDEST[1] > WIDEST[0] * height:
        limit, scale = model.max_pixels, least / height
    fitting = max(
        min(limit // row // STEP * STEP / width, row / height)
        for row in range(least, math.isqrt(limit) + 1, STEP)
    )
    scale = min(scale, fitting)
    sides = (max(least, -(-round(side * scale) // STEP) * STEP) for side in (width, height))
    return scale, Size(*sides)


def _span(start: int, end: int, side: int, length: int, scale: float) -> tuple[int, int, int, int]:
    """One axis of a frame: start and length of the box, start and length of its inner part.

    `start` to `end` must be inside the box, `side` is the image's, `length` the sent image's.
    """
    wanted = max(end - start, round(length / scale))
    if wanted <= side:
        return min(max(0, (start + end - wanted) // 2), side - wanted), wanted, 0, length
    inner = min(length, max(1, round(side * scale)))
    return 0, side, (length - inner) // 2, inner


def areas(levels: Levels, model: Model, context: float) -> list[Rect]:
    """The rectangles that are edited one by one: one around all, unless they are far apart.

    They are far apart if one box around all would lose more than a third of its resolution (FAR),
    and the boxes of the single areas (each with its context) together cover less than half of it.
    Parts whose boxes overlap, or that are less than SMALLEST_BOX apart, count as one area. There
    are at most MAX_AREAS: of more, the nearest are joined.
    """
    image = Size(levels.shape[1], levels.shape[0])
    whole = bounds(levels)
    if whole is None:
        return []

    def box(rect: Rect) -> Rect:
        return frame_around(need(rect, image, context), image, model).box

    joint = frame_around(need(whole, image, context), image, model)
    if joint.scale >= FAR:
        return [whole]
    rects = _parts(levels)
    if len(rects) > MAX_SPECKS:
        return [whole]
    rects = _join_overlapping(rects, box)
    while len(rects) > MAX_AREAS:
        rects = _join_overlapping(_join_nearest(rects), box)
    if sum(box(rect).area for rect in rects) * 2 >= joint.box.area:
        return [whole]
    return sorted(rects, key=lambda rect: (rect.top, rect.left))


def _join_overlapping(rects: list[Rect], box: Callable[[Rect], Rect]) -> list[Rect]:
    """Rectangles whose boxes overlap become one, until none do."""
    done: list[Rect] = []
    todo = list(rects)
    while todo:
        rect = todo.pop()
        around = box(rect)
        near = [other for other in done if around.overlaps(box(other))]
        if not near:
            done.append(rect)
            continue
        done = [other for other in done if other not in near]
        for other in near:
            rect = rect.joined(other)
        todo.append(rect)
    return done


def _join_nearest(rects: list[Rect]) -> list[Rect]:
    """The two whose common rectangle is smallest become one."""
    pairs = [(a, b) for i, a in enumerate(rects) for b in rects[i + 1 :]]
    first, second = min(pairs, key=lambda pair: pair[0].joined(pair[1]).area)
    rest = [rect for rect in rects if rect not in (first, second)]
    return [*rest, first.joined(second)]


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
        coarse = bounds(part)
        if coarse is not None:
            area = Rect(*(edge * cell for edge in coarse)).grown(0, levels.shape)
            exact = bounds(levels[area.slices])
            if exact is not None:
                parts.append(exact.moved(area.left, area.top))
    return parts


def _part(cells: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """The cells that the first one is linked with, by steps of at most `reach` cells."""
    part = np.zeros(cells.shape, np.uint8)
    part.flat[int(cells.argmax())] = 1
    while True:
        wider = np.where(cells, widest(part, reach, reach), np.uint8(0))
        if int(wider.sum()) == int(part.sum()):
            return part > 0
        part = wider
