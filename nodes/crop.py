"""MAI Crop for Edit: the part of a picture around a mask, at a size that the model can edit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ..mai.checks import model_named
from ..mai.models import DEFAULT_MODEL, EDIT_MODEL_NAMES, Model
from ..mai.sizes import Size
from . import images as tensors
from . import mask_inputs, masked, notes, region, schema, stitching
from .stitching import Stitch

StitchType = io.Custom("MAI_STITCH")


class MAICrop(io.ComfyNode):
    """Cut out what is around a mask; MAI Stitch sets an edit of it back."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAICrop",
            display_name="MAI Crop for Edit",
            category=schema.CATEGORY,
            description="Cut out the part of an image around a mask, at a size that the model can "
            "work with. Edit the crop with any nodes and give it to MAI Stitch: everything outside "
            "the mask stays bit for bit as it was.",
            search_aliases=[
                "inpaint crop",
                "crop and stitch",
                "crop by mask",
                "mask region",
                "context",
                "bounded image crop",
                "only masked",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image, or a batch. Alpha is left out."),
                io.Mask.Input(
                    "mask",
                    tooltip="White is edited. One mask for all images, or one for each; a mask of "
                    "another size is scaled to its image.",
                ),
                schema.model(EDIT_MODEL_NAMES),
                mask_inputs.context(),
                mask_inputs.mask_grow(),
                mask_inputs.mask_feather(),
            ],
            outputs=[
                io.Image.Output(
                    "crop",
                    display_name="crop",
                    tooltip="What is around the mask, about 1 megapixel at most. The crops of a "
                    "batch have one size.",
                ),
                io.Mask.Output(
                    "crop_mask",
                    display_name="crop_mask",
                    tooltip="The mask on the crop, grown and feathered.",
                ),
                StitchType.Output(
                    "stitch",
                    display_name="stitch",
                    tooltip="For MAI Stitch: the image, and where the crop was.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        model: str = DEFAULT_MODEL,
        context: float = masked.CONTEXT,
        mask_grow: int = masked.MASK_GROW,
        mask_feather: int = masked.MASK_FEATHER,
    ) -> io.NodeOutput:
        pictures = tensors.split(image)
        ready = [
            masked.prepare(picture, own, mask_grow, mask_feather)
            for picture, own in masked.pair(pictures, mask)
            if own is not None
        ]
        frames = frames_of_one_size(ready, pictures, model_named(model), context)
        patches = tuple(
            stitching.cut(picture, one.levels, frame)
            for picture, one, frame in zip(pictures, ready, frames, strict=True)
        )
        said = dict.fromkeys(note for one in ready for note in one.notes)
        notes.tell("MAI Crop for Edit", getattr(cls.hidden, "unique_id", None), list(said))
        return io.NodeOutput(
            torch.stack([patch.crop for patch in patches]),
            torch.stack([stitching.crop_mask(patch) for patch in patches]),
            Stitch(tuple(pictures), patches),
        )


def frames_of_one_size(
    ready: Sequence[masked.Prepared], pictures: Sequence[Tensor], model: Model, context: float
) -> list[region.Frame]:
    """The box around each picture's mask; the boxes are sent at the size that suits them all."""
    size = Size(pictures[0].shape[1], pictures[0].shape[0])
    needs = [region.need(one.whole, size, context) for one in ready]
    sent = region.common_size(needs, model)
    return [region.frame_around(one, size, model, sent) for one in needs]
