"""Edits: the first reference, changed so that one sees it, and the others shown beside it.

Grey borders, as ComfyUI's Pad Image for Outpainting makes them, are painted over with what the
image shows next to them. Otherwise the image gets other colours and something in its middle: in the
crop of a mask that is where the mask lies. The colours are changed by one matrix, which a client
that pastes the crop back can undo.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageFilter, ImageOps

from .canvas import Box, Canvas, Colour, ellipse, mix, rectangle
from .directives import EditChanges
from .objects import OBJECTS, Place, paint_object
from .requests import Upload

PADDING = (127, 127, 127)
PADDING_SPREAD = 6
"""Levels by which a padding's grey may differ, after rounding and JPEG."""

LEAST_BORDER = 8
"""Pixels: a narrower grey border belongs to the image."""

SEAM = 3
"""Pixels next to a border that a resampled image has mixed with its grey."""

SAME_ASPECT = 0.02
"""Sides are multiples of 16, so that an aspect is met to within 2 %."""

MIDDLE = 0.42
"""What stands in the middle, as a share of the image's shorter side."""

INSET = 0.17
"""The height of a further reference's inset, as a share of the image's shorter side."""

TONES: Sequence[Colour] = (
    (255, 176, 92), (120, 170, 255), (255, 140, 160), (140, 220, 190), (200, 160, 255),
)  # fmt: skip
"""Colours of light that an edit can bring."""

LUMA = (0.299, 0.587, 0.114)

_BICUBIC = Image.Resampling.BICUBIC


def edit(
    references: Sequence[Upload],
    size: tuple[int, int],
    changes: EditChanges,
    subject: bytes,
    variation: bytes,
) -> tuple[Image.Image, float]:
    """The first reference, cut to the size's aspect and scaled to it, then changed (RGB); and how
    wide a caption may be at its right: where the old image lies a client puts it back."""
    image = _opened(references[0])
    old = None if changes.mark == "none" else _inside_padding(image)
    room = float(size[0])
    if old is not None:
        room *= (image.width - old[2]) / image.width or 1
        image = _squeezed(outpainted(image, old), size)
    image = ImageOps.fit(image, size, _BICUBIC)
    if old is None:
        image = _in_light(image, TONES[variation[0] % len(TONES)], changes.tint)
    if changes.recolour != (1.0, 1.0, 1.0):
        table = [min(255, round(value * gain)) for gain in changes.recolour for value in range(256)]
        image = image.point(table)
    image = _moved(image, changes)
    if changes.mark == "none":
        return image, room
    others = [_without_caption(_opened(upload)) for upload in references[1:]]
    canvas = Canvas(image)
    if old is None:
        _paint_middle(canvas, others[:1], subject, variation)
    _inset(canvas, others)
    return image, room


def _opened(upload: Upload) -> Image.Image:
    with Image.open(io.BytesIO(upload.data)) as opened:
        image: Image.Image = opened.convert("RGB")
    return image


def _in_light(image: Image.Image, tone: Colour, share: float) -> Image.Image:
    """The image in a coloured light; `share` 1 leaves nothing of its own colours."""
    if share == 0:
        return image
    matrix = []
    for row, level in enumerate(tone):
        light = [weight * level / 190 * share for weight in LUMA]
        light[row] += 1 - share
        matrix += [*light, 0.0]
    return image.convert("RGB", tuple(matrix))


def _moved(image: Image.Image, changes: EditChanges) -> Image.Image:
    """Shifted and rescaled around the centre; what comes in at the border stays as it was."""
    dx, dy = changes.shift
    if (dx, dy, changes.rescale) == (0.0, 0.0, 1.0):
        return image
    scale = 1 / changes.rescale
    x = image.width / 2 * (1 - scale) - dx * scale
    y = image.height / 2 * (1 - scale) - dy * scale
    affine = (scale, 0.0, x, 0.0, scale, y)
    exact = scale == 1 and dx.is_integer() and dy.is_integer()
    nearest = Image.Resampling.NEAREST
    moved = image.transform(
        image.size, Image.Transform.AFFINE, affine, nearest if exact else _BICUBIC
    )
    opaque = Image.new("L", image.size, 255)
    inside = opaque.transform(image.size, Image.Transform.AFFINE, affine, nearest)
    return Image.composite(moved, image, inside)


# Grey borders


def outpainted(image: Image.Image, old: Box) -> Image.Image:
    """The image with the grey borders around `old` painted over.

    What lies beyond a border is the image mirrored, the softer the farther away.
    """
    right, bottom = image.width - old[2], image.height - old[3]
    whole = _widened(_without_caption(image.crop(old)), old[0], right, 0.6)
    whole = whole.transpose(Image.Transpose.TRANSPOSE)
    whole = _widened(whole, old[1], bottom, 0.3).transpose(Image.Transpose.TRANSPOSE)
    whole = Image.composite(_softened(whole), whole, _farness(whole.size, old))
    whole.paste(image.crop(old), old[:2])
    return whole


def _squeezed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image at this size where the aspects are nearly the same, so that a painted border isn't
    cut by a few pixels; otherwise as it is."""
    share = image.width * size[1] / (image.height * size[0])
    return image.resize(size, _BICUBIC) if abs(share - 1) < SAME_ASPECT else image


def _without_caption(image: Image.Image) -> Image.Image:
    """The image with the rows above it in place of the caption that an image of this service has:
    mirrored letters would look odd."""
    unit, (width, height) = min(image.size), image.size
    high = round(unit * 0.07)
    if high < 4:
        return image
    strip = image.crop((0, height - 2 * high, width, height - high))
    plain = image.copy()
    plain.paste(strip.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (0, height - high))
    soft, rim = unit * 0.003, unit * 0.014
    mask = Image.new("L", image.size)
    label = rectangle(width - unit * 0.48, height - high + rim / 2, width - rim, height - rim)
    Canvas(Image.new("RGB", image.size), mask).fill([label], (0, 0, 0), soft=soft)
    return Image.composite(plain, image, mask)


def _inside_padding(image: Image.Image) -> Box | None:
    """Where an image is that has grey borders, a little cut on the sides where they are."""
    grey = Image.new("RGB", image.size, PADDING)
    red, green, blue = ImageChops.difference(image, grey).split()
    differs = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    box = differs.point([255 * (level > PADDING_SPREAD) for level in range(256)]).getbbox()
    if box is None:
        return None
    width, height = image.size
    borders = (box[0], box[1], width - box[2], height - box[3])
    cuts = [border + SEAM if border >= LEAST_BORDER else 0 for border in borders]
    left, top, right, bottom = cuts[0], cuts[1], width - cuts[2], height - cuts[3]
    if not any(cuts) or left >= right or top >= bottom:
        return None
    return left, top, right, bottom


def _widened(image: Image.Image, left: int, right: int, reach: float) -> Image.Image:
    """The image with so many pixels more on the left and right: its mirror, of which a share of
    `reach` is used, and stretched where that isn't enough."""
    mirror = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    wide = Image.new("RGB", (left + image.width + right, image.height))
    wide.paste(image, (left, 0))
    most = max(1, round(image.width * reach))
    for border, corner in ((left, 0), (right, left + image.width)):
        if border:
            used = min(border, most)
            start = image.width - used if corner == 0 else 0
            part = mirror.crop((start, 0, start + used, image.height))
            wide.paste(part.resize((border, image.height), _BICUBIC), (corner, 0))
    return wide


def _softened(image: Image.Image) -> Image.Image:
    """The image out of focus."""
    small = image.reduce(4) if min(image.size) > 64 else image
    blurred = small.filter(ImageFilter.GaussianBlur(min(small.size) * 0.006))
    return blurred.resize(image.size, Image.Resampling.BILINEAR)


def _farness(size: tuple[int, int], old: Box) -> Image.Image:
    """How far a pixel is from the old image, L: 0 in it, soon 255 outside."""
    reach = min(size) * 0.12
    scale = 64 / max(64, min(size))
    small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    near = [
        round((edge + side * reach) * scale) for edge, side in zip(old, (-1, -1, 1, 1), strict=True)
    ]
    far = Image.new("L", small, 255)
    far.paste(0, (near[0], near[1], near[2], near[3]))
    return far.filter(ImageFilter.GaussianBlur(reach * scale * 0.5)).resize(size, _BICUBIC)


# What is added


def _paint_middle(
    canvas: Canvas, pictures: Sequence[Image.Image], subject: bytes, variation: bytes
) -> None:
    """An object in the middle, or the next reference where there is one."""
    middle, size = (canvas.width / 2, canvas.height / 2), canvas.unit * MIDDLE
    if not pictures:
        place = Place(*middle, size)
        paint_object(canvas, place, subject[2] % len(OBJECTS), random.Random(variation))
        return
    radius = size / 2
    ring = ellipse(*middle, radius, radius)
    low = [(x, y + size * 0.03) for x, y in ring]
    canvas.shadow([low], size * 0.04, 0.5)
    canvas.fill([ring], (255, 255, 255))
    side = max(1, round(size * 0.94))
    disc = ImageOps.fit(pictures[0], (side, side), _BICUBIC)
    round_mask = Image.new("L", disc.size)
    Canvas(Image.new("RGB", disc.size), round_mask).fill(
        [ellipse(side / 2, side / 2, side / 2, side / 2)], (0, 0, 0)
    )
    corner = (round(middle[0] - side / 2), round(middle[1] - side / 2))
    canvas.image.paste(disc, corner, round_mask)


def _inset(canvas: Canvas, pictures: Sequence[Image.Image]) -> None:
    """The further references as small framed prints along the bottom, from the left."""
    unit = canvas.unit
    rim, high = unit * 0.008, max(1, round(unit * INSET))
    left, bottom = unit * 0.03, canvas.height - unit * 0.03
    most = canvas.width * 0.6 / max(1, len(pictures)) - 3.5 * rim
    for picture in pictures:
        aspect = min(1.5, max(0.66, picture.width / picture.height))
        wide = max(1, round(min(high * aspect, most)))
        frame = rectangle(left, bottom - high - 2 * rim, left + wide + 2 * rim, bottom)
        canvas.shadow([[(x, y + rim * 0.6) for x, y in frame]], rim, 0.5)
        canvas.fill([frame], (255, 255, 255), mix((255, 255, 255), (0, 0, 0), 0.06))
        small = ImageOps.fit(picture, (wide, high), _BICUBIC)
        canvas.image.paste(small, (round(left + rim), round(bottom - rim - high)))
        left += wide + 3.5 * rim
