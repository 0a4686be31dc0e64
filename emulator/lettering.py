"""The panel of text that marks an image as emulated."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MAX_CHARACTERS = 2000
"""More would not fit into any panel: the rest of a long prompt is not even measured."""

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
"""What Linux, Windows and macOS have for other scripts, the widest first."""

PANEL_HEIGHT = 0.46
"""The panel's share of the image's height, at most."""


class Face:
    """A font at a size in pixels, for one text."""

    def __init__(self, size: int, text: str) -> None:
        self.font = _own_font(size) if max(text, default=" ") <= LAST_LATIN else _wide_font(size)
        self._advances: dict[str, float] = {}

    def drawable(self, text: str) -> str:
        """The text without what would make the font fail (Pillow's bitmap font is Latin-1)."""
        if isinstance(self.font, ImageFont.FreeTypeFont):
            return text
        return text.encode("latin-1", "replace").decode("latin-1")

    def width(self, text: str) -> float:
        """Pixels of a line, as the sum of its characters: kerning is left out."""
        for character in text:
            if character not in self._advances:
                self._advances[character] = self.font.getlength(self.drawable(character))
        return sum(self._advances[character] for character in text)


def stamp(image: Image.Image, heading: str, facts: list[str], text: str, place: str) -> None:
    """Paint the panel into an RGB image, in place.

    `facts` are lines of their own, `text` is wrapped and cut to what fits. `place` is "bottom" (the
    whole width) or "centre" (a narrower panel, so that an edit's border stays as it is).
    """
    width, height = image.size
    unit = max(8, min(width, height) // 32)
    text = printable(text[:MAX_CHARACTERS]) + ("…" if len(text) > MAX_CHARACTERS else "")
    panel_width = width - 2 * unit if place == "bottom" else int(width * 0.7)
    inside = panel_width - 2 * unit
    line = int(unit * 1.4)
    room = max(1, int(height * PANEL_HEIGHT - 3.6 * unit) // line)
    plain, face = Face(unit, ""), Face(unit, text)
    lines = [(plain, words) for fact in facts for words in wrap(fact, plain, inside, 2)][: room - 1]
    lines += [(face, words) for words in wrap(text, face, inside, max(1, room - len(lines)))]
    panel_height = int(3.6 * unit + line * len(lines))
    left = (width - panel_width) // 2
    top = height - panel_height - unit if place == "bottom" else (height - panel_height) // 2
    _shade(image, (left, top, left + panel_width, top + panel_height), unit)
    draw = ImageDraw.Draw(image)
    draw.text((left + unit, top + unit // 2), heading, HEADING_COLOUR, Face(unit * 2, "").font)
    for index, (used, words) in enumerate(lines):
        corner = (left + unit, top + int(2.9 * unit) + index * line)
        draw.text(corner, used.drawable(words), TEXT_COLOUR, used.font)


def wrap(text: str, face: Face, width: int, max_lines: int) -> list[str]:
    """Lines of at most `width` pixels; the last ends in "…" where text is left.

    Breaks at white space, and inside what is longer than a line (Chinese, an URL).
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if face.width(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and face.width(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    if len(lines) > max_lines:
        lines = lines[:max_lines]
        lines[-1] = lines[-1][:-2] + "…"
    return lines


def printable(text: str) -> str:
    """The text with a space for each character that can't be drawn (controls, lone surrogates)."""
    return "".join(character if character.isprintable() else " " for character in text)


@lru_cache(maxsize=16)
def _own_font(size: int) -> Font:
    try:
        return ImageFont.load_default(size=size)
    except ImportError:
        return ImageFont.load_default()


@lru_cache(maxsize=16)
def _wide_font(size: int) -> Font:
    for name in WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except (OSError, ImportError):
            continue
    return _own_font(size)


def _shade(image: Image.Image, box: tuple[int, int, int, int], radius: int) -> None:
    """Darken a rounded box, so that white text on it is readable whatever lies below."""
    part = image.crop(box)
    dark = Image.blend(part, Image.new("RGB", part.size, (10, 12, 20)), 0.72)
    mask = Image.new("L", part.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, part.width - 1, part.height - 1), radius, 255)
    image.paste(dark, box[:2], mask)
