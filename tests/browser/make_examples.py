"""Make everything that the real page has a hand in again, in one go.

    .venv/bin/python tests/browser/make_examples.py [name …]     all, or these example workflows

The blueprints from blueprints.mjs; the example workflows' page format from their API-format twins
and layouts.mjs (and the twins, where a node has new inputs), the core nodes' inputs that tests
compare with, thumbnails and the images that the README shows, the animated ones too. Needs a
ComfyUI (COMFYUI_PATH), Chromium and Node; spends nothing. Look at the result.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import Any

from mai_image import emulator
from mai_image.demo import browser
from mai_image.demo import graph as workflows
from mai_image.demo.client import ComfyUIClient
from mai_image.demo.find import ROOT, ComfyUI, locate
from mai_image.demo.launch import ComfyUIServer
from mai_image.demo.service import environ_for
from make_help_images import mask_a_part
from PIL import Image, ImageDraw, ImageFont, ImageOps

EXAMPLES = ROOT / "example_workflows"
IMAGES = ROOT / "docs" / "images"
CORE_NODES = ROOT / "tests" / "core_nodes.json"

INPAINT = "Inpaint one object (Azure MAI)"
PHOTOGRAPH = "2"
"""The node of INPAINT that gives the photograph as it was before."""

THUMBNAIL = (512, 512)
HALF = (600, 450)
"""Of the image that shows before and after."""

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
        make(comfyui, Path(folder) / "output", names)
    return 0


def make(comfyui: ComfyUI, output: Path, names: list[str]) -> None:
    """Start a ComfyUI that saves to `output`, and make everything, or what is named, with it."""
    options = emulator.Options(latency=LATENCY)
    masked = output.parent / "photograph.png"
    mask_a_part(EXAMPLES / "Text to 4K (Azure MAI).jpg", masked)
    with (
        emulator.start(options=options) as service,
        ComfyUIServer(
            comfyui,
            output=output,
            packages=ROOT / ".venv" / "comfyui-packages",
            inputs=[masked],
            environ=environ_for(service.url),
        ) as server,
    ):
        if not names:
            browser.run_script("make_blueprints.mjs", server.url)
        browser.run_script("make_workflows.mjs", server.url, *names)
        every = sorted(path.stem for path in EXAMPLES.glob("*.json"))
        asyncio.run(note_core_nodes(server.url, every))
        wanted = names or every
        said = browser.run_script("make_images.mjs", server.url, str(output), *wanted, timeout=900)
        sys.stdout.write(said)
        if not names:
            make_animations(server.url, output, masked.name)
            asyncio.run(make_before_and_after(server))
    for name in wanted:
        make_thumbnail(output, name)
        keep_image(output, name)


def make_thumbnail(output: Path, name: str) -> None:
    """What the workflow saved, small, beside it for the Templates dialog: two as under a slider,
    more in two rows."""
    images = []
    for saved in sorted((output / "mai").glob(f"{prefix_of(name)}*.png")):
        with Image.open(saved) as file:
            images.append(ImageOps.contain(file.convert("RGB"), (1024, 1024)))
    sheet = images[0]
    if len(images) == 2:
        sheet = compared(*images)
    elif len(images) > 2:
        sheet = in_two_rows(images)
    small = ImageOps.contain(sheet, THUMBNAIL, Image.Resampling.LANCZOS)
    small.save(EXAMPLES / f"{name}.jpg", quality=85, optimize=True)


def compared(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images of one size on each other, and the slider that shows half of each."""
    sheet, middle, radius = right.copy(), right.width // 2, right.width // 28
    sheet.paste(left.crop((0, 0, middle, left.height)))
    draw, centre = ImageDraw.Draw(sheet), right.height // 2
    draw.rectangle((middle - 3, 0, middle + 2, right.height), fill="white")
    box = (middle - radius, centre - radius, middle + radius, centre + radius)
    draw.ellipse(box, fill="white")
    for side in (-1, 1):
        tip = (middle + side * radius * 0.7, centre)
        base = [(middle + side * radius * 0.25, centre + part * radius * 0.4) for part in (-1, 1)]
        draw.polygon([tip, *base], fill="black")
    return sheet


def in_two_rows(images: list[Image.Image]) -> Image.Image:
    """Images beside each other, each row as wide as the other."""
    half = len(images) // 2
    rows = [side_by_side(row) for row in (images[:half], images[half:])]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height + GAP for row in rows) - GAP), "white")
    sheet.paste(rows[0])
    sheet.paste(rows[1], (0, rows[0].height + GAP))
    return sheet


def side_by_side(images: list[Image.Image], width: int = 1024) -> Image.Image:
    """Images of one height beside each other, together so wide."""
    shapes = sum(image.width / image.height for image in images)
    height = round((width - GAP * (len(images) - 1)) / shapes)
    row, left = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        resized = image.resize((round(height * image.width / image.height), height))
        row.paste(resized, (left, 0))
        left += resized.width + GAP
    return row


def keep_image(output: Path, name: str) -> None:
    """Put the photograph of the graph where the README shows it, if it does."""
    shown = f"{prefix_of(name)}.jpg"
    if f"docs/images/{shown}" in (ROOT / "README.md").read_text("utf-8"):
        shutil.copyfile(output / f"{name}.jpg", IMAGES / shown)


def prefix_of(name: str) -> str:
    """How all the files begin that a workflow saves: "text_to_4k"."""
    twin = json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8"))
    saves = [node["inputs"] for node in twin.values() if node["class_type"].endswith("SaveImage")]
    if not isinstance(saves[0]["filename_prefix"], str):
        rows = twin[saves[0]["filename_prefix"][0]]["inputs"]["text"]
        return re.findall(r"mai/(\w+)_\{", rows)[0]
    prefixes = sorted(inputs["filename_prefix"] for inputs in saves)
    pairs = zip(prefixes[0], prefixes[-1], strict=False)
    common = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return common.removeprefix("mai/").rstrip("_")


def make_animations(url: str, output: Path, masked: str) -> None:
    """Put the frames that the page gave together, each shown as long as it says."""
    printed = browser.run_script("make_animations.mjs", url, str(output), masked)
    for name, milliseconds in json.loads(printed).items():
        frames = [Image.open(output / f"{name}-{i}.png") for i in range(len(milliseconds))]
        first, *rest = [frame.convert("RGB") for frame in frames]
        file = IMAGES / f"{name}.webp"
        first.save(
            file, save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=80
        )


async def make_before_and_after(server: ComfyUIServer) -> None:
    """The photograph of INPAINT and what became of it, side by side; bought already."""
    save = {"images": [PHOTOGRAPH, 0], "filename_prefix": "before"}
    graph = workflows.load(EXAMPLES / "api" / f"{INPAINT}.json")
    for node in graph.values():
        if node["class_type"].endswith("SaveImage"):
            node["inputs"]["filename_prefix"] = "after"
    async with ComfyUIClient(server.url) as client:
        finished = await client.run(graph | {"before": {"class_type": "SaveImage", "inputs": save}})
    files = sorted(finished.files(), key=lambda file: not file[1].startswith("before"))
    sheet = Image.new("RGB", (2 * HALF[0] + GAP, HALF[1]), "white")
    for index, (subfolder, file) in enumerate(files):
        with Image.open(server.output / subfolder / file) as image:
            half = image.convert("RGB").resize(HALF, Image.Resampling.LANCZOS)
        write(half, ("before", "after: only the masked part")[index])
        sheet.paste(half, (index * (HALF[0] + GAP), 0))
    sheet.save(IMAGES / "before_after.jpg", quality=85, optimize=True)


def write(image: Image.Image, words: str) -> None:
    """Words in the top left corner, on a dark plate."""
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(20)
    left, top, right, bottom = draw.textbbox((20, 16), words, font=font)
    draw.rectangle((left - 8, top - 6, right + 8, bottom + 6), fill="black")
    draw.text((20, 16), words, fill="white", font=font)


async def note_core_nodes(url: str, names: list[str]) -> None:
    """Keep the inputs and outputs of every core node that the examples use."""
    twins = [json.loads((EXAMPLES / "api" / f"{name}.json").read_text("utf-8")) for name in names]
    types = {node["class_type"] for twin in twins for node in twin.values()}
    async with ComfyUIClient(url) as client:
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
