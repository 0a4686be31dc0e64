"""Make everything that the real page has a hand in again, in one go.

    .venv/bin/python tests/browser/make_examples.py [name …]     all, or these example workflows

The blueprints from blueprints.mjs; the example workflows' page format from their API-format twins
and layouts.mjs (and the twins, where a node has new inputs), the core nodes' inputs that tests
compare with, thumbnails and the images that the README shows. Needs a ComfyUI (COMFYUI_PATH),
Chromium and Node; spends nothing. Look at the result.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from mai_image import emulator
from mai_image.demo import browser
from mai_image.demo.client import Client
from mai_image.demo.find import ROOT, ComfyUI, locate
from mai_image.demo.launch import Server
from mai_image.demo.service import environ_for
from PIL import Image, ImageOps

EXAMPLES = ROOT / "example_workflows"
IMAGES = ROOT / "docs" / "images"
CORE_NODES = ROOT / "tests" / "core_nodes.json"

THUMBNAIL = (512, 512)
GAP = 12
"""Pixels between the images of a workflow that saves several."""

LATENCY = 1.0
"""Seconds that the emulator takes, so that the images show a run that took time."""


def main(names: list[str]) -> int:
    """Make it all, or these; 0 when done."""
    comfyui = locate()
    if comfyui is None:
        sys.stderr.write("No ComfyUI found: set COMFYUI_PATH to its folder.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        make(comfyui, Path(folder), names)
    return 0


def make(comfyui: ComfyUI, output: Path, names: list[str]) -> None:
    """Start a ComfyUI that saves to `output`, and make everything, or what is named, with it."""
    options = emulator.Options(latency=LATENCY)
    with (
        emulator.start(options=options) as service,
        Server(
            comfyui,
            output=output,
            packages=ROOT / ".venv" / "comfyui-packages",
            environ=environ_for(service.url),
        ) as server,
    ):
        if not names:
            browser.run("make_blueprints.mjs", server.url)
        browser.run("make_workflows.mjs", server.url, *names)
        every = sorted(path.stem for path in EXAMPLES.glob("*.json"))
        asyncio.run(note_core_nodes(server.url, every))
        names = names or every
        sys.stdout.write(browser.run("make_images.mjs", server.url, str(output), *names))
    for name in names:
        make_thumbnail(output, name)
        keep_image(output, name)


def make_thumbnail(output: Path, name: str) -> None:
    """What the workflow saved, side by side, small, beside it for the Templates dialog."""
    images = []
    for saved in sorted((output / "mai").glob(f"{name}_*.png")):
        with Image.open(saved) as file:
            images.append(ImageOps.contain(file.convert("RGB"), THUMBNAIL))
    height = min(image.height for image in images)
    images = [ImageOps.contain(image, (THUMBNAIL[0], height)) for image in images]
    gaps = GAP * (len(images) - 1)
    small = Image.new("RGB", (sum(image.width for image in images) + gaps, height), "white")
    left = 0
    for image in images:
        small.paste(image, (left, 0))
        left += image.width + GAP
    small = ImageOps.contain(small, THUMBNAIL, Image.Resampling.LANCZOS)
    small.save(EXAMPLES / f"{name}.jpg", quality=85, optimize=True)


def keep_image(output: Path, name: str) -> None:
    """Put the photograph of the graph where the README shows it, if it does."""
    if f"docs/images/{name}.jpg" in (ROOT / "README.md").read_text("utf-8"):
        shutil.copyfile(output / f"{name}.jpg", IMAGES / f"{name}.jpg")


async def note_core_nodes(url: str, names: list[str]) -> None:
    """Keep the inputs and outputs of every core node that the examples use."""
    twins = [json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8")) for name in names]
    types = {node["class_type"] for twin in twins for node in twin.values()}
    async with Client(url) as client:
        info = await client.get("/object_info")
    noted = {name: _facts(info[name]) for name in sorted(types) if not name.startswith("MAI")}
    CORE_NODES.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _facts(info: dict[str, Any]) -> dict[str, Any]:
    """A node as ComfyUI announces it, without texts and without what the server has on disk."""
    inputs = {}
    for kind in ("required", "optional"):
        for name in info["input_order"].get(kind, ()):
            described = info["input"][kind][name]
            inputs[name] = "COMBO" if isinstance(described[0], list) else described[0]
    return {"inputs": inputs, "outputs": list(info["output"])}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
