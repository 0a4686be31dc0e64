"""The arithmetic of sizes: what a model can make, and the best size for a ratio or a target.

Pure functions on whole numbers and fractions, so that no rounding ever decides between two sizes.
Landscape is computed and portrait is its transpose: 9:16 always gives 16:9 turned by 90 degrees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from ..errors import SizeError
from ..models import PIXELS_PER_TOKEN, STEP, Model

PRESETS: tuple[str, ...] = (
    "1:1",
    "5:4",
    "4:5",
    "4:3",
    "3:4",
    "3:2",
    "2:3",
    "16:9",
    "9:16",
    "21:9",
    "9:21",
)
"""The aspect ratios that the nodes offer by name, in the order in which they stand in workflows."""

NEARNESS = 50
"""How much more a near ratio counts than pixels: 1.4 % of ratio is worth half the pixels.

Chosen so that the presets come out exact where the model has an exact size of 90 % of its pixels
(5:4, 4:3 and 21:9 on 2.6). Four times as much would make 16:9 on 2.7 at 88 % of its pixels to mend
0.07 %, and would halve the pixels of some odd ratios to mend as little."""

LARGEST_DENOMINATOR = 1_000_000
"""A ratio given as float is read as the nearest fraction up to this: 1.7777777777777777 is 16:9."""

_RATIO = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(?:[:/x]\s*(\d{1,9}(?:\.\d{1,9})?)\s*)?")


class Size(NamedTuple):
    """Width and height of an image in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.pixels / 1_000_000

    @property
    def tokens(self) -> int:
        """Output tokens that an image of this size is billed as, rounded up."""
        return -(-self.pixels // PIXELS_PER_TOKEN)

    @property
    def ratio(self) -> Fraction:
        """Width over height."""
        return Fraction(self.width, self.height)

    @property
    def transposed(self) -> Size:
        """Height and width exchanged."""
        return Size(self.height, self.width)


def validate_size(model: Model, width: int, height: int) -> None:
    """Raise SizeError, naming the nearest size that can be made, if the service would refuse this.

    It does so where a side is too short or the image too large. A side that isn't a multiple of 16
    is cut down to one: see `snap`.
    """
    wrong = size_problems(model, width, height)
    if not wrong:
        return
    nearest = nearest_legal(model, width, height)
    raise SizeError(
        f"{model.name} can't make {width} x {height}: {'; '.join(wrong)}.",
        f"The nearest size that it can make is {nearest}: "
        f"set width to {nearest.width} and height to {nearest.height}.",
    )


def size_problems(model: Model, width: int, height: int) -> list[str]:
    """Why the service would refuse this size, as clauses of a sentence; empty if it wouldn't.

    Sides that aren't multiples of 16 are no problem: see `snap`. Raises SizeError for a side that
    isn't a whole number.
    """
    wrong, shortest = [], shortest_side(model)
    for name, side in (("width", width), ("height", height)):
        if isinstance(side, bool) or not isinstance(side, int):
            raise SizeError(
                f"The {name} must be a whole number of pixels, not {side!r}.",
                f"Give a multiple of {STEP} from {shortest} up.",
            )
        if side < shortest:
            wrong.append(f"the {name} is {side}, less than {shortest}")
    if min(width, height) > 0 and width * height > model.max_pixels:
        wrong.append(f"{width * height:,} pixels are more than its {model.max_pixels:,}")
    return wrong


def snap(width: int, height: int) -> Size:
    """The size that comes back for this one: each side rounded down to a multiple of 16.

    The service does so itself, without a word (measured and documented: 768 x 1365 gives
    768 x 1360), after it has looked at its limits.
    """
    return Size(width // STEP * STEP, height // STEP * STEP)


def nearest_legal(model: Model, width: int, height: int) -> Size:
    """The size that the model can make and that changes this one least.

    A side that is too short is first made as long as the shortest that can be, so 160 x 1024
    becomes 768 x 1024. Then the change is the larger of the two factors by which the sides change
    (a factor of 1/2 counts as 2). Of sizes that change equally, the one with the nearer ratio; then
    the one with more pixels; then the wider one (of a portrait, the taller one). So an image that
    is too large keeps its ratio, and a legal size stays what it is. A side that isn't positive
    counts as being as long as the other one; where neither is, the answer is the largest square.
    """
    if width <= 0 and height <= 0:
        return best(model, Fraction(1))
    width, height = (width if width > 0 else height), (height if height > 0 else width)
    if width < height:
        return nearest_legal(model, height, width).transposed
    shortest = shortest_side(model)
    asked = Size(max(width, shortest), max(height, shortest))

    def order(size: Size) -> tuple[Fraction, Fraction, int, int]:
        change = max(_apart(size.width, asked.width), _apart(size.height, asked.height))
        return change, off_by(size, asked.ratio), -size.pixels, -size.width

    # Of a row, only the sizes next to the asked width and next to the asked ratio can be nearest.
    return min(
        (
            size
            for short, longest in _rows(model)
            for ideal in (Fraction(asked.width), asked.ratio * short)
            for size in _neighbours(short, longest, ideal)
        ),
        key=order,
    )


def best(model: Model, ratio: Fraction | float) -> Size:
    """The best size for a ratio width / height, of all pairs of multiples of 16 that can be made.

    It is the size with the least q ** 50 / pixels, where q (1 or more) is the factor by which its
    ratio differs from the asked one (see `off_by`): the nearest ratio wins, unless another one is
    so little farther that its pixels outweigh it. A ratio that is 0.3 % better may thus cost 14 %
    of the pixels, never half of them, and no size is both nearer and larger than the chosen one.
    Of equal ones it is the nearer, then the wider one (for a portrait ratio, the taller one). A
    ratio that the model can't do gives the nearest that it can. Raises SizeError for a ratio that
    isn't a positive number.
    """
    asked = _exact(ratio)
    if asked < 1:
        return _best_landscape(model, 1 / asked).transposed
    return _best_landscape(model, asked)


def off_by(size: Size, ratio: Fraction) -> Fraction:
    """The factor, 1 or more, by which the ratio of a size differs from another ratio."""
    return _apart(size.width * ratio.denominator, size.height * ratio.numerator)


def ratio_of(text: str) -> Fraction:
    """Width over height from "16:9", "16/9", "16x9", "2.39:1" or "1.85".

    Raises SizeError for anything else, and for zero.
    """
    match = _RATIO.fullmatch(text)
    sides = [Fraction(side) for side in match.groups(default="1")] if match else [Fraction(0)]
    if not all(sides):
        raise SizeError(
            f"{text!r} is not an aspect ratio.",
            'Write width:height, such as "16:9" or "2.39:1".',
        )
    return sides[0] / sides[1]


def scale_to_cover(size: Size, target: Size) -> float:
    """The smallest float by which `size` must be multiplied to cover `target` on both axes.

    It covers also where width * scale and height * scale are computed in floats and then cut down
    to whole pixels, as `int()` does. Raises SizeError unless all sides are positive.
    """
    if min(*size, *target) <= 0:
        raise SizeError(
            f"{size} can't be scaled to cover {target}.", "Give sides of 1 pixel or more."
        )

    def covers(scale: float) -> bool:
        return all(int(side * scale) >= end for side, end in zip(size, target, strict=True))

    scale = max(end / side for side, end in zip(size, target, strict=True))
    while not covers(scale):
        scale = math.nextafter(scale, math.inf)
    while covers(smaller := math.nextafter(scale, 0.0)):
        scale = smaller
    return scale


@lru_cache(maxsize=1024)
def _best_landscape(model: Model, asked: Fraction) -> Size:
    def order(size: Size) -> tuple[Fraction, Fraction, int]:
        off = off_by(size, asked)
        return off**NEARNESS / size.pixels, off, -size.width

    # In a row the widths next to the asked ratio are the best: others lose more than they win.
    return min(
        (
            size
            for short, longest in _rows(model)
            for size in _neighbours(short, longest, asked * short)
        ),
        key=order,
    )


def _rows(model: Model) -> Iterator[tuple[int, int]]:
    """Every height of a landscape or square size, with the greatest width that goes with it."""
    for short in range(shortest_side(model), math.isqrt(model.max_pixels) + 1, STEP):
        yield short, model.max_pixels // short // STEP * STEP


def _neighbours(short: int, longest: int, ideal: Fraction) -> tuple[Size, Size]:
    """The sizes of a row next to an ideal width: at most as wide (if there is one), and wider."""
    below = math.floor(ideal / STEP) * STEP
    widths = (min(max(width, short), longest) for width in (below, below + STEP))
    lower, upper = widths
    return Size(lower, short), Size(upper, short)


def shortest_side(model: Model) -> int:
    """The shortest side that the model makes, a multiple of 16."""
    return -(-model.min_side // STEP) * STEP


def _apart(one: int, other: int) -> Fraction:
    return Fraction(max(one, other), min(one, other))


def _exact(ratio: Fraction | float) -> Fraction:
    if not (math.isfinite(ratio) and ratio > 0):
        raise SizeError(
            f"An aspect ratio must be a positive number, not {ratio!r}.",
            "Divide the width by the height.",
        )
    exact = Fraction(ratio)
    if not isinstance(ratio, float):
        return exact
    if exact < 1:
        return 1 / (1 / exact).limit_denominator(LARGEST_DENOMINATOR)
    return exact.limit_denominator(LARGEST_DENOMINATOR)
