"""From an IMAGE's floats to 8 bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STRIP_PIXELS = 1 << 16
"""Pixels converted at a time: their 0.8 MB stay in a core's cache through all steps, and a large
image needs no second copy in float32."""


def to_levels(image: Tensor) -> Tensor:
    """[H,W,C] of floats, uint8 or bool to a new uint8 [H,W,1 or 3] in main memory.

    Floats are cut to 0..1 (NaN and -inf are 0, +inf is 1) and rounded to the nearest of 256 levels;
    half floats are widened first. By numpy, in one thread: 16 megapixels take 60 to 110 ms. torch's
    two threads take 50 ms on an idle machine, but 220 to 650 ms on one with as much other work.
    """
    colours = image[..., :3].detach()
    height, width, channels = colours.shape
    levels = np.empty((height, width, channels), np.uint8)
    step = max(1, STRIP_PIXELS // width)
    kind = np.float64 if colours.dtype == torch.float64 else np.float32
    scratch = np.empty((min(step, height), width, channels), kind)
    with np.errstate(all="ignore"):
        for top in range(0, height, step):
            strip = colours[top : top + step].cpu()
            if strip.dtype == torch.uint8:
                levels[top : top + step] = strip.numpy()
                continue
            wide = strip if strip.dtype in (torch.float32, torch.float64) else strip.float()
            unit = scratch[: len(wide)]
            np.multiply(wide.numpy(), 255, out=unit)
            np.fmax(unit, 0, out=unit)  # of NaN and 0 it is 0
            np.minimum(unit, 255, out=unit)
            np.rint(unit, out=unit)
            np.copyto(levels[top : top + step], unit, casting="unsafe")
    return torch.from_numpy(levels)
