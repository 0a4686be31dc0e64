"""The tables' ratios as bars, drawn by Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .measure import Table

WIDTH, LINE, LEFT, RIGHT = 1100, 26, 430, 90
INK, GREY, BAR, MISS, AIM = "#222222", "#999999", "#2f6fb5", "#c0392b", "#e0a000"


def draw(tables: Sequence[Table], file: Path) -> None:
    """One bar a row: its share of the naive way's time, 1.0 at the right; a line marks the aim."""
    lines = sum(len(table.rows) + 2 for table in tables)
    image = Image.new("RGB", (WIDTH, lines * LINE + LINE), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    unit, y = (WIDTH - LEFT - RIGHT) / 1.2, LINE // 2
    for table in tables:
        pen.text((12, y), f"{table.title} (share of the first way's time)", INK, font)
        y += LINE
        for row in table.rows:
            end = LEFT + min(row.ratio, 1.2) * unit
            pen.text((30, y), row.name, INK, font)
            pen.rectangle((LEFT, y + 3, end, y + LINE - 6), MISS if row.misses else BAR)
            pen.text((end + 8, y), f"{row.ratio:.2f}", GREY, font)
            if row.aim[0] is not None:
                at = LEFT + row.aim[0] * unit
                pen.line((at, y, at, y + LINE - 3), AIM, 3)
            y += LINE
        y += LINE
    image.save(file)
