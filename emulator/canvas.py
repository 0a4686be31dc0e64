"""A canvas for smooth shapes: outlines in pixels, filled with colours that run into each other.

Only Pillow is used, and only what gives the same pixels on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Outline = Sequence[Point]
Box = tuple[int, int, int, int]

FINE = 2
"""Pixels a side that stand for one along an edge: so edges are smooth."""

ROUND = 40
"""Corners of what stands for an ellipse."""


class Canvas:
    """An RGB image to paint on; with `alpha` (L, the same size) also what of it is opaque."""

    def __init__(self, image: Image.Image, alpha: Image.Image | None = None) -> None:
        self.image = image
        self.alpha = alpha
        self.width, self.height = image.size
        self.unit = min(image.size)
        """What lengths are a share of."""

    def fill(
        self,
        outlines: Sequence[Outline],
        *colours: Colour,
        run: str = "down",
        opacity: float = 1.0,
        soft: float = 0.0,
    ) -> None:
        """Fill all of the outlines with colours that run "down", "across" or "out" from a light
        spot; `soft` is how many pixels the edge is blurred by."""
        outlines = [outline for outline in outlines if len(outline) > 1]
        box = self._box_around(outlines, 2 * soft + 1)
        if box is None:
            return
        mask = _mask(outlines, box, soft)
        if opacity < 1:
            mask = mask.point([round(level * opacity) for level in range(256)])
        if len(colours) == 1:
            self.image.paste(colours[0], box, mask)
        else:
            self.image.paste(gradient(_size(box), colours, run), box[:2], mask)
        if self.alpha is not None:
            self.alpha.paste(255, box, mask)

    def cover(self, top: float, bottom: float, *colours: Colour) -> None:
        """Fill the rows from `top` to `bottom`."""
        box = (0, max(0, round(top)), self.width, min(self.height, round(bottom)))
        if box[3] > box[1]:
            self.image.paste(gradient(_size(box), colours), box)

    def fill_below(self, line: Outline, *colours: Colour) -> None:
        """Fill what lies below a line from the left to the right border: only the part where the
        line runs needs a mask, which makes large hills cheap."""
        highest = max(0.0, min(y for _, y in line))
        lowest = math.ceil(max(y for _, y in line)) + 2
        height = max(1.0, self.height - highest)
        split = min(1.0, max(0.0, (lowest - highest) / height))
        upper = [between(colours, split * step / 6) for step in range(7)]
        edge = min(lowest, self.height)
        self.fill([[(line[0][0], edge), *line, (line[-1][0], edge)]], *upper)
        lower = [between(colours, split + (1 - split) * step / 6) for step in range(7)]
        self.cover(edge, self.height, *lower)

    def glow(self, centre: Point, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """Light that fades out at `radius`."""
        box = self._box_around([ellipse(*centre, radius, radius)], 0)
        if box is None:
            return
        x, y = centre
        # Pillow's gradient has 0 in the middle and 180 at the middle of an edge.
        whole = Image.radial_gradient("L").point(
            [round(255 * strength * max(0.0, 1 - level / 180) ** 1.6) for level in range(256)]
        )
        left, top, right, bottom = (
            min(256.0, max(0.0, (side - middle) * 128 / radius + 128))
            for side, middle in zip(box, (x, y, x, y), strict=True)
        )
        mask = whole.resize(_size(box), Image.Resampling.BILINEAR, (left, top, right, bottom))
        self.image.paste(colour, box, mask)

    def shadow(self, outlines: Sequence[Outline], soft: float, opacity: float = 0.35) -> None:
        """A soft shadow. On a canvas with alpha it is see-through there."""
        box = self._box_around(outlines, 2 * soft + 1)
        if box is None:
            return
        mask = _mask(outlines, box, soft).point([round(v * opacity) for v in range(256)])
        if self.alpha is None:
            self.image.paste((16, 14, 26), box, mask)
            return
        self.image.paste((16, 14, 26), box)
        self.alpha.paste(ImageChops.lighter(self.alpha.crop(box), mask), box[:2])

    def _box_around(self, outlines: Sequence[Outline], margin: float) -> Box | None:
        """The pixels that outlines touch, None if they are none of the canvas."""
        across = [x for outline in outlines for x, _ in outline]
        down = [y for outline in outlines for _, y in outline]
        if not across:
            return None
        box = (
            max(0, math.floor(min(across) - margin)),
            max(0, math.floor(min(down) - margin)),
            min(self.width, math.ceil(max(across) + margin)),
            min(self.height, math.ceil(max(down) + margin)),
        )
        return box if box[0] < box[2] and box[1] < box[3] else None


def _size(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _mask(outlines: Sequence[Outline], box: Box, soft: float) -> Image.Image:
    """How much of each pixel of a box the outlines cover; L. Blurred ones are drawn small."""
    scale = min(1.0, 3 / soft) if soft else FINE
    width, height = _size(box)
    size = (max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale)))
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    left, top = box[:2]
    for outline in outlines:
        draw.polygon([((x - left) * scale, (y - top) * scale) for x, y in outline], 255)
    if soft:
        mask = mask.filter(ImageFilter.GaussianBlur(soft * scale))
    if scale == 1:
        return mask
    return mask.resize((width, height), _BILINEAR) if soft else mask.reduce(FINE)


_BILINEAR = Image.Resampling.BILINEAR


def gradient(size: tuple[int, int], colours: Sequence[Colour], run: str = "down") -> Image.Image:
    """Colours that run into each other; RGB of this size."""
    if run == "out":
        return _coloured(Image.radial_gradient("L"), colours).resize(
            size, _BILINEAR, (96, 104, 256, 256)
        )
    long = size[1] if run == "down" else size[0]
    line = Image.new("RGB", (1, len(colours)))
    line.putdata(list(colours))
    if len(colours) > 1:
        # Between the middles of the first and the last pixel.
        line = line.resize((1, long), _BILINEAR, (0, 0.5, 1, len(colours) - 0.5))
    if run == "across":
        line = line.transpose(Image.Transpose.TRANSPOSE)
    return line.resize(size, Image.Resampling.NEAREST)


def _coloured(levels: Image.Image, colours: Sequence[Colour]) -> Image.Image:
    """Each level of an L image as a colour, 0 as the first and 180 as the last."""
    table = [between(colours, min(1.0, level / 180)) for level in range(256)]
    bands = [levels.point([colour[band] for colour in table]) for band in range(3)]
    return Image.merge("RGB", bands)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first; 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def between(colours: Sequence[Colour], place: float) -> Colour:
    """The colour at a place (0 to 1) of a row of colours."""
    position = min(1.0, max(0.0, place)) * (len(colours) - 1)
    index = min(len(colours) - 2, int(position))
    return colours[0] if index < 0 else mix(colours[index], colours[index + 1], position - index)


def ellipse(x: float, y: float, across: float, down: float) -> list[Point]:
    """The outline of an ellipse with these radii."""
    angles = [math.tau * corner / ROUND for corner in range(ROUND)]
    return [(x + across * math.cos(angle), y + down * math.sin(angle)) for angle in angles]


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The outline of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def smooth(points: Sequence[Point], closed: bool = True) -> list[Point]:
    """A curve through points (Catmull and Rom 1974)."""
    count, curve = len(points), []
    for index in range(count if closed else count - 1):
        if closed:
            a, b, c, d = (points[(index + step) % count] for step in (-1, 0, 1, 2))
        else:
            near = (max(0, index - 1), index, index + 1, min(count - 1, index + 2))
            a, b, c, d = (points[step] for step in near)
        for step in range(8):
            t = step / 8
            curve.append((_along(a[0], b[0], c[0], d[0], t), _along(a[1], b[1], c[1], d[1], t)))
    return curve if closed else [*curve, points[-1]]


def _along(a: float, b: float, c: float, d: float, t: float) -> float:
    return b + t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * b - a - 3 * c + d))) / 2
