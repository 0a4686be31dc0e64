"""How far a returned image has moved from what was sent, measured in the ring around the mask.

Images here are float32 arrays [H,W]: the luma of the inner part of the sent image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .least_squares import smallest_errors, trimmed_fit
from .resample import Window, averaged, resample

Plane = npt.NDArray[np.float32]

SEARCH = 64
"""Pixels of the sent image up to which a shift is looked for."""

MAX_SHIFT = 24.0
"""Pixels of the sent image up to which a shift is corrected: 2 % of 1024. What moved more was
composed anew."""

MAX_ZOOM = 0.06
"""Up to 6 % larger or smaller is corrected."""

GAIN = 0.9
"""Another window than the first must bring the difference in the ring below this share."""

MOVE_GAIN = 0.75
"""A move must bring it below this share: a true one does far better, an accidental one rarely."""

SAMPLES = 30_000
"""Pixels of the ring that an estimate looks at; more don't make it better."""

ONE_LEVEL = 1 / 255
"""A smaller difference than one level of 8 bits needs no correction."""

RIDGE = 1e-6
"""Pull towards no change, as a share of the design's mean square: enough for what a flat ring
doesn't determine."""

LEVELS = (4, 2, 1)
"""Coarse to fine: the ring is looked at in pixels of this size, one after the other."""

BORDER = 48
"""Pixels added around the edit once, so that looking a little beyond it costs nothing each time."""

HALVED = 512
"""From this side up the images are looked at in half size: a quarter of the time, and shifts
still come out to a twentieth of a pixel."""


@dataclass(frozen=True)
class Move:
    """Content lies `x`, `y` pixels of the sent image further right and down, and is enlarged by
    1 + `zoom` about the middle."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 0.0

    def applied(self, window: Window, height: int, width: int) -> Window:
        """The window in which the content lies that should be in `window`.

        `height` and `width` are the pixels of the sent image that the window stands for.
        """
        sx, sy = window.width / width, window.height / height
        x = (window.left + window.right) / 2 + self.x * sx
        y = (window.top + window.bottom) / 2 + self.y * sy
        half_x, half_y = window.width / 2 * (1 + self.zoom), window.height / 2 * (1 + self.zoom)
        return Window(x - half_x, y - half_y, x + half_x, y + half_y)

    @property
    def small(self) -> bool:
        """Whether it is a move that is corrected."""
        return math.hypot(self.x, self.y) <= MAX_SHIFT and abs(self.zoom) <= MAX_ZOOM


def luma(image: Tensor) -> Tensor:
    """[H,W,3] to [H,W,1], weights of ITU-R BT.601."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    return (image @ weights).unsqueeze(-1)


def find_move(
    sent: Plane, edited: Tensor, window: Window, ring: npt.NDArray[np.bool_]
) -> tuple[Move, float]:
    """The move that brings a window of an edited image [h,w,1] onto what was sent, and the mean
    difference (0..1) that it leaves in the trusted part of the ring.

    A shift is found by phase correlation (Kuglin and Hines 1975), then shift and zoom are refined
    by least squares on the gradients (Lucas and Kanade 1981), coarse to fine, with outliers left
    out and brightness and contrast free. No move is found unless it makes things clearly better.
    """
    size = 2 if min(sent.shape) >= HALVED else 1
    height, width = (max(1, round(side / size)) for side in edited.shape[:2])
    right, bottom = width + BORDER, height + BORDER
    bordered = Window.of(edited).part((-BORDER, -BORDER, right, bottom), height, width)
    search = _Search(
        _pooled(sent, size),
        resample(edited, bordered, height + 2 * BORDER, width + 2 * BORDER),
        Window(BORDER, BORDER, right, bottom).part(window, *edited.shape[:2]),
        _pooled(ring.astype(np.float32), size),
    )
    move, difference = search.best_move()
    return Move(move.x * size, move.y * size, move.zoom), difference


class _Search:
    """What was sent and the ring, at every level of the search."""

    def __init__(self, sent: Plane, edited: Tensor, window: Window, ring: Plane) -> None:
        self._sent, self._edited, self._window, self._ring = sent, edited, window, ring
        self._levels = {}
        for size in LEVELS:
            share = _pooled(ring, size).copy()
            share[[0, -1]] = share[:, [0, -1]] = 0
            rows, columns = np.nonzero(share > 0.999)
            step = max(1, len(rows) // SAMPLES)
            self._levels[size] = _pooled(sent, size), rows[::step], columns[::step]

    def best_move(self) -> tuple[Move, float]:
        """The best move, if it is clearly better than none."""
        unmoved = self._difference(Move())
        if unmoved < ONE_LEVEL:
            return Move(), unmoved
        shift = _phase_shift(self._sent, self._moved(Move(), self._sent.shape), self._ring)
        moves = [self._refine(start, LEVELS[:2]) for start in {Move(), shift}]
        best = self._refine(min(moves, key=self._difference), LEVELS[2:])
        difference = self._difference(best)
        if difference < MOVE_GAIN * unmoved:
            return best, difference
        return Move(), unmoved

    def _refine(self, move: Move, sizes: tuple[int, ...]) -> Move:
        """The move after a few steps at each of these pixel sizes."""
        for size in sizes:
            if len(self._levels[size][1]) < 64:
                continue
            for _ in range(6):
                x, y, zoom = self._step(move, size)
                move = Move(move.x + x, move.y + y, (1 + move.zoom) * (1 + zoom) - 1)
                if math.hypot(x, y) + abs(zoom) * max(self._sent.shape) / 2 < 0.02 * size:
                    break
            if abs(move.zoom) > 2 * MAX_ZOOM or math.hypot(move.x, move.y) > 2 * SEARCH:
                return Move()
        return move

    def _difference(self, move: Move) -> float:
        """The mean difference of the ring's trusted part, brightness and contrast matched."""
        target, rows, columns = self._levels[1]
        if len(rows) < 16:
            return 0.0
        moved = self._moved(move, target.shape)[rows, columns]
        design = np.stack([moved, np.ones_like(moved)], 1)
        wanted = target[rows, columns]
        errors = np.abs(wanted - design @ _fit(design, wanted).astype(np.float32))
        return float(errors[smallest_errors(errors)].mean())

    def _step(self, move: Move, size: int) -> tuple[float, float, float]:
        target, rows, columns = self._levels[size]
        moved = self._moved(move, target.shape)
        gx = (moved[rows, columns + 1] - moved[rows, columns - 1]) / 2
        gy = (moved[rows + 1, columns] - moved[rows - 1, columns]) / 2
        x = columns - (target.shape[1] - 1) / 2
        y = rows - (target.shape[0] - 1) / 2
        values = moved[rows, columns]
        design = np.stack([values, np.ones_like(values), gx, gy, gx * x + gy * y], 1)
        wanted = target[rows, columns]
        solution = _fit(design, wanted)
        gain = solution[0] if abs(solution[0]) > 0.1 else 1.0
        limits = np.array([2.0, 2.0, 0.05])
        shift_x, shift_y, zoom = (
            float(step) for step in np.clip(solution[2:] / gain, -limits, limits)
        )
        return size * shift_x, size * shift_y, zoom

    def _moved(self, move: Move, shape: tuple[int, ...]) -> Plane:
        seen = move.applied(self._window, *self._sent.shape)
        return _plane(resample(self._edited, seen, shape[0], shape[1]))


def _plane(image: Tensor) -> Plane:
    plane: Plane = image[..., 0].numpy()
    return plane


def _pooled(plane: Plane, size: int) -> Plane:
    return _plane(averaged(torch.from_numpy(plane).unsqueeze(-1), size))


def _fit(design: Plane, wanted: Plane) -> npt.NDArray[np.float64]:
    """The factors [k] of the design's columns; its first column is the image itself."""
    unchanged = np.eye(design.shape[1], 1)
    ridge = RIDGE * float((design**2).mean())
    return trimmed_fit(design, wanted[:, None], unchanged, ridge)[:, 0]


def _phase_shift(sent: Plane, moved: Plane, ring: Plane) -> Move:
    """The whole-pixel shift with the highest phase correlation of the gradients in the ring."""
    soft = torch.from_numpy(ring)[None, None]
    for kernel in ((9, 1), (1, 9)):
        # A soft ring, so that its own edges don't count as a pattern that stands still.
        soft = F.avg_pool2d(soft, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
    weights = ring * soft[0, 0].numpy() ** 2
    spectra = []
    for plane in (sent, moved):
        down, across = np.gradient(plane) if min(plane.shape) > 1 else (plane, plane)
        spectra.append(torch.fft.fft2(torch.from_numpy(weights * (across + 1j * down))))
    product = spectra[1] * spectra[0].conj()
    strength = product.abs()
    phase = product / (strength + 1e-3 * strength.mean() + 1e-12)
    rows, columns = (torch.fft.fftfreq(side) for side in phase.shape)
    # Fine noise says nothing about a shift: a Gaussian of 1 pixel.
    low_pass = torch.exp(-2 * math.pi**2 * (rows[:, None] ** 2 + columns[None, :] ** 2))
    peaks = torch.fft.ifft2(phase * low_pass).real
    reach = [min(SEARCH // 2, (side - 1) // 2) for side in peaks.shape]
    near = torch.roll(peaks, reach, (0, 1))[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
    row, column = divmod(int(near.argmax()), near.shape[1])
    return Move(float(column - reach[1]), float(row - reach[0]))
