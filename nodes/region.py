"""Which part of a picture an edit is sent, and at which size: pure arithmetic.

The box is cut from the picture, scaled to the inner part of the sent picture, and what is missing
to a size that the model can work with is padding, which is cut off again afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..mai.models import EDIT_PIXELS, STEP, Model
from ..mai.sizes import Size
from .alpha import Levels, widest
from .rectangle import Rect, bounds

SMALLEST_BOX = 192
"""Pixels: a quarter of the least side that can be sent. Enlarging more than fourfold shows the
model nothing but blur; a small mask gets more context instead."""

MAX_AREAS = 4
"""Each area that is edited alone is a paid request."""

GRID = 128
"""Separate areas are looked for on a grid of at most so many cells a side."""


@dataclass(frozen=True)
class Frame:
    """`box` of the picture stands at `inner` of a sent picture of the size `sent`.

    Box and inner differ by the scale; what lies between inner and sent is padding.
    """

    box: Rect
    inner: Rect
    sent: Size

    @property
    def scale(self) -> float:
        """Pixels sent for each pixel of the picture; more than 1 where the box is enlarged."""
        return math.sqrt(self.inner.area / self.box.area)


@dataclass(frozen=True)
class Need:
    """An area that must be sent: its rectangle, and width and height with the context around it."""

    rect: Rect
    width: int
    height: int


def need(rect: Rect, picture: Size, context: float) -> Need:
    """The area with its context: (context - 1) times its longer side is added on every side.

    So 1.0 adds nothing and 1.5 half of the longer side, left, right, above and below; never less
    than SMALLEST_BOX in all, never more than the picture.
    """
    margin = 2 * math.ceil(max(0.0, context - 1) * max(rect.width, rect.height))
    width, height = (
        min(side, max(SMALLEST_BOX, length + margin))
        for side, length in zip(picture, (rect.width, rect.height), strict=True)
    )
    widest_one = _longest(min(EDIT_PIXELS, 1 << 40)) / _shortest()
    return Need(
        rect,
        max(width, min(picture.width, math.ceil(height / widest_one))),
        max(height, min(picture.height, math.ceil(width / widest_one))),
    )


def common_size(needs: list[Need], model: Model) -> Size:
    """One sent size that suits several areas: that of the largest width and height among them."""
    largest = max(one.width for one in needs), max(one.height for one in needs)
    return sent_size(model, *largest)[1]


def frame_around(one: Need, picture: Size, model: Model, sent: Size | None = None) -> Frame:
    """The box around an area, centred on it, moved inwards where it would leave the picture.

    The box is widened to the aspect of what is sent as far as the picture allows. `sent` is given
    where several crops must have one size.
    """
    if sent is None:
        scale, sent = sent_size(model, one.width, one.height)
    else:
        scale = min(sent.width / one.width, sent.height / one.height)
    spans = [
        _span(start, end, side, length, scale)
        for start, end, side, length in (
            (one.rect.left, one.rect.right, picture.width, sent.width),
            (one.rect.top, one.rect.bottom, picture.height, sent.height),
        )
    ]
    (left, width, inner_left, inner_width), (top, height, inner_top, inner_height) = spans
    return Frame(
        Rect(left, top, left + width, top + height),
        Rect(inner_left, inner_top, inner_left + inner_width, inner_top + inner_height),
        sent,
    )


def frame_whole(picture: Size, model: Model) -> Frame:
    """The whole picture as box."""
    whole = Need(Rect(0, 0, *picture), *picture)
    return frame_around(whole, picture, model)


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
    scale = max(1.0, _shortest() / height)
    if width * _shortest() > _longest(limit) * height:
        limit, scale = model.max_pixels, _shortest() / height
    fitting = max(
        min(limit // row // STEP * STEP / width, row / height)
        for row in range(_shortest(), math.isqrt(limit) + 1, STEP)
    )
    scale = min(scale, fitting)
    return scale, Size(_legal(width * scale), _legal(height * scale))


def areas(levels: Levels, model: Model, context: float) -> list[Rect]:
    """The rectangles that are edited one by one: one around all, unless they are far apart.

    They are far apart if one box around all could only be sent shrunk, and the boxes of the single
    areas (each with its context; those that overlap count as one) together cover less than half of
    it. At most MAX_AREAS: of more, the nearest are joined.
    """
    picture = Size(levels.shape[1], levels.shape[0])
    whole = bounds(levels)
    if whole is None:
        return []

    def box(rect: Rect) -> Rect:
        return frame_around(need(rect, picture, context), picture, model).box

    joint = frame_around(need(whole, picture, context), picture, model)
    if joint.scale >= 1:
        return [whole]
    rects = _join_overlapping(_components(levels), box)
    while len(rects) > MAX_AREAS:
        rects = _join_overlapping(_join_nearest(rects), box)
    if sum(box(rect).area for rect in rects) * 2 >= joint.box.area:
        return [whole]
    return rects


def _join_overlapping(rects: list[Rect], box: Callable[[Rect], Rect]) -> list[Rect]:
    """Rectangles whose boxes overlap become one, until none do."""
    done: list[Rect] = []
    todo = list(rects)
    while todo:
        rect = todo.pop()
        around = box(rect)
        near = [other for other in done if around.overlaps(box(other))]
        if near:
            done = [other for other in done if other not in near]
            for other in near:
                rect = rect.joined(other)
            todo.append(rect)
        else:
            done.append(rect)
    return sorted(done, key=lambda rect: (rect.top, rect.left))


def _join_nearest(rects: list[Rect]) -> list[Rect]:
    """The two whose common rectangle is smallest become one."""
    pairs = [(a, b) for i, a in enumerate(rects) for b in rects[i + 1 :]]
    first, second = min(pairs, key=lambda pair: pair[0].joined(pair[1]).area)
    rest = [rect for rect in rects if rect not in (first, second)]
    return [*rest, first.joined(second)]


def _components(levels: Levels) -> list[Rect]:
    """The bounds of the connected parts of a mask, as far as a coarse grid tells them apart."""
    height, width = levels.shape
    cell = -(-max(height, width) // GRID)
    rows = np.maximum.reduceat(levels, np.arange(0, height, cell), axis=0)
    cells = np.maximum.reduceat(rows, np.arange(0, width, cell), axis=1) > 0
    found = []
    for part in _parts(cells):
        area = Rect(*(edge * cell for edge in part)).grown(0, levels.shape)
        exact = bounds(levels[area.slices])
        if exact is not None:
            found.append(exact.moved(area.left, area.top))
    return found


def _parts(cells: npt.NDArray[np.bool_]) -> list[Rect]:
    """The bounds of the parts of a small grid that touch by side or corner."""
    left = cells.copy()
    parts = []
    while left.any():
        part = np.zeros(cells.shape, np.uint8)
        part[np.unravel_index(int(left.argmax()), cells.shape)] = 1
        count = 0
        while count != (count := int(part.sum())):
            part = np.where(cells, widest(part, 1, 1), np.uint8(0))
        left &= part == 0
        found = bounds(part)
        if found is not None:
            parts.append(found)
    return parts
