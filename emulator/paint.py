"""Images: a painted landscape for a generation, the changed first reference for an edit.

The same request gives the same bytes: everything is drawn from a hash of it (see `Painting`).
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageOps, PngImagePlugin

from .directives import Edits
from .lettering import stamp

HEADING = "EMULATED"
PNG_LEVEL = 1
"""Four times as fast as Pillow's default of 6 and a tenth larger."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Painting:
    """All that an image depends on. `size` is (width, height) in pixels, `references` are whole
    files in their order (none for a generation), `nonce` tells equal requests apart."""

    model: str
    prompt: str
    size: tuple[int, int]
    options: Sequence[str] = ()
    references: Sequence[bytes] = field(default=(), repr=False)
    reference_sizes: Sequence[tuple[int, int]] = ()
    edits: Edits = field(default_factory=Edits)
    nonce: str = ""

    def digest(self) -> bytes:
        """32 bytes that stand for the request."""
        facts = [
            self.model,
            self.prompt,
            self.size,
            list(self.options),
            [hashlib.sha256(data).hexdigest() for data in self.references],
            repr(self.edits),
            self.nonce,
        ]
        return hashlib.sha256(json.dumps(facts).encode("ascii")).digest()


def paint(painting: Painting) -> Image.Image:
    """The image, RGB, with its mark. Raises OSError where the first reference can't be read."""
    digest = painting.digest()
    if painting.references:
        image = _edited(painting, digest)
    else:
        image = landscape(digest, painting.size)
    if painting.edits.mark == "panel":
        place = "centre" if painting.references else "bottom"
        stamp(image, HEADING, _facts(painting, digest), painting.prompt, place)
    return image


def png(image: Image.Image) -> bytes:
    """The file, with a text chunk that says where it comes from."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Software", "MAI Image emulator")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=note)
    return buffer.getvalue()


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


def _facts(painting: Painting, digest: bytes) -> list[str]:
    width, height = painting.size
    first = f"{painting.model} · {width} x {height} · {digest.hex()[:8]}"
    lines = [" · ".join([first, *painting.options])]
    if painting.reference_sizes:
        sizes = (f"{n}: {w} x {h}" for n, (w, h) in enumerate(painting.reference_sizes, 1))
        lines.append("images " + ", ".join(sizes))
    return lines


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
    image.paste(
        _colour(hue + 0.5, 0.88, 0.9), (x, y), glow.resize((side, side), Image.Resampling.BICUBIC)
    )
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
        turn = math.tau * step / 128
        lift = sum(high * math.sin(often * turn + shift) for high, often, shift in waves)
        points.append((width * step / 128, base + lift))
    colour = _colour(hue - 0.06 - 0.03 * depth, 0.56 - 0.13 * depth, 0.3)
    ImageDraw.Draw(image).polygon([(0, height), *points, (width, height)], fill=colour)


def _edited(painting: Painting, digest: bytes) -> Image.Image:
    """The first reference, cut to the size's aspect and scaled to it, tinted, then as asked."""
    edits = painting.edits
    with Image.open(io.BytesIO(painting.references[0])) as opened:
        image = opened.convert("RGB")
    image = ImageOps.fit(image, painting.size, Image.Resampling.BICUBIC)
    tint = Image.new("RGB", image.size, _colour(digest[0] / 256, 0.5, 0.8))
    image = Image.blend(image, tint, edits.tint)
    if edits.recolour != (1.0, 1.0, 1.0):
        table = [min(255, round(value * gain)) for gain in edits.recolour for value in range(256)]
        image = image.point(table)
    return _moved(image, edits)


def _moved(image: Image.Image, edits: Edits) -> Image.Image:
    """Shifted and rescaled around the centre; what comes in at the border stays as it was."""
    dx, dy = edits.shift
    if (dx, dy, edits.rescale) == (0.0, 0.0, 1.0):
        return image
    scale = 1 / edits.rescale
    x = image.width / 2 * (1 - scale) - dx * scale
    y = image.height / 2 * (1 - scale) - dy * scale
    affine = (scale, 0.0, x, 0.0, scale, y)
    whole = scale == 1 and dx.is_integer() and dy.is_integer()
    smooth = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    way = Image.Transform.AFFINE
    moved = image.transform(image.size, way, affine, smooth)
    inside = Image.new("L", image.size, 255).transform(
        image.size, way, affine, Image.Resampling.NEAREST
    )
    return Image.composite(moved, image, inside)
