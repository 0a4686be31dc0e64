"""Cut crops out of images, and set edits of them back so that all else stays bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...mai.errors import ImageError
from ...mai.models import Model
from ...mai.sizes import Size
from .codec import split_batch
from .drift import SAME, Drift, FittedEdit, detail_share, fit_edit
from .mask import Levels, edit_mask, largest_within, pair_masks
from .regions import Frame, Rect, bounds, common_size, frame_around, with_context
from .resample import Window, clamped, resample, resample_mask, rgb

STRIP = 128
"""Rows that are blended at a time, so that 12 megapixels need no second copy."""

WORKERS = 2
"""Strips at once."""


@dataclass(frozen=True)
class Patch:
    """One crop: where it was cut out, what was cut out, and how much of an edit is taken where.

    `crop` is float32 [H,W,3] in 0..1 of the frame's sent size, `alpha` the levels of its box.
    """

    frame: Frame
    crop: Tensor = field(repr=False)
    alpha: Levels = field(repr=False)

    @property
    def sent_alpha(self) -> Levels:
        """The alpha at the scale of the sent image, for its inner part."""
        return _scaled(self.alpha, (self.frame.inner.height, self.frame.inner.width))


@dataclass(frozen=True)
class Stitch:
    """What MAI Crop for Edit hands to MAI Stitch: the images [H,W,C] and a patch of each.

    The images are the input's own, not copies.
    """

    images: tuple[Tensor, ...] = field(repr=False)
    patches: tuple[Patch, ...]


def crop_batch(
    batch: Tensor, mask: Tensor, model: Model, context: float, grow: int, feather: int
) -> tuple[Tensor, Tensor, Stitch, list[str]]:
    """Crops [B,h,w,C], their masks [B,h,w], what `stitch_batch` needs, and sentences for the user.

    ImageError: no IMAGE, no mask for each image or one for all, or one that selects nothing.
    """
    images = split_batch(batch)
    masks = [
        edit_mask(image, own, grow, feather)
        for image, own in pair_masks(images, mask)
        if own is not None
    ]
    size = Size(batch.shape[2], batch.shape[1])
    areas = [with_context(own.bounds, size, context, model) for own in masks]
    sent = common_size(areas, model)
    patches = tuple(
        cut_patch(image, own.levels, frame_around(area, size, model, sent))
        for image, own, area in zip(images, masks, areas, strict=True)
    )
    return (
        torch.stack([patch.crop for patch in patches]),
        torch.stack([crop_mask(patch) for patch in patches]),
        Stitch(tuple(images), patches),
        list(dict.fromkeys(note for own in masks for note in own.notes)),
    )


def stitch_batch(stitch: Stitch, image: Tensor, match_color: bool) -> tuple[Tensor, list[str]]:
    """The images [B,H,W,3] with their edits, and sentences for the user.

    Of n crops and k x n edits, k in a row belong to each crop, as MAI Edit gives them.
    ImageError: any other number of edits.
    """
    edits = split_batch(image)
    count = len(stitch.patches)
    if len(edits) % count:
        raise ImageError(
            f"MAI Stitch got {len(edits)} edited crops for {count} cut out.",
            "Give one for each crop; if the content filter took some, stitch one by one.",
        )
    each = len(edits) // count
    height, width = stitch.images[0].shape[:2]
    batch = torch.empty((len(edits), height, width, 3), dtype=torch.float32)
    sentences: list[str] = []
    for i, edit in enumerate(edits):
        copy_rgb(stitch.images[i // each], batch[i])
        _, notes = paste_edit(batch[i], stitch.patches[i // each], edit, match_color)
        sentences += [f"Image {i + 1}: {note}" if len(edits) > 1 else note for note in notes]
    return batch, sentences


def cut_patch(image: Tensor, levels: Levels, frame: Frame) -> Patch:
    """The crop of a frame from an image [H,W,C] whose mask has these levels [H,W].

    Bicubic where the scale changes; grey becomes RGB, alpha is left out, values are cut to 0..1 and
    NaN is 0, in the crop only. Padding repeats the outermost pixels.
    """
    box = rgb(image)[frame.box.slices]
    inner, sent = frame.inner, frame.sent
    crop = resample(box, Window.of(box), inner.height, inner.width, clamp=True).clamp_(0, 1)
    if (inner.width, inner.height) != sent:
        rows = torch.arange(sent.height).sub_(inner.top).clamp_(0, inner.height - 1)
        columns = torch.arange(sent.width).sub_(inner.left).clamp_(0, inner.width - 1)
        crop = crop[rows][:, columns]
    return Patch(frame, crop, levels[frame.box.slices])


def crop_mask(patch: Patch) -> Tensor:
    """The alpha of a patch as MASK [H,W] at the size of its crop."""
    mask = torch.zeros(patch.crop.shape[:2])
    mask[patch.frame.inner.slices] = torch.from_numpy(patch.sent_alpha) / 255
    return mask


def copy_rgb(image: Tensor, out: Tensor) -> None:
    """Write an image [H,W,C] into `out` [H,W,3]."""
    _writable(out).copy_(rgb(image))


def paste_edit(
    out: Tensor,
    patch: Patch,
    edited: Tensor,
    match_color: bool,
    mask: Tensor | None = None,
    mask_out: Tensor | None = None,
) -> tuple[Drift, list[str]]:
    """Blend an edit [h,w,C] of a patch's crop into an image [H,W,3], in place.

    Pixels whose alpha is 0 are not written; nor are those that came back as they were sent. The
    MASK [h,w] of an edit that has alpha is blended into `mask_out` [H,W] in the same way. Returns
    the drift and sentences for the user. ImageError: the edit is no image.
    """
    if edited.ndim != 3 or 0 in edited.shape:
        raise ImageError(
            f"An edited crop has the shape [H,W,C]; this is {list(edited.shape)}.",
            "Connect the image that was made of the crop.",
        )
    frame, crop = patch.frame, patch.crop
    edited = clamped(rgb(edited))
    alpha = changed = patch.alpha
    if edited.shape == crop.shape:
        same = ((edited - crop).abs() <= SAME).all(-1).numpy()
        if mask is None and same[frame.inner.slices].all():
            return Drift(0.0), []
        differs = largest_within(np.where(same, np.uint8(0), np.uint8(255)), 3, 3)
        near = _scaled(differs[frame.inner.slices], alpha.shape) > 0
        changed = np.where(near, alpha, np.uint8(0))
    fitted = fit_edit(edited, crop, frame.inner, patch.sent_alpha, match_color, mask)
    if fitted.visible is not None:
        shown = _scaled(np.where(fitted.visible, np.uint8(255), np.uint8(0)), alpha.shape) == 255
        alpha, changed = (np.where(shown, levels, np.uint8(0)) for levels in (alpha, changed))
    _blend(out[frame.box.slices], changed, *_layers(fitted, patch))
    if mask is not None and mask_out is not None:
        _blend_mask(mask_out[frame.box.slices], alpha, mask, fitted.window)
    return fitted.drift, list(fitted.notes)


def _blend_mask(out: Tensor, alpha: Levels, mask: Tensor, window: Window) -> None:
    """Blend a window of an edit's MASK [h,w] into the box `out` [H,W] where `alpha` isn't 0."""
    box = bounds(alpha)
    if not box.area:
        return
    part = window.part(box, *out.shape)
    new = resample_mask(mask, part, box.height, box.width)
    weight = torch.from_numpy(alpha[box.slices]) / 255
    target = _writable(out)[box.slices]
    target.copy_(torch.where(weight > 0, target.lerp(new, weight), target))


def _layers(fitted: FittedEdit, patch: Patch) -> tuple[Tensor, Tensor | None]:
    """The edit [h,w,3] at the scale to work at, and the input's share in it [h,w,1].

    The result is the edit + share x input. Where what came back has fewer pixels than the box, the
    input's fine detail comes back where the edit left the image as it was: edit + share x (input -
    seen), of which the edit - share x seen is made here, at the smaller scale. Seen is what the
    input shows at as few pixels as came back.
    """
    frame, window = patch.frame, fitted.window
    sent = patch.crop[frame.inner.slices]
    height, width = sent.shape[:2]
    smaller = window.width / width
    finer = min(smaller, 1 / frame.scale)
    if finer > 1:
        height = min(frame.box.height, round(height * finer))
        width = min(frame.box.width, round(width * finer))
    edit = fitted.at(height, width)
    if frame.scale * min(1.0, smaller) >= 1:
        return edit, None
    seen = sent if smaller >= 1 else _shrunk_and_back(sent, smaller)
    same_size = edit.shape == sent.shape
    share = detail_share(edit if same_size else fitted.at(*sent.shape[:2]), seen)
    lost = share * seen
    return edit.sub_(resample(lost, Window.of(lost), height, width)), share


def _shrunk_and_back(image: Tensor, scale: float) -> Tensor:
    """What is left of an image [H,W,3] that was shrunk, at its own size."""
    height, width = image.shape[:2]
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    small = resample(image, Window.of(image), rows, columns)
    return resample(small, Window.of(small), height, width)


def _blend(out: Tensor, alpha: Levels, edit: Tensor, share: Tensor | None) -> None:
    """Blend into the box `out` [H,W,3] where `alpha` isn't 0, in strips, two at a time."""
    area = bounds(alpha)
    strips = [
        Rect(area.left, top, area.right, min(area.bottom, top + STRIP))
        for top in range(area.top, area.bottom, STRIP)
    ]

    def blend(strip: Rect) -> None:
        weight = torch.from_numpy(alpha[strip.slices]).unsqueeze(-1)
        if not weight.any():
            return
        target = _writable(out)[strip.slices]
        old, new = clamped(target), _piece(edit, strip, out)
        if share is not None:
            new.addcmul_(_piece(share, strip, out), old)
        mixed = old.lerp_(new.clamp_(0, 1), weight / 255)
        target.copy_(mixed if weight.all() else torch.where(weight > 0, mixed, target))

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(blend, strips))


def _piece(image: Tensor, strip: Rect, out: Tensor) -> Tensor:
    """The part of an image of the complete box that falls on a strip of the box `out`."""
    window = Window.of(image).part(strip, *out.shape[:2])
    return resample(image, window, strip.height, strip.width)


def _scaled(levels: Levels, shape: tuple[int, ...]) -> Levels:
    """Levels at another size [H,W], bilinear."""
    if levels.shape == shape:
        return levels
    image = Image.fromarray(np.ascontiguousarray(levels))
    height, width = shape
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def _writable(image: Tensor) -> Tensor:
    """The same memory as a tensor that this thread may write, in inference mode or not."""
    return torch.from_numpy(image.numpy())
