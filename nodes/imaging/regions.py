"""Which part of an image an edit is sent, and at which size: rectangles and arithmetic.

The box is cut from the image, scaled to the inner part of the sent image, and what is missing
to a size that the model can work with is padding, which is cut off again afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...mai.models import STEP, Model
from ...mai.sizes import Size, shortest_side

SMALLEST_BOX = 192
"""Pixels: a quarter of the least side that can be sent. Enlarging more than fourfold shows the
model nothing but blur; a small mask gets more context instead."""


class Rect(NamedTuple):
    """Pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def area(self) -> int:
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """What cuts the rectangle out of an array [H,W,…]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, pixels: int, shape: tuple[int, ...]) -> Rect:
        """Wider by so many pixels on every side, within an array of this shape [H,W,…]."""
        return Rect(
            max(0, self.left - pixels),
            max(0, self.top - pixels),
            min(shape[1], self.right + pixels),
            min(shape[0], self.bottom + pixels),
        )

    def moved(self, x: int, y: int) -> Rect:
        return Rect(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def joined(self, other: Rect) -> Rect:
        """The smallest rectangle around both."""
        return Rect(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
        )

    def overlaps(self, other: Rect) -> bool:
        """Whether they share a pixel."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def bounds(levels: npt.NDArray[Any]) -> Rect:
    """The smallest rectangle around all that isn't 0 in an array [H,W]; of area 0 if all is 0."""
    rows = np.flatnonzero(levels.any(1))
    if not len(rows):
        return Rect(0, 0, 0, 0)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(levels[top:bottom].any(0))
    return Rect(int(columns[0]), top, int(columns[-1]) + 1, bottom)


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
class Area:
    """What must be sent: a rectangle, and width and height with the context around it."""

    rect: Rect
    width: int
    height: int


def longest_edit(model: Model) -> Size:
    """The most extreme size at which an edit may come back: 1376 x 768 at 1 megapixel."""
    least = shortest_side(model)
    limit = max(least * least, min(model.edit_pixels, model.max_pixels))
    return Size(limit // least // STEP * STEP, least)


def with_context(rect: Rect, image: Size, context: float, model: Model) -> Area:
    """The area with its context: (context - 1) times its longer side is added on every side.

    So 1.0 adds nothing and 1.5 half of the longer side, left, right, above and below; never less
    than SMALLEST_BOX in all, never more than the image. One that is longer than any edit of the
    model gets more context at its long sides.
    """
    margin = 2 * math.ceil(max(0.0, context - 1) * max(rect.width, rect.height))
    width, height = (
        min(side, max(SMALLEST_BOX, length + margin))
        for side, length in zip(image, (rect.width, rect.height), strict=True)
    )
    long, short = longest_edit(model)
    return Area(
        rect,
        max(width, min(image.width, -(-height * short // long))),
        max(height, min(image.height, -(-width * short // long))),
    )


def common_size(areas: list[Area], model: Model) -> Size:
    """One sent size that suits several areas: that of the largest width and height among them."""
    largest = max(one.width for one in areas), max(one.height for one in areas)
    return sent_size(model, *largest)[1]


def frame_around(area: Area, image: Size, model: Model, sent: Size | None = None) -> Frame:
    """The box around an area, centred on it, moved inwards where it would leave the image.

    The box is widened to the aspect of what is sent as far as the image allows. `sent` is given
    where several crops must have one size.
    """
    if sent is None:
        scale, sent = sent_size(model, area.width, area.height)
    else:
        scale = min(sent.width / area.width, sent.height / area.height)
    spans = [
        _span(start, end, side, length, scale)
        for start, end, side, length in (
            (area.rect.left, area.rect.right, image.width, sent.width),
            (area.rect.top, area.rect.bottom, image.height, sent.height),
        )
    ]
    (left, width, inner_left, inner_width), (top, height, inner_top, inner_height) = spans
    return Frame(
        Rect(left, top, left + width, top + height),
        Rect(inner_left, inner_top, inner_left + inner_width, inner_top + inner_height),
        sent,
    )


def frame_whole(image: Size, model: Model) -> Frame:
    """All of the image as box."""
    return frame_around(Area(Rect(0, 0, *image), *image), image, model)


def sent_size(model: Model, width: int, height: int) -> tuple[float, Size]:
    """The scale and the size at which a box of this size is sent.

    As it is where it fits; enlarged until its shorter side is what the model takes at least; shrunk
    to what an edit of the model can have, since input pixels are paid for. Only a box that is too
    long for that (1.79:1 at 1 megapixel) is sent larger, up to the model's limit; one that is too
    long for the model is padded.
    """
    if width < height:
        scale, size = sent_size(model, height, width)
        return scale, size.transposed
    longest = longest_edit(model)
    least, limit = longest.height, longest.pixels
    limit = max(limit, min(model.edit_pixels, model.max_pixels))
    scale = max(1.0, least / height)
    if width * longest.height > longest.width * height:
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
