"""The edit of a part of an image: what MAI Edit sends, and what it makes of what comes back.

`plan` says which crops to send, `finish` sets the edits of them back. Neither makes a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ...mai.errors import ImageError
from ...mai.models import Model
from ...mai.sizes import Size
from ..options import (
    AROUND_MASK,
    AS_RETURNED,
    CONTEXT,
    MASK_FEATHER,
    MASK_GROW,
    SAME_AS_INPUT,
    WHOLE_IMAGE,
)
from . import alpha
from . import regions as region
from .alpha import Levels
from .paste import Patch, copy, cut, paste
from .rectangle import Rect, bounds
from .resample import Window, resample, rgb
from .seam import SAME_ASPECT, Drift


@dataclass(frozen=True)
class Plan:
    """One image [H,W,C] and the crops to send of it: one request each, in this order.

    Without a mask there is no patch, and the crop is the image itself. `notes` are sentences for
    the user.
    """

    image: Tensor = field(repr=False)
    patches: tuple[Patch, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def crops(self) -> list[Tensor]:
        """The images [h,w,C] to send, each as one edit."""
        return [patch.crop for patch in self.patches] or [self.image]

    @property
    def masked(self) -> bool:
        """Whether all but the mask stays as it was."""
        return bool(self.patches)


@dataclass(frozen=True)
class Finished:
    """An image [H,W,3], facts on each crop for `info`, and sentences for the user."""

    image: Tensor = field(repr=False)
    drift: list[dict[str, object]]
    notes: list[str]


@dataclass(frozen=True)
class Prepared:
    """The alpha of an edit [H,W], and the rectangle around it.

    `padded`: the mask is that of a padded image, whose old part is left as it was.
    """

    levels: Levels = field(repr=False)
    whole: Rect
    padded: bool
    notes: tuple[str, ...]


def pair(images: Sequence[Tensor], masks: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    """Each image with its mask [h,w]: its own of a batch [B,h,w], or the only one for all.

    ImageError: another number of masks than images, or no MASK.
    """
    if masks is None:
        return [(image, None) for image in images]
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.ndim == 2:
        masks = masks.unsqueeze(0)
    if masks.ndim != 3 or 0 in masks.shape:
        raise ImageError(
            f"A MASK has the shape [B,H,W]; this one has {list(masks.shape)}.",
            "Connect the MASK output of a node; Convert Image to Mask makes one of an IMAGE.",
        )
    if len(masks) not in (1, len(images)):
        raise ImageError(
            f"There are {len(masks)} masks for {len(images)} image{'s' * (len(images) > 1)}.",
            "Give one mask for all images, or as many masks as images (Repeat Image Batch repeats "
            "an image).",
        )
    single = len(masks) == 1
    return [(image, masks[0 if single else i]) for i, image in enumerate(images)]


def prepare(image: Tensor, mask: Tensor, mask_grow: int, mask_feather: int) -> Prepared:
    """The alpha for an image [H,W,C] from its mask [h,w]: scaled to it, grown, then feathered.

    In an image that was padded for outpainting (`alpha.padding_around`) all of the padding is
    edited and nothing else, whatever soft edge the mask has: the old image stays untouched.
    ImageError: nothing is masked.
    """
    height, width = image.shape[:2]
    levels, notes = alpha.levels_of(mask, height, width), []
    if mask.shape != (height, width):
        notes.append(
            f"The mask is {mask.shape[1]} x {mask.shape[0]} and its image {width} x {height}: the "
            "mask was scaled."
        )
    if not levels.any():
        raise ImageError(
            "The mask is empty: nothing in it is selected.",
            "Paint a mask (right click on Load Image, Open in MaskEditor), or disconnect the mask "
            "to edit the whole image. Load Image gives an empty mask for a file without alpha.",
        )
    old = alpha.padding_around(image, levels)
    if old is not None:
        levels = np.full_like(levels, 255)
        levels[old.slices] = 0
        notes.append(
            "The mask is that of a padded image: the old image was left untouched, mask_grow, "
            "mask_feather and the padding's own feathering were not applied."
        )
    else:
        soft = alpha.feather(alpha.grow(levels, mask_grow), mask_feather)
        # Rounded corners would leave a trace of the input in those of the mask itself.
        levels = np.maximum(soft, levels) if mask_grow >= mask_feather else soft
    whole = bounds(levels)
    if whole is None:
        raise ImageError(
            f"Nothing is left of the mask after mask_grow {mask_grow}.",
            "Raise mask_grow: a negative number shrinks the mask.",
        )
    return Prepared(levels, whole, old is not None, tuple(notes))


def plan(
    image: Tensor,
    mask: Tensor | None,
    model: Model,
    region_choice: str = AROUND_MASK,
    context: float = CONTEXT,
    mask_grow: int = MASK_GROW,
    mask_feather: int = MASK_FEATHER,
) -> Plan:
    """What to send of an image [H,W,C] with a mask [h,w] (1 = edit), or without one.

    `context` as in `region.need`, `mask_grow` and `mask_feather` in pixels of the image.
    ImageError: the mask is empty, or no mask.
    """
    if mask is None:
        return Plan(image)
    size = Size(image.shape[1], image.shape[0])
    ready = prepare(image, mask, mask_grow, mask_feather)
    if region_choice == WHOLE_IMAGE:
        frames = [region.frame_whole(size, model)]
    else:
        split = [ready.whole] if ready.padded else region.areas(ready.levels, model, context)
        frames = [
            region.frame_around(region.need(rect, size, context), size, model) for rect in split
        ]
    patches = tuple(cut(image, ready.levels, frame) for frame in frames)
    return Plan(image, patches, ready.notes)


def finish(
    plan: Plan,
    returned: Sequence[Tensor | None],
    match_color: bool = True,
    output_size: str = SAME_AS_INPUT,
    out: Tensor | None = None,
) -> Finished:
    """The image of a plan with the edits [h,w,C] of its crops, in the order of `plan.crops`.

    With a mask it has the input's size, and all outside the mask is the input's bit for bit; None
    in place of an edit leaves its area as it was. Without a mask the edit is scaled to the input's
    size with its ratio kept and cut at the centre, or left as returned. `out` [H,W,3] receives the
    image where it has the input's size, so that a batch needs no second copy.
    """
    if len(returned) != len(plan.crops):
        raise ValueError(f"{len(plan.crops)} crops were planned, not {len(returned)}.")
    if not plan.masked:
        return _unmasked(plan, returned[0], output_size, out)
    image = copy(plan.image, out)
    facts, notes = [], list(plan.notes)
    if output_size == AS_RETURNED:
        notes.append("With a mask the image keeps its size: output_size was not applied.")
    for i, (patch, edited) in enumerate(zip(plan.patches, returned, strict=True)):
        if edited is None:
            notes.append(f"Area {i + 1} has no edit; it was left as it was.")
            continue
        drift, said = paste(image, patch, edited, match_color)
        facts.append(_facts(patch, edited, drift))
        notes += [f"Area {i + 1}: {note}" if len(plan.patches) > 1 else note for note in said]
    return Finished(image, facts, notes)


def _unmasked(plan: Plan, edited: Tensor | None, output_size: str, out: Tensor | None) -> Finished:
    if edited is None:
        raise ValueError("Without a mask there must be an edit.")
    if output_size == AS_RETURNED:
        return Finished(copy(edited), [], [])
    height, width = plan.image.shape[:2]
    rows, columns = edited.shape[:2]
    scale = min(columns / width, rows / height)
    left, top = (columns - width * scale) / 2, (rows - height * scale) / 2
    window = Window(left, top, columns - left, rows - top)
    notes = []
    if abs(columns * height / (rows * width) - 1) > SAME_ASPECT:
        notes.append(
            f"The edit came back as {columns} x {rows}, in another aspect than the input's {width} "
            f"x {height}: it was scaled with its ratio kept and cut at the centre."
        )
    image = resample(rgb(edited), window, height, width, raw=True).clamp_(0, 1)
    return Finished(image if out is None else out.copy_(image), [], notes)


def _facts(patch: Patch, edited: Tensor, drift: Drift) -> dict[str, object]:
    """What `info` says of a crop: sizes and positions in pixels, the difference from 0 to 1."""
    box, scale = patch.frame.box, patch.frame.scale
    difference = drift.difference
    return {
        "box": [box.left, box.top, box.width, box.height],
        "sent": list(patch.frame.sent),
        "returned": [edited.shape[1], edited.shape[0]],
        "mean_abs_difference": None if difference is None else round(difference, 4),
        "shift_px": [round(along, 2) for along in drift.shift],
        "shift_px_in_image": [round(along / scale, 2) for along in drift.shift],
        "zoom": round(1 + drift.zoom, 4),
        "shift_corrected": drift.corrected,
        "color_matched": drift.matched,
    }
