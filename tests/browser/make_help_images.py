"""Make the images of the nodes' help again, from the real page.

    .venv/bin/python tests/browser/make_help_images.py [name …]     all, or these

Needs a ComfyUI (COMFYUI_PATH), Chromium and Node; spends nothing. Look at the result.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mai_image import emulator
from mai_image.demo import browser
from mai_image.demo.find import ROOT, ComfyUI, locate
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for
from PIL import Image, ImageDraw, ImageFilter

IMAGES = ROOT / "web" / "docs" / "images"
PHOTOGRAPH = ROOT / "example_workflows" / "Text to 4K (Azure MAI).jpg"
"""Stands in for the user's own."""


def main() -> int:
    """Make them all; 0 when done."""
    comfyui = locate()
    if comfyui is None:
        sys.stderr.write("No ComfyUI found: set COMFYUI_PATH to its folder.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        make(comfyui, Path(folder))
    return 0


def make(comfyui: ComfyUI, folder: Path) -> None:
    """Run the graphs in a ComfyUI that keeps all its files in `folder`."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    masked = mask_a_part(PHOTOGRAPH, folder / "photograph.png")
    with (
        emulator.start(options=emulator.Options(latency=1.0)) as service,
        ComfyUIServer(
            comfyui,
            output=folder / "output",
            packages=ROOT / ".venv" / "comfyui-packages",
            inputs=[masked],
            environ=environ_for(service.url),
        ) as server,
    ):
        arguments = (server.url, str(IMAGES), masked.name, *sys.argv[1:])
        sys.stdout.write(browser.run_script("help_images.mjs", *arguments))


def mask_a_part(photograph: Path, file: Path) -> Path:
    """An image whose alpha has a soft hole, as ComfyUI's mask editor leaves it."""
    with Image.open(photograph) as opened:
        image = opened.convert("RGBA").resize((1920, 1080), Image.Resampling.LANCZOS)
    alpha = Image.new("L", image.size, 255)
    ImageDraw.Draw(alpha).ellipse((1080, 140, 1440, 560), fill=0)
    image.putalpha(alpha.filter(ImageFilter.GaussianBlur(6)))
    image.save(file)
    return file


if __name__ == "__main__":
    sys.exit(main())
