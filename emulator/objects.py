"""Single objects, painted to be recognized at a glance: what a transparent image shows, what stands
in a still life, and what an edit puts into the middle of an image.

Each is drawn at a `Place`: around a point, `size` pixels high and about as wide.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .canvas import Canvas, Colour, Outline, Point, ellipse, mix, smooth

WHITE, BLACK = (255, 255, 255), (12, 10, 22)

BRIGHT: Sequence[Colour] = (
    (226, 78, 66), (240, 150, 52), (66, 132, 190), (52, 150, 128), (150, 88, 168), (222, 96, 132),
)  # fmt: skip
"""Colours of the objects."""

LEAVES: Sequence[Colour] = ((58, 128, 82), (84, 156, 92), (40, 104, 84), (116, 168, 84))


@dataclass(frozen=True)
class Place:
    """Where an object stands: -0.5 to 0.5 of `size` pixels around a point, right and down."""

    x: float
    y: float
    size: float

    def at(self, points: Outline) -> list[Point]:
        """Points of the object as pixels."""
        return [(self.x + x * self.size, self.y + y * self.size) for x, y in points]

    def oval(self, x: float, y: float, across: float, down: float) -> list[Point]:
        """The outline of an ellipse."""
        return self.at(ellipse(x, y, across, down))

    def turned(self, profile: Outline) -> list[Point]:
        """What comes of a profile of (radius, y), turned around the middle."""
        curve = smooth(profile, closed=False)
        return self.at([*curve, *((-x, y) for x, y in reversed(curve))])


Painter = Callable[[Canvas, Place, Colour, random.Random], None]


def lit(colour: Colour) -> list[Colour]:
    """A round body's colours from left to right: the light comes from the upper left."""
    return [
        mix(colour, BLACK, 0.12), mix(colour, WHITE, 0.12), mix(colour, WHITE, 0.42),
        mix(colour, WHITE, 0.1), colour, mix(colour, BLACK, 0.22), mix(colour, BLACK, 0.42),
    ]  # fmt: skip


def ball(colour: Colour) -> list[Colour]:
    """A ball's colours from its light spot outwards."""
    return [
        mix(colour, WHITE, 0.62), mix(colour, WHITE, 0.22), colour, shaded(colour, 0.8),
        shaded(colour, 0.6),
    ]  # fmt: skip


def shaded(colour: Colour, light: float) -> Colour:
    """A colour in the shade, which stays warm."""
    red, green, blue = colour
    return round(red * light**0.6), round(green * light), round(blue * light)


def mug(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A mug of coffee."""
    outer = smooth([(0.2, -0.2), (0.42, -0.18), (0.46, 0.05), (0.36, 0.24), (0.16, 0.27)])
    inner = smooth([(0.2, -0.1), (0.34, -0.09), (0.37, 0.04), (0.3, 0.15), (0.16, 0.18)])
    ring = [*outer, outer[0], inner[0], *reversed(inner)]
    canvas.fill([place.at(ring)], mix(colour, BLACK, 0.05), mix(colour, BLACK, 0.35))
    body = [(0.32, -0.34), (0.32, -0.1), (0.315, 0.2), (0.29, 0.38), (0.2, 0.42), (0.0, 0.425)]
    canvas.fill([place.turned(body)], *lit(colour), run="across")
    canvas.fill([place.oval(0, -0.34, 0.32, 0.085)], mix(colour, WHITE, 0.5))
    canvas.fill([place.oval(0, -0.335, 0.288, 0.07)], mix(colour, BLACK, 0.45))
    coffee = (92, 54, 34)
    canvas.fill([place.oval(0, -0.318, 0.272, 0.054)], mix(coffee, WHITE, 0.25), coffee)
    band = [(-0.318, 0.06), (-0.2, 0.105), (0, 0.125), (0.2, 0.105), (0.318, 0.06)]
    lower = [(x, y + 0.055) for x, y in reversed(band)]
    stripe = smooth(band, closed=False) + smooth(lower, closed=False)
    canvas.fill([place.at(stripe)], *lit((248, 236, 214)), run="across")


def balloon(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A striped hot-air balloon."""
    profile = smooth(
        [(0.0, -0.5), (0.2, -0.47), (0.34, -0.33), (0.37, -0.17), (0.29, 0.01), (0.16, 0.16),
         (0.075, 0.25)], closed=False,
    )  # fmt: skip
    other = rng.choice([(250, 240, 222), (250, 206, 92), mix(colour, WHITE, 0.6)])
    edges = [math.sin(math.pi * (gore / 10 - 0.5)) for gore in range(11)]
    for gore in range(10):
        base = other if gore % 2 else colour
        light = max(0.0, 1 - abs(gore - 3) / 4) * 0.3
        shade = max(0.0, (gore - 5) / 4) * 0.4
        tone = mix(mix(base, WHITE, light), BLACK, shade)
        left = [(x * edges[gore] - 0.002, y) for x, y in profile]
        right = [(x * edges[gore + 1], y) for x, y in reversed(profile)]
        canvas.fill([place.at([*left, *right])], mix(tone, WHITE, 0.1), tone, mix(tone, BLACK, 0.3))
    canvas.fill([place.oval(0, 0.25, 0.075, 0.02)], mix(colour, BLACK, 0.6))
    ropes = [
        [(high, 0.25), (high + 0.006, 0.25), (low + 0.006, 0.37), (low, 0.37)]
        for high, low in ((-0.07, -0.05), (-0.025, -0.018), (0.02, 0.014), (0.065, 0.045))
    ]
    canvas.fill([place.at(rope) for rope in ropes], (86, 62, 46))
    basket = [(0.07, 0.37), (0.068, 0.42), (0.058, 0.47), (0.0, 0.475)]
    canvas.fill([place.turned(basket)], *lit((168, 112, 62)), run="across")
    canvas.fill([place.oval(0, 0.372, 0.072, 0.014)], (98, 62, 36))


def plant(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A plant in a pot."""
    angles = [math.radians(-90 + 15 * step + rng.uniform(-4, 4)) for step in range(-5, 6)]
    rng.shuffle(angles)
    for angle in angles:
        reach = rng.uniform(0.44, 0.6) * (1 - 0.2 * abs(math.cos(angle)))
        _leaf(canvas, place, (0.0, 0.1), angle, reach, rng.choice(LEAVES))
    pot = [(0.235, 0.1), (0.225, 0.2), (0.19, 0.38), (0.165, 0.46), (0.1, 0.49), (0.0, 0.495)]
    canvas.fill([place.turned(pot)], *lit(colour), run="across")
    rim = [(0.265, 0.05), (0.268, 0.1), (0.26, 0.15), (0.16, 0.172), (0.0, 0.178)]
    canvas.fill([place.turned(rim)], *lit(mix(colour, WHITE, 0.14)), run="across")


def _leaf(
    canvas: Canvas, place: Place, root: Point, angle: float, reach: float, colour: Colour
) -> None:
    """A pointed leaf with a lit and a darker half."""
    along, aside = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    steps = [(0.0, 0.012), (0.25, 0.045), (0.5, 0.088), (0.72, 0.078), (0.9, 0.03), (1.0, 0.0)]

    def half(side: float) -> list[Point]:
        points = [
            (
                root[0] + along[0] * far * reach + aside[0] * wide * side,
                root[1] + along[1] * far * reach + aside[1] * wide * side,
            )
            for far, wide in steps
        ]
        return place.at(smooth(points, closed=False))

    middle = place.at([root, (root[0] + along[0] * reach, root[1] + along[1] * reach)])
    first, second = half(1), half(-1)
    canvas.fill([[*first, *reversed(second)]], mix(colour, WHITE, 0.25), colour)
    canvas.fill([[*first, middle[0]]], mix(colour, BLACK, 0.08), mix(colour, BLACK, 0.3))


def pear(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A pear."""
    tone = mix((216, 208, 72), colour, 0.15)
    profile = [(0.0, -0.3), (0.075, -0.28), (0.13, -0.18), (0.19, -0.02), (0.3, 0.16),
               (0.305, 0.33), (0.2, 0.455), (0.06, 0.475), (0.0, 0.465)]  # fmt: skip
    canvas.fill([place.turned(profile)], *ball(tone), run="out")
    canvas.fill([place.oval(-0.11, 0.17, 0.06, 0.1)], WHITE, opacity=0.35, soft=place.size * 0.03)
    stem = [
        (-0.012, -0.28),
        (0.0, -0.38),
        (0.035, -0.46),
        (0.062, -0.45),
        (0.03, -0.37),
        (0.016, -0.28),
    ]
    canvas.fill([place.at(smooth(stem))], (122, 84, 52), (70, 46, 32))
    _leaf(canvas, place, (0.015, -0.35), math.radians(-22), 0.3, LEAVES[1])


def apple(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """An apple."""
    tone = mix((206, 44, 48), colour, 0.2)
    profile = [(0.0, -0.21), (0.12, -0.27), (0.27, -0.22), (0.355, -0.04), (0.33, 0.17),
               (0.22, 0.37), (0.1, 0.41), (0.0, 0.385)]  # fmt: skip
    canvas.fill([place.turned(profile)], *ball(tone), run="out")
    canvas.fill([place.oval(0, -0.215, 0.1, 0.028)], mix(tone, BLACK, 0.5), soft=place.size * 0.012)
    shine = place.oval(-0.15, -0.07, 0.055, 0.1)
    canvas.fill([shine], WHITE, opacity=0.5, soft=place.size * 0.022)
    stem = [
        (-0.012, -0.2),
        (-0.008, -0.3),
        (0.03, -0.4),
        (0.058, -0.385),
        (0.026, -0.3),
        (0.016, -0.2),
    ]
    canvas.fill([place.at(smooth(stem))], (120, 80, 50), (66, 44, 32))
    _leaf(canvas, place, (0.012, -0.29), math.radians(-26), 0.3, LEAVES[0])


def vase(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """Tulips in a vase."""
    heads = [(-0.24, -0.3), (0.25, -0.27), (-0.11, -0.39), (0.13, -0.4), (0.01, -0.31)]
    stems = []
    for x, y in heads:
        stems.append(
            place.at([(x - 0.008, y), (x + 0.008, y), (x * 0.2 + 0.01, 0.1), (x * 0.2 - 0.01, 0.1)])
        )
    canvas.fill(stems, LEAVES[1], LEAVES[2])
    for angle in (-128, -52, -104):
        _leaf(canvas, place, (0.0, 0.06), math.radians(angle), 0.36, rng.choice(LEAVES))
    tone = rng.choice(BRIGHT)
    for x, y in heads:
        tulip = mix(tone, WHITE, rng.uniform(0.0, 0.3))
        for petal, dark in ((-0.05, 0.12), (0.05, 0.22), (0.0, 0.0)):
            tip, side, foot = x + petal, x + petal * 1.2, x + petal * 0.4
            cup = [(tip, y - 0.085), (side + 0.052, y), (foot, y + 0.08), (side - 0.052, y)]
            shade = mix(tulip, BLACK, dark)
            canvas.fill([place.at(smooth(cup))], mix(shade, WHITE, 0.25), shade)
    profile = [(0.085, -0.03), (0.075, 0.06), (0.11, 0.14), (0.2, 0.25), (0.205, 0.37),
               (0.13, 0.47), (0.08, 0.49), (0.0, 0.495)]  # fmt: skip
    canvas.fill([place.turned(profile)], *lit(colour), run="across")
    canvas.fill([place.oval(0, -0.03, 0.086, 0.02)], mix(colour, BLACK, 0.5))
    canvas.fill(
        [place.oval(-0.1, 0.27, 0.022, 0.075)], WHITE, opacity=0.45, soft=place.size * 0.012
    )


def duck(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A rubber duck."""
    yellow, beak = (250, 202, 52), (236, 120, 44)
    body = [(-0.44, 0.02), (-0.3, 0.1), (-0.1, 0.04), (0.16, 0.0), (0.33, 0.12), (0.31, 0.33),
            (0.1, 0.44), (-0.2, 0.43), (-0.38, 0.29)]  # fmt: skip
    canvas.fill([place.at(smooth(body))], *ball(yellow), run="out")
    lower = [(0.31, -0.2), (0.44, -0.185), (0.45, -0.15), (0.34, -0.11)]
    canvas.fill([place.at(smooth(lower))], mix(beak, BLACK, 0.2))
    canvas.fill([place.oval(0.14, -0.19, 0.225, 0.215)], *ball(yellow), run="out")
    upper = [(0.31, -0.23), (0.42, -0.235), (0.48, -0.21), (0.42, -0.17), (0.32, -0.15)]
    canvas.fill([place.at(smooth(upper))], mix(beak, WHITE, 0.25), beak)
    canvas.fill([place.oval(0.225, -0.255, 0.036, 0.044)], WHITE)
    canvas.fill([place.oval(0.235, -0.25, 0.023, 0.03)], BLACK)
    canvas.fill([place.oval(0.243, -0.262, 0.008, 0.01)], WHITE)
    wing = [(-0.24, 0.12), (-0.02, 0.1), (0.1, 0.2), (-0.02, 0.31), (-0.2, 0.29), (-0.33, 0.17)]
    canvas.fill(
        [place.at(smooth(wing))], mix(yellow, WHITE, 0.25), mix(yellow, (214, 130, 24), 0.55)
    )


def bottle(canvas: Canvas, place: Place, colour: Colour, rng: random.Random) -> None:
    """A bottle with a label."""
    glass = mix(colour, (24, 46, 60), 0.3)
    profile = [(0.07, -0.34), (0.07, -0.24), (0.1, -0.16), (0.2, -0.08), (0.225, 0.04),
               (0.225, 0.3), (0.22, 0.43), (0.18, 0.48), (0.0, 0.485)]  # fmt: skip
    canvas.fill([place.turned(profile)], *lit(glass), run="across")
    cap = [(0.08, -0.49), (0.085, -0.45), (0.085, -0.34), (0.07, -0.32), (0.0, -0.315)]
    canvas.fill([place.turned(cap)], *lit((206, 168, 104)), run="across")
    label = [(0.226, 0.06), (0.226, 0.15), (0.226, 0.24), (0.226, 0.33)]
    canvas.fill([place.turned(label)], *lit((240, 230, 212)), run="across")
    canvas.fill(
        [place.oval(-0.02, 0.165, 0.06, 0.06)], mix(colour, WHITE, 0.1), mix(colour, BLACK, 0.3)
    )
    lines = [[(-0.12, y), (0.08, y), (0.08, y + 0.012), (-0.12, y + 0.012)] for y in (0.255, 0.285)]
    canvas.fill([place.at(line) for line in lines], mix(colour, BLACK, 0.4))
    canvas.fill(
        [place.oval(-0.135, -0.02, 0.014, 0.05)], WHITE, opacity=0.6, soft=place.size * 0.008
    )


OBJECTS: Sequence[Painter] = (mug, balloon, plant, pear, apple, vase, duck, bottle)

FLOATING: Sequence[Painter] = (balloon,)
"""Those that stand on nothing, and so have no shadow below them."""


def paint_object(canvas: Canvas, place: Place, choice: int, rng: random.Random) -> None:
    """One of the objects with its shadow on the ground."""
    painter = OBJECTS[choice % len(OBJECTS)]
    if painter not in FLOATING:
        foot = [place.oval(0.04, 0.45, 0.3, 0.05)]
        canvas.shadow(foot, place.size * 0.025, 0.45)
    painter(canvas, place, rng.choice(BRIGHT), rng)
