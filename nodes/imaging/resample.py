"""Pieces of images at other sizes, cut out to a fraction of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SUPPORT = 2
"""Pixels on either side that bicubic looks at; more, by the factor, where it shrinks."""

WORKERS = 2
"""Channels scaled at once: each takes a copy of its plane."""

THREADED = 1 << 20
"""Pixels from which on that is worth a thread."""

FAINTEST = 0.5 / 255
"""Opacity below which a pixel's own colour is nobody's to see, and too little to be divided by."""


class Window(NamedTuple):
    """A part of an image, in its pixels and fractions of them; it may reach beyond the border."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, image: Tensor) -> Window:
        """All of an image [H,W,…]."""
        return cls(0, 0, image.shape[1], image.shape[0])

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def part(self, rect: Sequence[float], height: int, width: int) -> Window:
        """Where left, top, right and bottom of an image [height,width,…] lie that fills this."""
        across, down = self.width / width, self.height / height
        left, top, right, bottom = rect
        return Window(
            self.left + left * across,
            self.top + top * down,
            self.left + right * across,
            self.top + bottom * down,
        )


def scaled(image: Tensor, height: int, width: int, mode: str = "bilinear") -> Tensor:
    """An image [H,W,C] as [height,width,C], by torch: fast, for what needn't be sharp."""
    if image.shape[:2] == (height, width):
        return image
    planes = F.interpolate(image.permute(2, 0, 1)[None], size=(height, width), mode=mode)
    return planes[0].permute(1, 2, 0)


def averaged(image: Tensor, size: int) -> Tensor:
    """The mean of size x size pixels of [H,W,C]; all of it is scaled, so no pixel is left out."""
    height, width = (max(1, round(side / size)) for side in image.shape[:2])
    return scaled(image, height, width, "area")


def rgb(image: Tensor) -> Tensor:
    """An image [H,W,C] as a view with 3 channels: grey is repeated, alpha left out."""
    return image.expand(-1, -1, 3) if image.shape[-1] == 1 else image[..., :3]


def clamped(image: Tensor) -> Tensor:
    """A float32 copy in main memory with values in 0..1: NaN and -inf are 0, +inf is 1."""
    unit = torch.empty(image.shape, dtype=torch.float32).copy_(image.detach())
    return torch.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0, out=unit).clamp_(0, 1)


def resample(
    image: Tensor, window: Window, height: int, width: int, *, clamp: bool = False
) -> Tensor:
    """A window of an image [H,W,C] as float32 [height,width,C], bicubic with antialiasing.

    Beyond the border the outermost pixels are repeated. Values may overshoot. The image must not
    hold NaN, unless `clamp` says that its values are brought to 0..1 first. A window of complete
    pixels that keeps its size is copied, not filtered.
    """
    result = torch.empty((height, width, image.shape[-1]), dtype=torch.float32)
    exact = _is_copy(window, height, width)
    rows, columns = image.shape[:2]
    left, right = _reach(window.left, window.right, columns, 0 if exact else width)
    top, bottom = _reach(window.top, window.bottom, rows, 0 if exact else height)
    hull = _cut(_cut(image, 0, top, bottom), 1, left, right)
    box = (window.left - left, window.top - top, window.right - left, window.bottom - top)
    planes = result.numpy()

    def fill(channel: int) -> None:
        part = clamped(hull[..., channel]) if clamp else hull[..., channel]
        plane = np.ascontiguousarray(part.numpy(), dtype=np.float32)
        if not exact:
            image = Image.fromarray(plane)
            plane = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box))
        planes[..., channel] = plane

    channels = range(image.shape[-1])
    if max(height * width, hull.shape[0] * hull.shape[1]) < THREADED:
        for channel in channels:
            fill(channel)
    else:
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(fill, channels))
    return result


def resample_visible(
    image: Tensor, mask: Tensor | None, window: Window, height: int, width: int
) -> Tensor:
    """As `resample` for an image [H,W,3] in 0..1 with a MASK [H,W]: every pixel counts as far as it
    is visible, so that colours hidden under transparent parts don't show at their edges."""
    plain = resample(image, window, height, width)
    if mask is None or not mask.any() or _is_copy(window, height, width):
        return plain
    visible = (1 - mask).unsqueeze(-1)
    share = resample(visible, window, height, width)
    seen = resample(image * visible, window, height, width)
    return torch.where(share > FAINTEST, seen / share.clamp_min(FAINTEST), plain).clamp_(0, 1)


def resample_mask(mask: Tensor, window: Window, height: int, width: int) -> Tensor:
    """A window of a MASK [H,W] at another size [height,width], in 0..1."""
    return resample(mask.unsqueeze(-1), window, height, width)[..., 0].clamp_(0, 1)


def covering(image: Tensor, height: int, width: int) -> Window:
    """The centre of an image [h,w,...] that has the ratio of [height,width]."""
    rows, columns = image.shape[:2]
    scale = min(columns / width, rows / height)
    left, top = (columns - width * scale) / 2, (rows - height * scale) / 2
    return Window(left, top, columns - left, rows - top)


def cover(image: Tensor, height: int, width: int) -> Tensor:
    """An image [h,w,C] with its ratio kept, scaled to cover [height,width,C], cut at the centre.

    Values are brought to 0..1, but may overshoot a little.
    """
    return resample(image, covering(image, height, width), height, width, clamp=True)


def _is_copy(window: Window, height: int, width: int) -> bool:
    """Whether the window is of complete pixels and keeps its size."""
    whole = all(edge == int(edge) for edge in window)
    return whole and (window.height, window.width) == (height, width)


def _reach(start: float, end: float, size: int, length: int) -> tuple[int, int]:
    """The pixels that count when start to end becomes `length` pixels (0: is only copied).

    Beyond the `size` of the image only what the window itself covers: the filter ends there.
    """
    margin = SUPPORT * math.ceil(max(1.0, (end - start) / length)) + 1 if length else 0
    first, last = math.floor(start), math.ceil(end)
    return max(first - margin, min(first, 0)), min(last + margin, max(last, size))


def _cut(image: Tensor, dim: int, start: int, end: int) -> Tensor:
    """Pixels start to end along one axis, repeating the first and last beyond the border."""
    size = image.shape[dim]
    first, last = min(max(start, 0), size - 1), max(min(end, size), 1)
    part = image.narrow(dim, first, last - first)
    if (first, last) == (start, end):
        return part
    before = part.narrow(dim, 0, 1).repeat_interleave(max(0, first - start), dim)
    after = part.narrow(dim, last - first - 1, 1).repeat_interleave(max(0, end - last), dim)
    return torch.cat((before, part, after), dim)
