"""How much detail of a 12 megapixel photograph a masked edit keeps, by how large edits come back.

    python -m mai_image.benchmarks.edit_detail

The edit changes nothing but the size and, so that it counts as one, each level by 3 of 255: what
is sent comes back shrunk to 1, 2.4 or 4 megapixels, in 8 bits. Outside the mask nothing is lost;
inside it PSNR says how close the result is to the input. There are no photographs in the
repository: these are drawn with a photograph's statistics (discs of all sizes that hide each
other, called "dead leaves", and a sensor's noise).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from . import pack

pack.ready()

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..mai.models import CATALOGUE
from ..nodes.imaging.codec import shrunk_size
from ..nodes.imaging.masked_edit import MaskSettings, finish_image, plan_image
from ..nodes.imaging.resample import Window, resample

WIDTH, HEIGHT = 4000, 3000
MODEL = CATALOGUE["MAI-Image-2.7"]
CAME = {"1 MP": 1 << 20, "2.4 MP": 2_359_296, "4 MP": 1 << 22}
OBJECTS = {"500 x 400": (500, 400), "1200 x 1000": (1200, 1000), "2400 x 1800": (2400, 1800)}
"""Width and height of what is masked, in the middle."""


def photograph(seed: int) -> Tensor:
    """Leaves [H,W,3]: discs whose radii follow r^-3, smooth or with fine texture, and noise."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (WIDTH, HEIGHT), (90, 100, 110))
    draw = ImageDraw.Draw(image)
    for radius in sorted(12 / np.sqrt(random.uniform(1e-4, 1, 40_000)), reverse=True):
        x, y = random.uniform(0, WIDTH), random.uniform(0, HEIGHT)
        colour = tuple(int(c) for c in random.normal(120, 45, 3).clip(0, 255))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    pixels = torch.from_numpy(np.array(image)).float() / 255
    grain = torch.from_numpy(random.normal(0, 0.012, (HEIGHT, WIDTH, 1)).astype(np.float32))
    return (pixels + grain).clamp_(0, 1)


def came_back(crop: Tensor, pixels: int) -> Tensor:
    """The crop [h,w,3] at the size of an edit that comes back, never enlarged, in 8 bits."""
    height, width = shrunk_size(crop.shape[0], crop.shape[1], pixels)
    small = resample(crop, Window.of(crop), height, width)
    return small.mul_(255).round_().add_(3).clamp_(0, 255).div_(255)


def psnr(one: Tensor, other: Tensor) -> float:
    """Decibels."""
    return -10 * math.log10(max(1e-12, float((one - other).square().mean())))


def detail_kept(image: Tensor, size: tuple[int, int], pixels: int) -> float:
    """PSNR inside the mask of an edit that comes back at so many pixels and changes nothing."""
    width, height = size
    left, top = (WIDTH - width) // 2, (HEIGHT - height) // 2
    inside = (slice(top, top + height), slice(left, left + width))
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[inside] = 1
    plan = plan_image(image, mask, MODEL, MaskSettings())
    out = torch.empty_like(image)
    finish_image(plan, [came_back(crop, pixels) for crop in plan.crops], out)
    return psnr(out[inside], image[inside])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--photographs", type=int, default=2)
    images = [photograph(seed) for seed in range(parser.parse_args(argv).photographs)]
    print(f"PSNR in dB inside the mask, {WIDTH} x {HEIGHT}, mean of {len(images)}")
    print(f"{'mask':14}" + "".join(f"{name:>9}" for name in CAME))
    for name, size in OBJECTS.items():
        found = [
            sum(detail_kept(image, size, pixels) for image in images) / len(images)
            for pixels in CAME.values()
        ]
        print(f"{name:14}" + "".join(f"{value:9.1f}" for value in found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
