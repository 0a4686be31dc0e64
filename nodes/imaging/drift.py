"""Bring what came back onto what was sent: undo its drift in size, aspect, position and colours.

All is measured at the scale of the sent image; `FittedEdit` then gives the edit at any scale. An
image is float32 [H,W,3] in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .color_match import fit_colors, map_colors, remaining_difference
from .mask import Levels, largest_within
from .regions import Rect
from .registration import GAIN, Move, find_move, luma
from .resample import Window, resample, resample_mask, resample_visible, scaled

RING = 64
"""Pixels of the sent image around the mask in which it is compared with what came back."""

MARGIN = 3
"""Pixels next to the mask that aren't compared: resampling mixes the change into them."""

EDGE = 24
"""Pixels of the ring next to the mask to which a remaining difference is matched."""

SMALLEST_RING = 1024
"""A ring of fewer pixels says nothing reliable, and nothing is corrected."""

SAME = 1.01 / 255
"""Pixels that differ by one level of 8 bits at most are the same: a PNG file rounds that much."""

OPAQUE_BELOW = 0.02
"""MASK values below which a pixel of an edit is compared: what is see-through has any colour."""

SAME_ASPECT = 0.001
"""Aspects that differ by less than this share are the same to within a pixel in 1000."""

KEEP_BELOW, LOSE_ABOVE = 0.03, 0.10
"""Mean difference to what was sent (0..1) up to which fine detail of the input is laid over the
edit, and from which on none is. Between them it fades."""


@dataclass(frozen=True)
class Drift:
    """How far the returned image differs from what was sent, in the ring around the mask.

    `difference` is the mean absolute difference (0..1) before any correction, None where the ring
    is too small for a comparison; `shift` is in pixels of the sent image, right and down; `zoom`
    0.01 means 1 % larger. `corrected` (shift and zoom) and `matched` (colours) say what was undone.
    """

    difference: float | None = None
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    corrected: bool = False
    matched: bool = False


@dataclass(frozen=True)
class FittedEdit:
    """A returned image and where it lies: `window` of `edited` belongs at `inner` of the frame.

    `visible` [h,w] says which pixels of it the returned image shows, None if all. `matrix` maps
    its colours, `color_offset` [h,w,3] is then added, given at the scale of the sent image. `mask`
    [H,W] says where the edit is transparent, None if nowhere.
    """

    edited: Tensor
    window: Window
    visible: npt.NDArray[np.bool_] | None
    drift: Drift
    notes: tuple[str, ...]
    matrix: Tensor | None = None
    color_offset: Tensor | None = None
    mask: Tensor | None = None

    def at(self, height: int, width: int) -> Tensor:
        """The inner part at another size, with its colours matched."""
        image = resample_visible(self.edited, self.mask, self.window, height, width)
        image = map_colors(image, self.matrix)
        if self.color_offset is not None:
            image += scaled(self.color_offset, height, width)
        return image


def fit_edit(
    edited: Tensor,
    crop: Tensor,
    inner: Rect,
    alpha: Levels,
    match_color: bool,
    mask: Tensor | None = None,
) -> FittedEdit:
    """Fit `edited` [h,w,3] to the inner part of `crop` [H,W,3], the sent image.

    `alpha` [h,w] is the mask at the scale of the sent image, for the inner part. An edit of another
    aspect is scaled until it covers the crop and cut at the centre, unless the ring shows that the
    service had squeezed or cut the image to its new aspect: then that is undone. Where the edit is
    transparent, as its MASK [h,w] says, it isn't compared.
    """
    sent = crop[inner.slices]
    windows = _placements(edited, crop, inner)
    ring = ring_around(alpha)
    drift, placement = _measure(edited, mask, sent, windows, ring)
    window = windows[placement]
    notes = [] if placement == "same" else [_aspect_note(edited, crop, placement)]
    visible = _visible(window, edited, sent)
    if placement == "cut" and bool((alpha[~visible] > 0).any()):
        notes.append("A part of the mask did not come back at all; it was left as it was.")
    if drift.corrected:
        window = Move(*drift.shift, drift.zoom).applied(window, *sent.shape[:2])
    elif drift.shift != (0.0, 0.0):
        notes.append(_shift_note(drift))
    seen = visible if placement == "cut" else None
    fitted = FittedEdit(edited, window, seen, drift, tuple(notes), mask=mask)
    ring &= visible & _opaque(mask, window, sent)
    return _with_matched_colors(fitted, sent, alpha, ring) if match_color else fitted


def _with_matched_colors(
    fitted: FittedEdit, sent: Tensor, alpha: Levels, ring: npt.NDArray[np.bool_]
) -> FittedEdit:
    """With the colours of the ring, where it shows that they differ."""
    drift = fitted.drift
    if drift.difference is None or drift.difference <= SAME / 2:
        return fitted
    now = resample(fitted.edited, fitted.window, *sent.shape[:2])
    matrix = fit_colors(now, sent, ring)
    if matrix is None:
        return fitted
    edge = ring & ring_around(alpha, EDGE)
    offset = remaining_difference(map_colors(now, matrix), sent, edge)
    drift = replace(drift, matched=True)
    return replace(fitted, matrix=matrix, color_offset=offset, drift=drift)


def ring_around(alpha: Levels, width: int = RING) -> npt.NDArray[np.bool_]:
    """The pixels outside the mask and at most `width` from it, all but those next to it."""
    support = np.where(alpha > 0, np.uint8(255), np.uint8(0))
    near = largest_within(support, MARGIN, MARGIN)
    ring: npt.NDArray[np.bool_] = (largest_within(near, width, width) > 0) & (near == 0)
    return ring


def detail_share(fitted: Tensor, sent: Tensor) -> Tensor:
    """How much of the input's fine detail belongs over the edit [h,w,1]: 1 where nothing changed.

    A shrunk crop has lost it; what the edit changed must not get it back.
    """
    difference = (fitted - sent).abs().mean(-1)[None, None]
    height, width = difference.shape[-2:]
    cells = F.interpolate(difference, size=(max(1, height // 4), max(1, width // 4)), mode="area")
    cells = F.max_pool2d(F.avg_pool2d(cells, 3, 1, 1, count_include_pad=False), 3, 1, 1)
    near = F.interpolate(cells, size=(height, width), mode="bilinear")[0, 0]
    share = ((LOSE_ABOVE - near) / (LOSE_ABOVE - KEEP_BELOW)).clamp_(0, 1)
    return share.unsqueeze(-1)


def _measure(
    edited: Tensor,
    mask: Tensor | None,
    sent: Tensor,
    windows: Mapping[str, Window],
    ring: npt.NDArray[np.bool_],
) -> tuple[Drift, str]:
    """The drift, and the name of the window that fits: the first, unless the ring shows another."""
    edited_luma, sent_luma = luma(edited), luma(sent)[..., 0].numpy()
    name, move, least = next(iter(windows)), None, 0.0
    for other, window in windows.items():
        seen = ring & _visible(window, edited, sent) & _opaque(mask, window, sent)
        if int(seen.sum()) < SMALLEST_RING:
            continue
        found, left = find_move(sent_luma, edited_luma, window, seen)
        if move is None or left < GAIN * least:
            name, move, least = other, found, left
    if move is None:
        return Drift(), name
    window = windows[name]
    seen = ring & _visible(window, edited, sent) & _opaque(mask, window, sent)
    unmoved = resample(edited, window, *sent.shape[:2])
    difference = float((unmoved - sent).abs()[torch.from_numpy(seen)].mean())
    corrected = move != Move() and move.small
    return Drift(difference, (move.x, move.y), move.zoom, corrected), name


def _visible(window: Window, edited: Tensor, sent: Tensor) -> npt.NDArray[np.bool_]:
    """The pixels [h,w] of the sent image that the returned one shows at all."""
    height, width = sent.shape[:2]
    x = window.left + (np.arange(width) + 0.5) * window.width / width
    y = window.top + (np.arange(height) + 0.5) * window.height / height
    rows = (y >= 0) & (y <= edited.shape[0])
    columns = (x >= 0) & (x <= edited.shape[1])
    visible: npt.NDArray[np.bool_] = rows[:, None] & columns
    return visible


def _opaque(mask: Tensor | None, window: Window, sent: Tensor) -> npt.NDArray[np.bool_]:
    """The pixels [h,w] of the sent image at which the returned one isn't see-through."""
    height, width = sent.shape[:2]
    if mask is None:
        return np.ones((height, width), np.bool_)
    opaque: npt.NDArray[np.bool_] = (
        resample_mask(mask, window, height, width).numpy() < OPAQUE_BELOW
    )
    return opaque


def _placements(edited: Tensor, crop: Tensor, inner: Rect) -> dict[str, Window]:
    """Which windows of the returned image may stand for the inner part of the crop, by name."""
    height, width = crop.shape[:2]
    across, down = edited.shape[1] / width, edited.shape[0] / height
    everything = Window.of(edited)
    if abs(across / down - 1) < SAME_ASPECT:
        return {"same": everything.part(inner, height, width)}

    def centred(scale: float) -> Window:
        x, y = (edited.shape[1] - width * scale) / 2, (edited.shape[0] - height * scale) / 2
        left, top, right, bottom = (edge * scale for edge in inner)
        return Window(x + left, y + top, x + right, y + bottom)

    return {
        "cover": centred(min(across, down)),
        "squeezed": everything.part(inner, height, width),
        "cut": centred(max(across, down)),
    }


def _aspect_note(edited: Tensor, crop: Tensor, placement: str) -> str:
    done = {
        "cover": "it was scaled with its ratio kept and cut at the centre",
        "squeezed": "the service had squeezed the image to that aspect, which was undone",
        "cut": "the service had cut the image at the centre, so it was set back there",
    }[placement]
    return (
        f"The edit came back as {edited.shape[1]} x {edited.shape[0]}, another aspect than the "
        f"{crop.shape[1]} x {crop.shape[0]} sent: {done}."
    )


def _shift_note(drift: Drift) -> str:
    x, y = drift.shift
    return (
        f"The surroundings came back shifted by {x:.1f}, {y:.1f} pixels (right, down), which is "
        "more than is corrected: look at the seam, or try another seed or more context."
    )
