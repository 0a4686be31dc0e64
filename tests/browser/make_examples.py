"""Make everything that the real page has a hand in again, in one go.

    .venv/bin/python tests/browser/make_examples.py

The example workflows' page format from their API-format twins and layouts.mjs (and the twins, where
a node has new inputs), the core nodes' inputs that tests compare with, thumbnails and the README's
pictures. Needs a ComfyUI (COMFYUI_PATH), Chromium and Node; spends nothing. Look at the result.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from mai_image import emulator
from mai_image.demo.client import Client
from mai_image.demo.find import ROOT, ComfyUI, locate
from mai_image.demo.launch import Server
from mai_image.demo.service import environ_for
from PIL import Image

sys.path.insert(0, str(ROOT / "tests" / "support"))
import browser_tools

EXAMPLES = ROOT / "example_workflows"
PICTURES = ROOT / "docs" / "images"
CORE_NODES = ROOT / "tests" / "core_nodes.json"

THUMBNAIL = (512, 512)
LATENCY = 1.0
"""Seconds that the emulator takes, so that the pictures show a run that took time."""


def main() -> int:
    """Make it all; 0 when done."""
    comfyui = locate()
    if comfyui is None:
        sys.stderr.write("No ComfyUI found: set COMFYUI_PATH to its folder.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        make(comfyui, Path(folder))
    return 0


def make(comfyui: ComfyUI, output: Path) -> None:
    """Start a ComfyUI that saves to `output`, and make everything with it."""
    PICTURES.mkdir(parents=True, exist_ok=True)
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
        browser_tools.run("make_workflows.mjs", server.url)
        names = sorted(path.stem for path in EXAMPLES.glob("*.json"))
        asyncio.run(note_core_nodes(server.url, names))
        sys.stdout.write(browser_tools.run("make_pictures.mjs", server.url, str(PICTURES), *names))
        for name in names:
            make_thumbnail(output, name)


def make_thumbnail(output: Path, name: str) -> None:
    """The picture that the workflow saved, small, beside it for the Templates dialog."""
    (saved,) = (output / "mai").glob(f"{name}_*.png")
    with Image.open(saved) as image:
        small = image.convert("RGB")
    small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    small.save(EXAMPLES / f"{name}.jpg", quality=85, optimize=True)


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
            told = info["input"][kind][name]
            inputs[name] = "COMBO" if isinstance(told[0], list) else told[0]
    return {"inputs": inputs, "outputs": list(info["output"])}


if __name__ == "__main__":
    sys.exit(main())
