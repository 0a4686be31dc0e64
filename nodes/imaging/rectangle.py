"""Rectangles of whole pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Rect(NamedTuple):
    """Pixels left <= x < right, top <= y < bottom."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top

    @property
    def area(self) -> int:
        """Width times height."""
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
        """So many pixels further right and down."""
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


def bounds(levels: npt.NDArray[Any]) -> Rect | None:
    """The smallest rectangle around all that isn't 0 in an array [H,W]; None if all is 0."""
    rows = np.flatnonzero(levels.any(1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(levels[top:bottom].any(0))
    return Rect(int(columns[0]), top, int(columns[-1]) + 1, bottom)
