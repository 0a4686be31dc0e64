"""Scenes: what an image made from a prompt alone shows.

A scene is painted from the back to the front, in a palette that suits an hour of the day.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageFilter

from .canvas import Canvas, Colour, Outline, Point, between, ellipse, mix, rectangle, smooth
from .objects import BRIGHT, OBJECTS, Place, balloon, paint_object

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Palette:
    """Colours of an hour: the sky from its top down, the sun or moon, the farthest and the nearest
    hills, and a meadow."""

    sky: tuple[Colour, ...]
    sun: Colour
    far: Colour
    near: Colour
    meadow: Colour
    night: bool = False

    @property
    def haze(self) -> Colour:
        """The sky's colour at the horizon."""
        return self.sky[-1]


PALETTES: Sequence[Palette] = (
    Palette(
        ((78, 96, 158), (214, 150, 172), (252, 220, 184)),
        (255, 242, 212),
        (172, 146, 176),
        (48, 42, 84),
        (120, 148, 98),
    ),
    Palette(
        ((232, 140, 82), (248, 190, 108), (254, 234, 190)),
        (255, 248, 220),
        (222, 156, 104),
        (82, 42, 44),
        (168, 124, 58),
    ),
    Palette(
        ((52, 132, 200), (126, 190, 228), (226, 242, 246)),
        (255, 252, 234),
        (146, 184, 204),
        (30, 82, 78),
        (112, 170, 84),
    ),
    Palette(
        ((34, 36, 92), (126, 78, 148), (246, 160, 122)),
        (255, 220, 164),
        (128, 92, 150),
        (26, 20, 52),
        (64, 92, 86),
    ),
    Palette(
        ((8, 14, 42), (20, 50, 98), (70, 118, 154)),
        (246, 244, 224),
        (46, 86, 126),
        (6, 16, 34),
        (26, 62, 70),
        True,
    ),
    Palette(
        ((106, 160, 158), (182, 212, 194), (246, 242, 218)),
        (255, 250, 228),
        (160, 192, 176),
        (30, 66, 66),
        (134, 168, 106),
    ),
    Palette(
        ((96, 138, 180), (206, 202, 186), (250, 226, 182)),
        (255, 244, 214),
        (198, 160, 128),
        (100, 44, 30),
        (196, 138, 62),
    ),
    Palette(
        ((126, 104, 178), (232, 154, 186), (254, 226, 222)),
        (255, 244, 236),
        (196, 146, 182),
        (62, 38, 80),
        (140, 162, 116),
    ),
)
"""Dawn, gold, noon, dusk, night, mist, autumn, rose."""

Scene = Callable[[Canvas, Palette, random.Random], None]


def scene(subject: bytes, variation: bytes, size: tuple[int, int]) -> Image.Image:
    """A scene of this size, RGB: `subject` chooses what and in which colours, `variation` how."""
    image = Image.new("RGB", size)
    rng = random.Random(variation)
    paint = SCENES[subject[0] % len(SCENES)]
    palette = PALETTES[subject[1] % len(PALETTES)]
    paint(Canvas(image), palette, rng)
    return image


# The scenes


def mountains(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """Ranges in the haze, and pines before them."""
    height = canvas.height
    _sky(canvas, palette, rng, 0.75)
    for depth in range(4):
        base = height * (0.5 + 0.11 * depth + rng.uniform(-0.02, 0.02))
        line = _ridge(rng, canvas, base, height * (0.2 - 0.025 * depth), 0.56)
        tone = mix(palette.far, palette.near, depth / 4.5)
        canvas.fill_below(line, tone, mix(tone, palette.haze, 0.55 - 0.1 * depth))
    line = _hill(rng, canvas, height * 0.9, height * 0.04)
    _pines(canvas, rng, line, height * 0.16, palette.near)
    canvas.fill_below(line, palette.near, mix(palette.near, (0, 0, 0), 0.35))


def lake(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """Mountains that a lake reflects."""
    height = canvas.height
    shore = height * rng.uniform(0.58, 0.64)
    _sky(canvas, palette, rng, shore / height)
    for depth in range(3):
        base = shore - height * (0.13 - 0.055 * depth)
        line = _ridge(rng, canvas, base, height * (0.24 - 0.06 * depth), 0.55)
        tone = mix(palette.far, palette.near, depth / 3.2)
        canvas.fill_below(line, tone, mix(tone, palette.haze, 0.5 - 0.12 * depth))
    bank = _hill(rng, canvas, shore - height * 0.012, height * 0.008)
    _pines(canvas, rng, bank, height * 0.055, mix(palette.near, palette.far, 0.15))
    canvas.fill_below(bank, mix(palette.near, palette.far, 0.1))
    _reflect(canvas, round(shore), mix(palette.sky[0], palette.near, 0.35))
    _ripples(canvas, rng, shore, mix(palette.haze, WHITE, 0.3))
    front = _slope(rng, canvas, height * 0.93, height * 0.05)
    _pines(canvas, rng, front, height * 0.3, palette.near, few=True)
    canvas.fill_below(front, palette.near, mix(palette.near, (0, 0, 0), 0.4))


def sea(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """The sea with the sun's path, islands, a sailing boat and a beach."""
    width, height, unit = canvas.width, canvas.height, canvas.unit
    horizon = height * rng.uniform(0.5, 0.58)
    sun = _sky(canvas, palette, rng, horizon / height)
    for depth in range(2):
        line = _island(rng, canvas, horizon, height * (0.13 - 0.04 * depth))
        tone = mix(palette.far, palette.near, 0.15 + 0.35 * depth)
        canvas.fill([line], tone, mix(tone, palette.haze, 0.4))
    deep = mix(palette.sky[0], palette.near, 0.45)
    canvas.cover(
        horizon, height, mix(palette.haze, deep, 0.35), mix(palette.sky[0], deep, 0.5), deep
    )
    _sun_path(canvas, rng, sun[0], horizon, mix(palette.sun, WHITE, 0.2))
    _ripples(canvas, rng, horizon, mix(palette.haze, WHITE, 0.2))
    side = 1 if sun[0] < width / 2 else -1
    x = width / 2 + side * width * rng.uniform(0.1, 0.24)
    _boat(canvas, x, horizon + height * 0.12, unit * rng.uniform(0.24, 0.32), rng, palette)
    sand = mix((232, 200, 150), palette.near, 0.45 if palette.night else 0.12)
    for drop, colour in (
        (0.0, mix(WHITE, palette.sky[1], 0.25)),
        (0.018, mix(sand, deep, 0.35)),
        (0.034, sand),
    ):
        beach = [
            (width * x / 24, height * (0.9 + drop + 0.035 * math.sin(x / 24 * 4.2 + 0.8)))
            for x in range(25)
        ]
        canvas.fill_below(beach, colour, mix(colour, palette.near, 0.15))


def city(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """A skyline with lit windows, doubled in a river."""
    height = canvas.height
    shore = height * rng.uniform(0.74, 0.8)
    _sky(canvas, palette, rng, shore / height)
    dark = palette.night or sum(palette.sky[0]) < 300
    for depth in range(3):
        tone = mix(palette.far, palette.near, 0.1 + depth * 0.38)
        _houses(canvas, rng, shore, depth, tone, palette, dark)
    canvas.cover(shore - height * 0.012, shore, mix(palette.near, (0, 0, 0), 0.2))
    _reflect(canvas, round(shore), mix(palette.sky[0], palette.near, 0.4))
    _ripples(canvas, rng, shore, mix(palette.haze, WHITE, 0.2))


def dunes(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """Dunes with a lit and a shaded side each."""
    width, height = canvas.width, canvas.height
    _sky(canvas, palette, rng, 0.62)
    line = _ridge(rng, canvas, height * 0.56, height * 0.1, 0.5)
    canvas.fill_below(line, mix(palette.far, palette.haze, 0.3), palette.haze)
    sand = mix((236, 168, 98), palette.far, 0.5 if palette.night else 0.22)
    for depth in range(4):
        base, rise = height * (0.62 + 0.1 * depth), height * (0.07 + 0.025 * depth)
        peak = width * rng.uniform(0.12, 0.88)
        tone = mix(mix(sand, palette.haze, 0.5), mix(sand, palette.near, 0.18), depth / 3)
        spread = width * rng.uniform(0.22, 0.34)
        across = [width * step / 96 for step in range(97)]
        crest = [(x, base - rise * math.exp(-(abs((x - peak) / spread) ** 1.4))) for x in across]
        canvas.fill_below(crest, mix(tone, WHITE, 0.18), tone, mix(tone, palette.near, 0.25))
        lee = [point for point in crest if point[0] >= peak]
        foot = smooth(
            [(peak, base - rise), (peak + spread * 0.05, base - rise * 0.45),
             (peak - spread * 0.12, base + rise * 0.5), (peak + spread * 0.1, base + rise * 1.6),
             (width + spread, base + rise * 1.9)], closed=False,
        )  # fmt: skip
        shade = mix(tone, palette.near, 0.4)
        canvas.fill([[*foot, *reversed(lee)]], shade, mix(shade, tone, 0.7), opacity=0.85)


def meadow(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """Hills with trees and a house, and balloons above."""
    width, height, unit = canvas.width, canvas.height, canvas.unit
    _sky(canvas, palette, rng, 0.66)
    for size, x, y in ((0.3, 0.24, 0.26), (0.15, 0.62, 0.2), (0.1, 0.82, 0.36)):
        where = Place(
            width * (x + rng.uniform(-0.08, 0.08)),
            height * (y + rng.uniform(-0.05, 0.05)),
            unit * size,
        )
        balloon(canvas, where, rng.choice(BRIGHT), rng)
    line = _ridge(rng, canvas, height * 0.6, height * 0.1, 0.5)
    canvas.fill_below(line, palette.far, mix(palette.far, palette.haze, 0.5))
    green = palette.meadow
    for depth in range(3):
        line = _hill(rng, canvas, height * (0.64 + 0.12 * depth), height * 0.06)
        tone = mix(mix(green, palette.haze, 0.4), mix(green, palette.near, 0.25), depth / 2)
        _trees(canvas, rng, line, height * (0.05 + 0.035 * depth), mix(tone, palette.near, 0.45))
        canvas.fill_below(line, mix(tone, WHITE, 0.14), tone, mix(tone, palette.near, 0.3))
        if depth == 1:
            spot = line[int(len(line) * rng.uniform(0.2, 0.75))]
            _house(canvas, spot[0], spot[1] + unit * 0.02, unit * 0.17, rng, palette)


def still_life(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    """Three things on a table, and a window's light on the wall."""
    width, height, unit = canvas.width, canvas.height, canvas.unit
    wall = mix(palette.sky[1], palette.far, 0.3)
    table = mix((178, 124, 82), palette.near, 0.25)
    edge = height * 0.72
    canvas.cover(0, edge, mix(wall, palette.near, 0.35), wall, mix(wall, WHITE, 0.15))
    left = width * rng.uniform(0.0, 0.2)
    for pane in range(2):
        x = left + pane * unit * 0.3
        light = [(x, 0), (x + unit * 0.26, 0), (x + unit * 0.56, edge), (x + unit * 0.3, edge)]
        canvas.fill([light], mix(palette.sun, WHITE, 0.3), opacity=0.32, soft=unit * 0.012)
    canvas.cover(edge, height, mix(table, WHITE, 0.22), table, mix(table, palette.near, 0.45))
    canvas.cover(edge, edge + unit * 0.006, mix(table, WHITE, 0.4))
    choices = rng.sample([i for i, painter in enumerate(OBJECTS) if painter is not balloon], 3)
    places = [(-0.3, 0.03, 0.42), (0.27, 0.05, 0.4), (-0.01, 0.14, 0.46)]
    for choice, (x, y, size) in zip(choices, places, strict=True):
        where = Place(width / 2 + x * unit, edge + (y - size * 0.42) * unit, unit * size)
        paint_object(canvas, where, choice, rng)


SCENES: Sequence[Scene] = (mountains, lake, sea, city, dunes, meadow, still_life)


# What scenes are made of


def _sky(canvas: Canvas, palette: Palette, rng: random.Random, down: float) -> Point:
    """A sky down to a share of the height, with sun or moon, stars, clouds; the sun's place."""
    width, height, unit = canvas.width, canvas.height, canvas.unit
    canvas.cover(0, height * down + 1, *palette.sky)
    sun = (width * rng.uniform(0.2, 0.8), height * down * rng.uniform(0.35, 0.68))
    if palette.night:
        stars = [
            ellipse(rng.uniform(0, width), height * down * rng.random() ** 1.6, size, size)[::5]
            for size in (unit * rng.uniform(0.0008, 0.0022) for _ in range(140))
        ]
        canvas.fill(stars, (255, 250, 235), (150, 180, 210))
    canvas.glow(sun, unit * 0.62, palette.sun, 0.5 if palette.night else 0.75)
    radius = unit * rng.uniform(0.05, 0.075)
    canvas.fill([ellipse(*sun, radius, radius)], mix(palette.sun, WHITE, 0.6), palette.sun)
    for _ in range(rng.randint(3, 5)):
        y = height * down * rng.uniform(0.12, 0.75)
        tone = mix(between(palette.sky, y / height / down), mix(palette.sun, WHITE, 0.4), 0.55)
        if palette.night:
            tone = mix(tone, palette.sky[1], 0.7)
        _cloud(
            canvas, rng, rng.uniform(-0.05, 1.05) * width, y, unit * rng.uniform(0.18, 0.4), tone
        )
    return sun


def _cloud(
    canvas: Canvas, rng: random.Random, x: float, y: float, wide: float, colour: Colour
) -> None:
    """A cloud with a flat base."""
    puffs = []
    for step in range(7):
        place = (step - 3) / 3
        radius = wide * 0.13 * (1.15 - abs(place)) * rng.uniform(0.8, 1.5)
        puffs.append(ellipse(x + place * wide * 0.4, y - radius * 0.55, radius * 1.35, radius))
    puffs.append(ellipse(x, y, wide * 0.55, wide * 0.045))
    canvas.fill(puffs, mix(colour, WHITE, 0.35), colour, opacity=0.8, soft=wide * 0.008)


def _ridge(
    rng: random.Random, canvas: Canvas, base: float, rise: float, rough: float
) -> list[Point]:
    """A mountain range's line, by midpoint displacement (Fournier, Fussell and Carpenter 1982)."""
    heights = [rng.uniform(0.1, 0.9) for _ in range(4)]
    spread = 0.5
    while len(heights) < 380:
        finer = [heights[0]]
        for low, high in itertools.pairwise(heights):
            finer += [(low + high) / 2 + rng.uniform(-spread, spread), high]
        heights, spread = finer, spread * rough
    last = len(heights) - 1
    return [
        (canvas.width * step / last, base - rise * (height - 0.3))
        for step, height in enumerate(heights)
    ]


def _hill(rng: random.Random, canvas: Canvas, base: float, rise: float) -> list[Point]:
    """A soft line of hills."""
    waves = [
        (1.0 / often, often * rng.uniform(0.8, 1.4), rng.uniform(0, math.tau))
        for often in (1, 2, 4)
    ]
    return [
        (
            canvas.width * step / 128,
            base + rise * sum(a * math.sin(b * math.pi * step / 64 + c) for a, b, c in waves),
        )
        for step in range(129)
    ]


def _slope(rng: random.Random, canvas: Canvas, base: float, rise: float) -> list[Point]:
    """A bank that rises to one side."""
    side = rng.choice((-1, 1))
    line = [
        (canvas.width * x / 64, base + side * rise * (x / 32 - 1) + rise * 0.1 * math.sin(x * 0.9))
        for x in range(65)
    ]
    return line


def _island(rng: random.Random, canvas: Canvas, horizon: float, rise: float) -> list[Point]:
    """The outline of an island on the horizon."""
    middle, wide = canvas.width * rng.random(), canvas.width * rng.uniform(0.2, 0.4)
    ridge = _ridge(rng, canvas, 0, 1, 0.5)
    last = len(ridge) - 1
    return [
        (
            middle + wide * (step / last - 0.5) * 2,
            horizon - rise * max(0.0, math.sin(math.pi * step / last) * (0.6 - 0.6 * y)),
        )
        for step, (_, y) in enumerate(ridge)
    ]


def _pines(
    canvas: Canvas,
    rng: random.Random,
    line: Outline,
    tall: float,
    colour: Colour,
    few: bool = False,
) -> None:
    """Pines along a line, all in one colour; `few` leaves the middle free."""
    pines, x = [], 0.0
    while x < canvas.width:
        size = tall * rng.uniform(0.45, 1.0)
        share = abs(x / canvas.width - 0.5) * 2
        if not few or share > rng.uniform(0.45, 0.9):
            step = min(len(line) - 1, int(x / canvas.width * (len(line) - 1)))
            pines.append(_pine(x, line[step][1] + size * 0.06, size))
        x += tall * rng.uniform(0.12, 0.34)
    canvas.fill(pines, mix(colour, (90, 130, 120), 0.12), colour)


def _pine(x: float, foot: float, tall: float) -> list[Point]:
    """The outline of a pine."""
    tiers = 7
    right = [(x, foot - tall)]
    for tier in range(1, tiers + 1):
        y = foot - tall * (1 - 0.93 * tier / tiers)
        wide = tall * 0.2 * tier / tiers + tall * 0.015
        right += [(x + wide, y), (x + wide * 0.5, y - tall * 0.022)]
    right += [(x + tall * 0.018, foot - tall * 0.07), (x + tall * 0.018, foot)]
    return [*right, *((2 * x - far, y) for far, y in reversed(right))]


def _trees(canvas: Canvas, rng: random.Random, line: Outline, tall: float, colour: Colour) -> None:
    """Round trees in groups along a line."""
    crowns = []
    for _ in range(rng.randint(3, 5)):
        at = rng.uniform(0, 0.96)
        for _ in range(rng.randint(2, 6)):
            step = min(len(line) - 1, int((at + rng.uniform(-0.05, 0.05)) * len(line)))
            x, y = line[max(0, step)]
            size = tall * rng.uniform(0.35, 0.6)
            crowns += [
                ellipse(x, y - size * 0.75, size * 0.8, size),
                ellipse(x - size * 0.5, y - size * 0.45, size * 0.6, size * 0.6),
                ellipse(x + size * 0.55, y - size * 0.4, size * 0.55, size * 0.55),
            ]
    canvas.fill(crowns, mix(colour, WHITE, 0.2), colour)


def _house(
    canvas: Canvas, x: float, foot: float, size: float, rng: random.Random, palette: Palette
) -> None:
    """A house with a gable, a door and lit windows."""
    tone = 0.5 if palette.night else 0.08
    wall, roof = mix((244, 234, 214), palette.near, tone), mix((188, 74, 58), palette.near, tone)

    def part(*points: Point) -> list[Point]:
        return [(x + size * across, foot - size * up) for across, up in points]

    canvas.fill(
        [part((0.28, 0.5), (0.36, 0.5), (0.36, 0.8), (0.28, 0.8))], mix(roof, palette.near, 0.4)
    )
    canvas.fill([part((-0.5, 0), (-0.5, 0.36), (-0.28, 0.6), (-0.06, 0.36), (-0.06, 0))], wall)
    canvas.fill(
        [part((-0.06, 0), (-0.06, 0.36), (0.55, 0.36), (0.55, 0))], mix(wall, palette.near, 0.22)
    )
    canvas.fill(
        [part((-0.3, 0.66), (0.46, 0.66), (0.62, 0.33), (-0.02, 0.33))], mix(roof, WHITE, 0.1), roof
    )
    canvas.fill(
        [part((-0.3, 0.66), (-0.25, 0.66), (-0.52, 0.33), (-0.58, 0.33))],
        mix(roof, palette.near, 0.3),
    )
    panes = [
        part((a, 0.14), (a, 0.27), (a + 0.09, 0.27), (a + 0.09, 0.14))
        for a in (-0.44, 0.06, 0.24, 0.41)
    ]
    canvas.fill(panes, (255, 222, 140), (250, 190, 96))
    canvas.fill(
        [part((-0.27, 0), (-0.27, 0.24), (-0.16, 0.24), (-0.16, 0))], mix(roof, palette.near, 0.5)
    )


def _houses(
    canvas: Canvas,
    rng: random.Random,
    shore: float,
    depth: int,
    tone: Colour,
    palette: Palette,
    dark: bool,
) -> None:
    """A row of buildings down to the shore, `depth` 0 the farthest and tallest."""
    width, unit, tall = canvas.width, canvas.unit, shore * (0.78 - 0.2 * depth)
    blocks, windows, x = [], [], -unit * rng.uniform(0, 0.05)
    pane = unit * (0.005 + 0.0022 * depth)
    while x < width:
        wide, high = unit * rng.uniform(0.055, 0.12), tall * rng.uniform(0.35, 1.0)
        top = shore - high
        blocks.append(rectangle(x, top, x + wide, shore))
        style = rng.random()
        if style < 0.25:
            blocks.append(rectangle(x + wide * 0.2, top - wide * 0.22, x + wide * 0.8, top))
            blocks.append(rectangle(x + wide * 0.47, top - wide * 0.9, x + wide * 0.53, top))
        elif style < 0.4:
            blocks.append([(x, top), (x + wide / 2, top - wide * 0.6), (x + wide, top)])
        for row in range(int((high - pane * 3) / (pane * 2.6))):
            for column in range(int((wide - pane * 1.4) / (pane * 2.2))):
                if rng.random() < (0.42 if dark else 0.3):
                    a, b = x + pane * (1.2 + 2.2 * column), top + pane * (2 + 2.6 * row)
                    windows.append(rectangle(a, b, a + pane * 1.1, b + pane * 1.4))
        x += wide * rng.choice((1.0, 1.0, 1.06, 1.3))
    canvas.fill(blocks, tone, mix(tone, palette.haze, 0.4 - 0.12 * depth))
    light = (255, 214, 130) if dark else mix(palette.haze, WHITE, 0.4)
    canvas.fill(windows, light, mix(light, tone, 0.3), opacity=0.45 + 0.2 * depth)


def _reflect(canvas: Canvas, shore: int, water: Colour) -> None:
    """Fill what is below the shore with the image above it, upside down, darker and unsteady."""
    deep = canvas.height - shore
    if deep < 1 or shore < 1:
        return
    above = canvas.image.crop((0, max(0, shore - deep), canvas.width, shore))
    below = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    below = below.filter(ImageFilter.BoxBlur((canvas.unit / 400, canvas.unit / 250)))
    below = Image.blend(below, Image.new("RGB", below.size, water), 0.3)
    canvas.image.paste(below, (0, shore))
    if below.height < deep:
        canvas.cover(shore + below.height, canvas.height, water)


def _ripples(canvas: Canvas, rng: random.Random, horizon: float, colour: Colour) -> None:
    """Streaks of light on water, longer towards the front."""
    streaks = []
    for _ in range(70):
        near = rng.random() ** 1.5
        y = horizon + (canvas.height - horizon) * (0.02 + near * 0.98)
        long = canvas.unit * (0.015 + 0.09 * near) * rng.uniform(0.4, 1.3)
        streaks.append(
            ellipse(rng.random() * canvas.width, y, long, canvas.unit * (0.0008 + 0.002 * near))
        )
    canvas.fill(streaks, colour, opacity=0.32)


def _sun_path(canvas: Canvas, rng: random.Random, x: float, horizon: float, colour: Colour) -> None:
    """The sun's glitter on the sea, towards the viewer."""
    streaks = []
    for step in range(90):
        near = (step / 90) ** 1.3
        wide = canvas.unit * (0.012 + 0.07 * near)
        y = horizon + (canvas.height - horizon) * near * 0.85 + 1
        at = x + rng.uniform(-1, 1) * wide * 0.9
        long = wide * rng.uniform(0.3, 0.9)
        streaks.append(ellipse(at, y, long, canvas.unit * (0.0012 + 0.0035 * near)))
    canvas.fill(streaks, colour, opacity=0.75)


def _boat(
    canvas: Canvas, x: float, water: float, size: float, rng: random.Random, palette: Palette
) -> None:
    """A sailing boat and its dim double in the water."""
    tone = 0.45 if palette.night else 0.05
    sail = mix((252, 244, 228), palette.near, tone)
    hull = mix(rng.choice(BRIGHT), palette.near, tone + 0.1)

    def part(*points: Point) -> list[Point]:
        return [(x + size * across, water - size * up) for across, up in points]

    double = [part((-0.34, 0), (0.36, 0), (0.1, -0.3), (-0.12, -0.22))]
    canvas.fill(double, mix(hull, palette.near, 0.5), opacity=0.35, soft=size * 0.02)
    canvas.fill([part((-0.012, 0.1), (0.012, 0.1), (0.006, 0.98), (-0.006, 0.98))], (92, 66, 50))
    main = smooth(part((0.02, 0.95), (0.2, 0.55), (0.36, 0.18), (0.02, 0.17)), closed=False)
    canvas.fill([main], sail, mix(sail, palette.far, 0.35))
    front = smooth(part((-0.025, 0.88), (-0.16, 0.5), (-0.33, 0.17), (-0.025, 0.19)), closed=False)
    canvas.fill([front], mix(sail, hull, 0.25), mix(sail, hull, 0.5))
    body = smooth(part((-0.38, 0.12), (0.4, 0.13), (0.27, 0.0), (-0.24, -0.01)), closed=False)
    canvas.fill([body], mix(hull, WHITE, 0.2), hull, mix(hull, palette.near, 0.5))
