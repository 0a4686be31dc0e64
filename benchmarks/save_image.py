"""MAI Save Image's PNG beside core's Save Image: the time from IMAGE to file, and its size.

    python3 tasks.py bench save_image [--side 2048] [--rounds 5]

Both make the bytes of the same image, from the tensor on; nothing is written to a disk. Images are
a scene of the emulator's (flat), the README's photograph enlarged (smooth), the same with film
grain, and noise. A ratio is the median over the rounds, each of which runs both ways in turn. Last,
50 images of 4 megapixels go through the node's own work in threads while an event loop looks every
millisecond how late it is.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from . import pack

pack.ready()

from ..emulator import scenes
from ..mai.formats import GENERATED, Mark
from ..nodes.imaging.file_writer import FileForm, Said, encode_file, saved_levels

ROOT = Path(__file__).parent.parent
PHOTOGRAPH = ROOT / "docs" / "images" / "text_to_4k.jpg"
GRAIN = 3.0
"""Standard deviation in levels, as of a photograph at ISO 800."""

Levels = npt.NDArray[np.uint8]

SAID = Said(Mark(GENERATED, "MAI-Image-2.7", "2.7", "a lighthouse"), {"prompt": "{}"})


PNG = FileForm("png")


def images(side: int) -> dict[str, Levels]:
    """Name -> pixels [side,side,3]."""
    random = np.random.default_rng(7)
    flat = np.asarray(scenes.scene(bytes(32), bytes(32), (side, side)).convert("RGB"))
    with Image.open(PHOTOGRAPH) as opened:
        smooth = np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
    grain = np.clip(smooth + random.normal(0, GRAIN, smooth.shape), 0, 255).astype(np.uint8)
    noise = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    return {"flat": flat, "smooth": smooth, "grain": grain, "noise": noise}


def as_core_saves(image: torch.Tensor) -> bytes:
    """What Save Image of ComfyUI 0.28.3 does with [H,W,3]."""
    scaled = 255.0 * image.cpu().numpy()
    buffer = io.BytesIO()
    picture = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def as_we_save(image: torch.Tensor, form: FileForm = PNG) -> bytes:
    """What MAI Save Image does with it."""
    return encode_file(saved_levels(image, None, form), form, SAID)


def timed(work: Callable[[], bytes]) -> tuple[float, int]:
    """Seconds, and the bytes that came."""
    start = time.perf_counter()
    size = len(work())
    return time.perf_counter() - start, size


def compare(name: str, levels: Levels, rounds: int) -> None:
    image = torch.from_numpy(levels.astype(np.float32) / 255)
    times, sizes = [], (0, 1)
    for _ in range(rounds):
        core, core_size = timed(lambda: as_core_saves(image))
        ours, our_size = timed(lambda: as_we_save(image))
        times.append(ours / core)
        sizes = (our_size, core_size)
    print(
        f"{name:7} time {statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f}), "
        f"size {sizes[0] / sizes[1]:.3f} of {sizes[1] / 1e6:.2f} MB"
    )


async def held(form: FileForm, count: int, image: torch.Tensor) -> float:
    """Seconds that the event loop was held at most while `count` images are encoded."""
    worst, running = 0.0, True

    async def watch() -> None:
        nonlocal worst
        while running:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - start - 0.001)

    watching = asyncio.create_task(watch())
    for _ in range(count):
        await asyncio.to_thread(as_we_save, image, form)
    running = False
    await watching
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=50)
    options = parser.parse_args()
    for name, levels in images(options.side).items():
        compare(name, levels, options.rounds)
    image = torch.from_numpy(images(2048)["grain"].astype(np.float32) / 255)
    idle = asyncio.run(held_idle())
    print(f"the loop alone is late by {idle * 1000:.0f} ms at most")
    for name in ("png", "jpeg", "webp"):
        count = options.images if name == "png" else max(1, options.images // 10)
        worst = asyncio.run(held(FileForm(name), count, image))
        print(f"{count} {name} of 4 MP hold the loop for {worst * 1000:.0f} ms at most")


async def held_idle(seconds: float = 5.0) -> float:
    """How late the loop is on this machine with nothing else in this process."""
    worst, end = 0.0, time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - start - 0.001)
    return worst


if __name__ == "__main__":
    main()
