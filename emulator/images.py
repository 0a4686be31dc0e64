"""Images: a painted landscape for a generation, the changed first reference for an edit, the panel
that marks both as emulated, and every file that isn't as it should be.

The same request gives the same bytes: everything is drawn from a hash of it.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import math
import random
import struct
import zlib
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin

from .answers import GARBAGE, PAGE
from .directives import EditChanges
from .requests import ImageRequest

HEADING = "EMULATED"
PNG_LEVEL = 1
"""Four times as fast as Pillow's default of 6 and a tenth larger."""

HUGE_BYTES = 65 * 2**20
"""Over the 64 MiB that a client should take."""

BOMB_SIDE = 30_000
"""Pixels a side of the image that a few bytes claim to be."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

HEADER_END = 33
"""Where a PNG's first chunk, IHDR, ends."""

CREDENTIALS = struct.pack(">I4sI4s16s", 49, b"jumb", 41, b"jumd", b"c2pa") + b"\x03c2pa\0emulated"
"""The outer boxes of a manifest store (ISO 19566-5), with nothing that could be verified."""

MAX_CHARACTERS = 2000
"""More would not fit into any panel: a longer prompt is cut before it is measured."""

PANEL_HEIGHT = 0.46
"""The panel's share of the image's height, at most."""

OVAL_END = 178
"""Where alpha is 0 in the oval of a transparent background, in Pillow's radial gradient: 25 steps
before that it is opaque, so that the panel of text lies inside."""

_TRANSPARENT = ["transparent background"]

HEADING_COLOUR = (255, 214, 92)
TEXT_COLOUR = (255, 255, 255)

LAST_LATIN = "\u2026"
"""Pillow's own font has the letters of Europe's languages and punctuation up to the ellipsis."""

WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "Arial Unicode.ttf",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "DejaVuSans.ttf",
)
"""What Linux, Windows and macOS have for other scripts, those with the most letters first."""

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def paint(request: ImageRequest, changes: EditChanges, nonce: str = "") -> Image.Image:
    """The image of a request with its mark; `nonce` tells equal requests apart.

    RGB, or RGBA where the request asks for a transparent background.
    """
    digest = _digest(request, changes, nonce)
    if request.references:
        image = _edited(request, changes, digest)
    else:
        image = landscape(digest, request.size)
    if changes.mark == "panel":
        narrow = bool(request.references) or request.transparent
        _stamp(image, _facts(request, digest), request.prompt, narrow)
    if request.transparent:
        image.putalpha(_soft_oval(image.size))
    return image


def png_file(image: Image.Image) -> bytes:
    """The PNG, with a text chunk that says where it comes from."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "MAI Image emulator")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=note)
    return buffer.getvalue()


def with_credentials(png: bytes) -> bytes:
    """A PNG with content credentials right after its header: a caBX chunk that holds an empty
    placeholder in place of a signed manifest (C2PA 2.1, section A.3.3)."""
    if not png.startswith(PNG_SIGNATURE):
        return png
    return png[:HEADER_END] + _chunk(b"caBX", CREDENTIALS) + png[HEADER_END:]


def image_file(image: Image.Image, form: str | None = None) -> bytes:
    """The image's file: "jpeg", "webp", a form of directives.ANSWERS, otherwise a PNG."""
    if form in ("jpeg", "webp"):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, form.upper(), quality=90)
        return buffer.getvalue()
    if form in _NO_IMAGES:
        return _NO_IMAGES[form]
    if form == "huge":
        return bytes(HUGE_BYTES)
    if form == "bomb":
        return _bomb()
    if form in _MODES:
        image = image.convert(_MODES[form])
    elif form == "16-bit":
        grey = image.convert("L").convert("I").point(lambda value: value * 257)
        image = grey.convert("I;16")
    data = png_file(image)
    if form == "wrong-crc":
        # The last chunk, IEND, has 12 bytes; before it stands the checksum of the pixels.
        data = data[:-13] + bytes([data[-13] ^ 1]) + data[-12:]
    return data[: len(data) // 2] if form == "truncated-picture" else data


_NO_IMAGES = {
    "html": PAGE,
    "garbage": GARBAGE,
    "empty-body": b"",
    "not-a-picture": b"This is no image. " * 50,
}

_MODES = {"alpha": "RGBA", "grey": "L", "palette": "P"}


def _bomb() -> bytes:
    """A PNG whose header claims 900 megapixels, and whose data are one row."""
    header = struct.pack(">IIBBBBB", BOMB_SIDE, BOMB_SIDE, 8, 2, 0, 0, 0)
    row = zlib.compress(bytes(BOMB_SIDE * 3 + 1))
    chunks = ((b"IHDR", header), (b"IDAT", row), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG: length, name, data, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _digest(request: ImageRequest, changes: EditChanges, nonce: str) -> bytes:
    """32 bytes that stand for the request: the same in every version, as are the images."""
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


def _facts(request: ImageRequest, digest: bytes) -> list[str]:
    """The lines of the panel above the prompt."""
    width, height = request.size
    first = f"{request.model.name} · {width} x {height} · {digest.hex()[:8]}"
    lines = [" · ".join([first, *request.switches, *_TRANSPARENT[: request.transparent]])]
    if request.references:
        numbered = enumerate((upload.size for upload in request.references), 1)
        lines.append("images " + ", ".join(f"{n}: {w} x {h}" for n, (w, h) in numbered))
    return lines


# A generation: a landscape


def landscape(seed: bytes, size: tuple[int, int]) -> Image.Image:
    """A sky, a sun and ridges before one another, in colours of the seed; RGB of this size.

    Drawn at half the size and enlarged: that is fast, and smooths the edges.
    """
    rng = random.Random(seed)
    small = (max(1, size[0] // 2), max(1, size[1] // 2))
    hue = rng.random()
    image = _sky(rng, hue, small)
    _sun(image, rng, hue)
    for depth in range(4):
        _ridge(image, rng, hue, depth)
    return image.resize(size, Image.Resampling.BICUBIC)


def _colour(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue % 1.0, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(rng: random.Random, hue: float, size: tuple[int, int]) -> Image.Image:
    """A few pixels of neighbouring hues, enlarged to a soft gradient."""
    mesh = Image.new("RGB", (4, 4))
    for y in range(4):
        for x in range(4):
            colour = _colour(hue + rng.uniform(-0.05, 0.05) + 0.04 * y, 0.5 + 0.11 * y, 0.5)
            mesh.putpixel((x, y), colour)
    return mesh.resize(size, Image.Resampling.BICUBIC)


def _sun(image: Image.Image, rng: random.Random, hue: float) -> None:
    side = max(2, int(min(image.size) * rng.uniform(0.8, 1.3)))
    x = int(image.width * rng.uniform(0.15, 0.85)) - side // 2
    y = int(image.height * rng.uniform(0.15, 0.45)) - side // 2
    # Pillow's gradient has 180 at the middle of an edge: there the glow must have ended.
    gradient = Image.radial_gradient("L").point(lambda value: max(0, 180 - value))
    glow = gradient.resize((side, side), Image.Resampling.BICUBIC)
    image.paste(_colour(hue + 0.5, 0.88, 0.9), (x, y), glow)
    core = side // 14
    centre = (x + side // 2, y + side // 2)
    box = (centre[0] - core, centre[1] - core, centre[0] + core, centre[1] + core)
    ImageDraw.Draw(image).ellipse(box, _colour(hue + 0.5, 0.95, 0.9))


def _ridge(image: Image.Image, rng: random.Random, hue: float, depth: int) -> None:
    """One line of hills; the nearer, the lower and the darker. `depth` 0 is the farthest."""
    width, height = image.size
    base = height * (0.5 + 0.13 * depth)
    waves = [
        (height * 0.09 / wave, wave * rng.uniform(0.7, 1.6), rng.uniform(0, math.tau))
        for wave in (1, 2, 5, 11)
    ]
    points = []
    for step in range(129):
        angle = math.tau * step / 128
        rise = sum(high * math.sin(often * angle + shift) for high, often, shift in waves)
        points.append((width * step / 128, base + rise))
    colour = _colour(hue - 0.06 - 0.03 * depth, 0.56 - 0.13 * depth, 0.3)
    ImageDraw.Draw(image).polygon([(0, height), *points, (width, height)], fill=colour)


def _soft_oval(size: tuple[int, int]) -> Image.Image:
    """The alpha of a transparent background: an opaque oval with a soft edge; L of this size."""
    # Pillow's gradient is 0 in the middle and 180 at the middle of an edge.
    oval = Image.radial_gradient("L").point(lambda value: min(255, max(0, OVAL_END - value) * 10))
    return oval.resize(size, Image.Resampling.BICUBIC)


# An edit: the first reference, changed


def _edited(request: ImageRequest, changes: EditChanges, digest: bytes) -> Image.Image:
    """The first reference, cut to the size's aspect and scaled to it, tinted, then as directed."""
    with Image.open(io.BytesIO(request.references[0].data)) as opened:
        image = opened.convert("RGB")
    image = ImageOps.fit(image, request.size, Image.Resampling.BICUBIC)
    tint = Image.new("RGB", image.size, _colour(digest[0] / 256, 0.5, 0.8))
    image = Image.blend(image, tint, changes.tint)
    if changes.recolour != (1.0, 1.0, 1.0):
        table = [min(255, round(value * gain)) for gain in changes.recolour for value in range(256)]
        image = image.point(table)
    return _moved(image, changes)


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
    resampling = nearest if exact else Image.Resampling.BICUBIC
    moved = image.transform(image.size, Image.Transform.AFFINE, affine, resampling)
    opaque = Image.new("L", image.size, 255)
    inside = opaque.transform(image.size, Image.Transform.AFFINE, affine, nearest)
    return Image.composite(moved, image, inside)


# The panel of text


def _stamp(image: Image.Image, facts: list[str], text: str, narrow: bool) -> None:
    """Paint the panel into an RGB image, in place.

    `facts` are lines of their own, `text` is wrapped and cut to what fits. The panel is as wide as
    the image at its bottom, or `narrow` in the middle, so that an edit's border stays as it is.
    """
    width, height = image.size
    unit = max(8, min(width, height) // 32)
    text = text[:MAX_CHARACTERS] + ("…" if len(text) > MAX_CHARACTERS else "")
    text = "".join(character if character.isprintable() else " " for character in text)
    panel_width = int(width * 0.7) if narrow else width - 2 * unit
    inside = panel_width - 2 * unit
    line = int(unit * 1.4)
    most = max(1, int(height * PANEL_HEIGHT - 3.6 * unit) // line)
    plain, font = _latin_font(unit), font_for(text, unit)
    lines = [(plain, found) for fact in facts for found in wrap(fact, plain, inside, 2)][: most - 1]
    lines += [(font, found) for found in wrap(text, font, inside, max(1, most - len(lines)))]
    panel_height = int(3.6 * unit + line * len(lines))
    left = (width - panel_width) // 2
    top = (height - panel_height) // 2 if narrow else height - panel_height - unit
    _shade(image, (left, top, left + panel_width, top + panel_height), unit)
    draw = ImageDraw.Draw(image)
    draw.text((left + unit, top + unit // 2), HEADING, HEADING_COLOUR, _latin_font(unit * 2))
    for index, (used, found) in enumerate(lines):
        corner = (left + unit, top + int(2.9 * unit) + index * line)
        draw.text(corner, found, TEXT_COLOUR, used)


def wrap(text: str, font: Font, width: int, max_lines: int) -> list[str]:
    """Lines of at most `width` pixels; the last ends in "…" where text is left.

    Breaks at white space, and inside what is longer than a line (Chinese, an URL).
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, font) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and text_width(lines[-1] + character, font) > width:
                lines.append("")
            lines[-1] += character
        if len(lines) > max_lines:
            return [*lines[: max_lines - 1], lines[max_lines - 1][:-2] + "…"]
    return lines


def text_width(text: str, font: Font) -> float:
    """Pixels of a line, as the sum of its characters: kerning is left out."""
    return sum(_advance(font, character) for character in text)


@lru_cache(maxsize=4096)
def _advance(font: Font, character: str) -> float:
    # Measuring every candidate line whole makes a long prompt take ten times as long.
    return font.getlength(character)


def font_for(text: str, size: int) -> Font:
    """A font that has the letters of a text, `size` pixels high."""
    latin = max(text, default=" ") <= LAST_LATIN
    return _latin_font(size) if latin else _wide_font(size)


@lru_cache(maxsize=16)
def _latin_font(size: int) -> Font:
    return ImageFont.load_default(size=size)


@lru_cache(maxsize=16)
def _wide_font(size: int) -> Font:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return _latin_font(size)


def _shade(image: Image.Image, box: tuple[int, int, int, int], radius: int) -> None:
    """Darken a rounded box, so that white text on it is readable whatever lies below."""
    part = image.crop(box)
    dark = Image.blend(part, Image.new("RGB", part.size, (10, 12, 20)), 0.72)
    mask = Image.new("L", part.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, part.width - 1, part.height - 1), radius, 255)
    image.paste(dark, box[:2], mask)
