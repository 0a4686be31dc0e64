"""The edit of images, or of masked parts of them: what MAI Edit sends, and what it makes of it.

`plan_edit` turns the node's inputs into an `EditPlan`, which makes the requests and, from what came
back, the node's outputs. Nothing here sends a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from ...mai.models import Model
from ...mai.sizes import Size
from ...mai.types import OPAQUE, Edit, Reference, Result
from ...mai.validation import validate_references
from ..inputs import (
    AROUND_MASK,
    AS_RETURNED,
    CONTEXT,
    IMAGE_SOCKETS,
    MASK_FEATHER,
    MASK_GROW,
    WHOLE_IMAGE,
)
from .codec import DecodedImage, decode_batch, encode_image, split_batch
from .drift import SAME_ASPECT, Drift
from .mask import edit_mask, pair_masks, separate_areas
from .paste import Patch, copy_rgb, cut_patch, paste_edit
from .regions import frame_around, frame_whole, with_context
from .resample import clamped, covering, resample_mask, resample_visible, rgb


@dataclass(frozen=True)
class MaskSettings:
    """How the part around a mask is cut: the inputs of that name, in pixels of the image."""

    region: str = AROUND_MASK
    context: float = CONTEXT
    mask_grow: int = MASK_GROW
    mask_feather: int = MASK_FEATHER


@dataclass(frozen=True)
class ImagePlan:
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


@dataclass(frozen=True)
class EditOutputs:
    """MAI Edit's outputs: the IMAGEs [B,H,W,3], and the MASK [B,H,W] of `images`; `facts` on each
    edited area and `notes` for `info`."""

    images: Tensor = field(repr=False)
    as_returned: Tensor = field(repr=False)
    mask: Tensor = field(repr=False)
    facts: list[dict[str, object]]
    notes: list[str]


@dataclass(frozen=True)
class EditPlan:
    """The plans of all images of image_1, their crops encoded, and the references for each."""

    model: Model
    images: tuple[ImagePlan, ...]
    crops: tuple[tuple[Reference, ...], ...]
    references: tuple[Reference, ...]

    @property
    def is_masked(self) -> bool:
        """Whether parts of the images stay as they are: the edits are set back into them."""
        return bool(self.images[0].patches)

    def requests(
        self,
        prompt: str,
        seed: int,
        batch_size: int,
        auto_aspect_ratio: bool,
        web_grounding: bool,
        background: str = OPAQUE,
    ) -> list[Edit]:
        """One request a crop: image by image, then copy by copy, then area by area.

        Copy j of image i carries the seed + i * batch_size + j, each of its areas the same.
        """
        return [
            Edit(
                self.model.name,
                prompt,
                (crop, *self.references),
                seed + i * batch_size + j,
                auto_aspect_ratio=auto_aspect_ratio,
                web_grounding=web_grounding,
                background=background,
            )
            for i, crops in enumerate(self.crops)
            for j in range(batch_size)
            for crop in crops
        ]

    def finish(
        self,
        results: Sequence[Result | None],
        batch_size: int,
        match_color: bool,
        output_size: str,
    ) -> EditOutputs:
        """Set the images that came, in the order of `requests`, back; None was blocked."""
        decoded = decode_batch([result.image for result in results if result is not None])
        if output_size == AS_RETURNED and not self.images[0].patches:
            facts = [{"index": i, "areas": []} for i in range(len(decoded.images))]
            return EditOutputs(decoded.batch, decoded.batch, decoded.mask, facts, decoded.notes)
        images = iter(decoded.images)
        returned = iter([None if result is None else next(images) for result in results])
        edits = [
            (plan, [next(returned) for _ in plan.crops])
            for plan in self.images
            for _ in range(batch_size)
        ]
        edits = [(plan, came) for plan, came in edits if any(edit is not None for edit in came)]
        height, width = self.images[0].image.shape[:2]
        batch = torch.empty((len(edits), height, width, 3))
        mask = torch.from_numpy(np.zeros((len(edits), height, width), np.float32))
        facts, notes = [], decoded.notes
        for index, (plan, edited) in enumerate(edits):
            areas, sentences = finish_image(plan, edited, batch[index], match_color, mask[index])
            facts.append({"index": index, "areas": areas})
            notes += sentences
        if output_size == AS_RETURNED:
            notes.append("With a mask the image keeps its size: output_size was not applied.")
        return EditOutputs(batch, decoded.batch, mask, facts, list(dict.fromkeys(notes)))


def plan_edit(
    images: Mapping[str, Tensor], mask: Tensor | None, model: Model, settings: MaskSettings
) -> EditPlan:
    """The plan for the images [B,H,W,C] that are connected, and the mask [B,H,W] of image_1.

    Sockets count in the order image_1 to image_5. Every image of a batch on another socket than
    image_1 is a reference of its own. ImageError: nothing on image_1, more images than the
    model takes, a tensor that is no image, or a mask that selects nothing.
    """
    batches = {
        name: split_batch(images[name], name)
        for name in IMAGE_SOCKETS
        if images.get(name) is not None
    }
    first = batches.pop("image_1", [])
    references = list(chain.from_iterable(batches.values()))
    validate_references(model, 1 + len(references) if first else 0)
    plans = tuple(plan_image(image, own, model, settings) for image, own in pair_masks(first, mask))
    return EditPlan(
        model,
        plans,
        tuple(tuple(encode_image(crop, model.max_pixels) for crop in p.crops) for p in plans),
        tuple(encode_image(image, model.max_pixels) for image in references),
    )


def plan_image(
    image: Tensor, mask: Tensor | None, model: Model, settings: MaskSettings | None = None
) -> ImagePlan:
    """What to send of an image [H,W,C] with a mask [h,w] (1 = edit), or without one.

    ImageError: the mask is empty, or no mask.
    """
    if mask is None:
        return ImagePlan(image)
    chosen = settings or MaskSettings()
    size = Size(image.shape[1], image.shape[0])
    edited = edit_mask(image, mask, chosen.mask_grow, chosen.mask_feather)
    if chosen.region == WHOLE_IMAGE:
        frames = [frame_whole(size, model)]
    else:
        areas = [edited.bounds]
        if not edited.padded:
            areas = separate_areas(edited.levels, model, chosen.context)
        frames = [
            frame_around(with_context(area, size, chosen.context, model), size, model)
            for area in areas
        ]
    patches = tuple(cut_patch(image, edited.levels, frame) for frame in frames)
    return ImagePlan(image, patches, edited.notes)


def finish_image(
    plan: ImagePlan,
    returned: Sequence[DecodedImage | Tensor | None],
    out: Tensor,
    match_color: bool = True,
    mask_out: Tensor | None = None,
) -> tuple[list[dict[str, object]], list[str]]:
    """Make the image of a plan in `out` [H,W,3], which has the size of the plan's image.

    Returns facts on each edited area for `info`, and sentences for the user.

    `returned` are the edits [h,w,C] of its crops, in the order of `plan.crops`. With a mask all
    outside the mask is the input's bit for bit; None in place of an edit leaves its area as it was.
    Without a mask the edit is scaled with its ratio kept and cut at the centre. Where the edits
    have alpha, `mask_out` [H,W], which is 0 all over, gets their MASKs in the same way.
    """
    if len(returned) != len(plan.crops):
        raise ValueError(f"{len(plan.crops)} crops were planned, not {len(returned)}.")
    edits = [DecodedImage(one, None) if isinstance(one, Tensor) else one for one in returned]
    if not plan.patches:
        return [], _scale_to_cover(edits[0], out, mask_out)
    copy_rgb(plan.image, out)
    facts, notes = [], list(plan.notes)
    for i, (patch, edited) in enumerate(zip(plan.patches, edits, strict=True)):
        if edited is None:
            notes.append(f"Area {i + 1} has no edit; it was left as it was.")
            continue
        image, mask = edited
        drift, area_notes = paste_edit(out, patch, image, match_color, mask, mask_out)
        facts.append(_facts(patch, image, drift))
        notes += [f"Area {i + 1}: {note}" if len(plan.patches) > 1 else note for note in area_notes]
    return facts, notes


def _scale_to_cover(edited: DecodedImage | None, out: Tensor, mask_out: Tensor | None) -> list[str]:
    """An edit at the size of `out` [H,W,3] and `mask_out` [H,W], and sentences for the user."""
    if edited is None:
        raise ValueError("Without a mask there must be an edit.")
    height, width = out.shape[:2]
    rows, columns = edited.image.shape[:2]
    window = covering(edited.image, height, width)
    image = clamped(rgb(edited.image))
    out.copy_(resample_visible(image, edited.mask, window, height, width).clamp_(0, 1))
    if edited.mask is not None and mask_out is not None:
        mask_out.copy_(resample_mask(edited.mask, window, height, width))
    if abs(columns * height / (rows * width) - 1) <= SAME_ASPECT:
        return []
    return [
        f"The edit came back as {columns} x {rows}, in another aspect than the input's {width} "
        f"x {height}: it was scaled with its ratio kept and cut at the centre."
    ]


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
