"""Alpha as a MASK: 1 where an image is transparent, as Load Image gives it.

`MASK_OF_ALPHA` is exact: core's Join Image with Alpha and Save Image make the file's own 8-bit
alpha of it again. Plain 1 - alpha / 255 in float32 loses a level at 95 of the 256 values, since
Save Image cuts 255 x (1 - mask) down to a whole number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]


def _mask_of_alpha() -> Floats:
    """The MASK value [256] of each alpha: the nearest float32, or the next smaller one where the
    nearest would be saved a level too low. 0 and 1 are exact."""
    one, top = np.float32(1), np.float32(255)
    alpha = np.arange(256, dtype=np.float32)
    nearest = one - alpha / top
    saved = np.trunc(top * (one - nearest))
    table: Floats = np.where(saved == alpha, nearest, np.nextafter(nearest, np.float32(0)))
    return table


MASK_OF_ALPHA = _mask_of_alpha()


def write_mask(alpha: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], out: Tensor) -> None:
    """Write the MASK of 8-bit alpha [H,W] into `out` [H,W], float32."""
    # "clip" writes straight into `out`; the default mode goes through a copy.
    np.take(MASK_OF_ALPHA, alpha, out=out.numpy(), mode="clip")


def rounded_mask(mask: Tensor) -> Tensor:
    """A MASK [...] of any values in the nearest of those that 8-bit alpha has."""
    alpha = torch.sub(1, mask).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
    out = torch.empty(mask.shape, dtype=torch.float32)
    write_mask(alpha.numpy(), out)
    return out
