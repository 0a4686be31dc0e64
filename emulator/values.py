"""The values that stand in a directive: numbers, choices, sizes. Each parser raises DirectiveError,
or ValueError where the text has another form altogether."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

MAX_SECONDS = 3600.0
MAX_SIDE = 8192
"""An image of 8192 x 8192 is over the 64 megapixels that a client should decode."""


class DirectiveError(ValueError):
    """A directive that can't be understood; the text says which word and what is allowed."""


@dataclass(frozen=True)
class Cut:
    """Where the answer's body ends: after `count` bytes, or after `percent` of them."""

    count: int | None = None
    percent: float | None = None

    def at(self, total: int) -> int:
        """How many of `total` bytes are sent."""
        if self.count is not None:
            return min(self.count, total)
        return int(total * (self.percent or 0.0) / 100)


def number(text: str, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    value = float(text)
    if not math.isfinite(value) or not low <= value <= high:
        raise DirectiveError(f"{text} is not between {low:g} and {high:g}.")
    return value


def seconds(text: str) -> float:
    """A time, up to an hour."""
    try:
        return number(text, 0.0, MAX_SECONDS)
    except DirectiveError:
        raise
    except ValueError as error:
        raise DirectiveError(f"{text!r} is no number of seconds.") from error


def whole(low: int, high: int) -> Callable[[str], int]:
    """A parser of integers from `low` to `high`."""

    def parse(text: str) -> int:
        return int(number(str(int(text)), low, high))

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """A parser of one of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise DirectiveError(f"{text!r} is none of: {', '.join(allowed)}.")
        return text

    return parse


def size(text: str) -> tuple[int, int]:
    """WxH in pixels."""
    width, _, height = text.partition("x")
    side = whole(1, MAX_SIDE)
    return side(width), side(height)


def cut(text: str) -> Cut:
    """A number of bytes, or P%."""
    if text.endswith("%"):
        return Cut(percent=number(text[:-1], 0.0, 100.0))
    return Cut(count=whole(0, 2**31)(text))


def floats(count: int, low: float, high: float) -> Callable[[str], tuple[float, ...]]:
    """A parser of `count` numbers with commas between them."""

    def parse(text: str) -> tuple[float, ...]:
        values = tuple(number(part, low, high) for part in text.split(","))
        if len(values) != count:
            raise DirectiveError(f"{text!r} must be {count} numbers with commas between them.")
        return values

    return parse


def aspect(text: str) -> float:
    """W:H as width / height."""
    width, _, height = text.partition(":")
    return number(width, 1, 10_000) / number(height, 1, 10_000)
