"""What MAI Crop for Edit and MAI Stitch do: crops of one size, and their edits set back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...mai.errors import ImageError
from ...mai.models import Model
from ...mai.sizes import Size
from . import codec as tensors
from . import masked_edit as masked
from . import paste as stitching
from . import regions as region
from .paste import Stitch


def crop_all(
    batch: Tensor, mask: Tensor, model: Model, context: float, grow: int, feather: int
) -> tuple[Tensor, Tensor, Stitch, list[str]]:
    """Crops [B,h,w,C], their masks [B,h,w], what `stitch_all` needs, and sentences for the user.

    ImageError: no IMAGE, no mask for each image or one for all, or one that selects nothing.
    """
    images = tensors.split(batch)
    ready = [
        masked.prepare(image, own, grow, feather)
        for image, own in masked.pair(images, mask)
        if own is not None
    ]
    frames = frames_of_one_size(ready, images, model, context)
    patches = tuple(
        stitching.cut(image, one.levels, frame)
        for image, one, frame in zip(images, ready, frames, strict=True)
    )
    return (
        torch.stack([patch.crop for patch in patches]),
        torch.stack([stitching.crop_mask(patch) for patch in patches]),
        Stitch(tuple(images), patches),
        list(dict.fromkeys(note for one in ready for note in one.notes)),
    )


def frames_of_one_size(
    ready: Sequence[masked.Prepared], images: Sequence[Tensor], model: Model, context: float
) -> list[region.Frame]:
    """The box around each image's mask; the boxes are sent at the size that suits them all."""
    size = Size(images[0].shape[1], images[0].shape[0])
    needs = [region.need(one.whole, size, context) for one in ready]
    sent = region.common_size(needs, model)
    return [region.frame_around(one, size, model, sent) for one in needs]


def stitch_all(stitch: Stitch, image: Tensor, match_color: bool) -> tuple[Tensor, list[str]]:
    """The images [B,H,W,3] with their edits, and sentences for the user.

    Of n crops and k x n edits, k in a row belong to each crop, as MAI Edit gives them.
    ImageError: any other number of edits.
    """
    edits = tensors.split(image)
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
        stitching.copy(stitch.images[i // each], batch[i])
        _, said = stitching.paste(batch[i], stitch.patches[i // each], edit, match_color)
        sentences += [f"Image {i + 1}: {note}" if len(edits) > 1 else note for note in said]
    return batch, sentences
