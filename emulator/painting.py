"""What an image shows: a scene for a prompt, an object where nothing else is to be seen, a changed
reference for an edit; with a caption in a corner that says where it comes from, but on transparent
backgrounds.

A prompt isn't understood: its hash chooses what is painted. The same request gives the same bytes,
and the same prompt another view of the same things.
"""

from __future__ import annotations

import hashlib
import json
import random
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from .canvas import Canvas, ellipse, rectangle
from .directives import EditChanges
from .edits import edit
from .objects import Place, paint_object
from .requests import ImageRequest
from .scenes import scene

CAPTION = "EMULATED"

SMALLEST_CAPTION = 64
"""Pixels a side below which an image has no room for one."""

OBJECT = 0.8
"""A single object's size, as a share of the image's shorter side."""

OVAL_END = 178
"""Where alpha is 0 in the oval of an edit's transparent background, in Pillow's radial gradient: 25
steps before that it is opaque."""

_TRANSPARENT = ["transparent background"]


def paint(request: ImageRequest, changes: EditChanges, nonce: str = "") -> Image.Image:
    """The image of a request; `nonce` tells equal requests apart.

    RGB, or RGBA where the request asks for a transparent background.
    """
    subject = hashlib.sha256(request.prompt.encode("utf-8", "surrogatepass")).digest()
    variation = _digest(request, changes, nonce)
    alpha, room = None, float(request.size[0])
    if request.references:
        image, room = edit(request.references, request.size, changes, subject, variation)
        alpha = _soft_oval(image.size) if request.transparent else None
    elif request.transparent:
        image, alpha = _single_object(request.size, subject, variation)
    else:
        image = scene(subject, variation, request.size)
    if alpha is not None:
        # No caption: it would be a part of what is cut out, and of whatever that is laid over.
        image.putalpha(alpha)
    elif changes.mark != "none":
        _write_caption(Canvas(image), request.model.name, room)
    return image


def _digest(request: ImageRequest, changes: EditChanges, nonce: str) -> bytes:
    """32 bytes that stand for the request."""
    # What came after 0.1 stands in the size, or only where it is asked for.
    words = {name: value for name, value in vars(changes).items() if name != "output"}
    listed = ", ".join(f"{name}={value!r}" for name, value in words.items())
    facts = [
        request.model.name,
        request.prompt,
        request.size,
        [*request.switches, *_TRANSPARENT[: request.transparent]],
        [hashlib.sha256(upload.data).hexdigest() for upload in request.references],
        f"Edits({listed})",
        nonce,
    ]
    return hashlib.sha256(json.dumps(facts).encode("ascii")).digest()


def _single_object(
    size: tuple[int, int], subject: bytes, variation: bytes
) -> tuple[Image.Image, Image.Image]:
    """An object on nothing: the image (RGB) and its alpha (L), in the middle, with soft edges."""
    canvas = Canvas(Image.new("RGB", size, (40, 38, 52)), Image.new("L", size))
    place = Place(size[0] / 2, size[1] / 2, canvas.unit * OBJECT)
    paint_object(canvas, place, subject[2], random.Random(variation))
    alpha = canvas.alpha
    assert alpha is not None
    left, top, right, bottom = alpha.getbbox() or (0, 0, *size)
    aside = ((size[0] - left - right) // 2, (size[1] - top - bottom) // 2)
    # The edge is moved inwards before it is softened, so that nothing of the ground shows in it.
    alpha = alpha.filter(ImageFilter.MinFilter(3)).filter(ImageFilter.GaussianBlur(1.2))
    return ImageChops.offset(canvas.image, *aside), ImageChops.offset(alpha, *aside)


def _soft_oval(size: tuple[int, int]) -> Image.Image:
    """The alpha of a transparent background: an opaque oval with a soft edge; L of this size."""
    # Pillow's gradient is 0 in the middle and 180 at the middle of an edge.
    oval = Image.radial_gradient("L").point(lambda value: min(255, max(0, OVAL_END - value) * 10))
    return oval.resize(size, Image.Resampling.BICUBIC)


def _write_caption(canvas: Canvas, model: str, room: float) -> None:
    """A line of text in the lower right corner, light on a dark label; without the model's name
    where the room is narrow."""
    if canvas.unit < SMALLEST_CAPTION:
        return
    font = _font(max(8, canvas.unit // 44))
    height = font.size * 1.7
    text = f"{CAPTION} · {model}"
    if font.getlength(text) + 2 * height > room:
        text = CAPTION
    width = font.getlength(text) + height * 0.8
    right, bottom = canvas.width - canvas.unit * 0.02, canvas.height - canvas.unit * 0.02
    left, top, cap = right - width, bottom - height, height / 2
    label = [
        rectangle(left + cap, top, right - cap, bottom),
        ellipse(left + cap, top + cap, cap, cap),
        ellipse(right - cap, top + cap, cap, cap),
    ]
    canvas.fill(label, (14, 16, 26), opacity=0.85)
    corner = (left + height * 0.4, top + height / 2)
    ImageDraw.Draw(canvas.image).text(corner, text, (255, 255, 255), font, anchor="lm")


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
