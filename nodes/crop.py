"""MAI Crop for Edit: the part of an image around a mask, at a size that the model can edit."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from ..mai.models import CATALOGUE, DEFAULT_MODEL
from ..mai.validation import model_named
from . import inputs
from .run import show_notes

StitchType = io.Custom("MAI_STITCH")


class MAICrop(io.ComfyNode):
    """Cut out what is around a mask; MAI Stitch sets an edit of it back."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAICrop",
            display_name="MAI Crop for Edit",
            category=inputs.CATEGORY,
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
                inputs.model_input(CATALOGUE.edit_names),
                inputs.context_input(),
                inputs.mask_grow_input(),
                inputs.mask_feather_input(),
            ],
            outputs=[
                io.Image.Output(
                    "crop",
                    tooltip="What is around the mask, as large as the model may give it back: "
                    "about 1 megapixel of 2.5, more of later models. The crops of a batch have "
                    "one size.",
                ),
                io.Mask.Output(
                    "crop_mask",
                    tooltip="The mask on the crop, grown and feathered.",
                ),
                StitchType.Output(
                    "stitch",
                    tooltip="For MAI Stitch: the image, and where the crop was.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    def validate_inputs(cls, model: str = DEFAULT_MODEL) -> bool | str:
        return inputs.validate_model(model, edits=True)

    @classmethod
    @override
    @inputs.within_limits
    def execute(
        cls,
        image: Tensor,
        mask: Tensor,
        model: str = DEFAULT_MODEL,
        context: float = inputs.CONTEXT,
        mask_grow: int = inputs.MASK_GROW,
        mask_feather: int = inputs.MASK_FEATHER,
    ) -> io.NodeOutput:
        from .imaging.paste import crop_batch

        crop, crop_mask, stitch, notes = crop_batch(
            image, mask, model_named(model), context, mask_grow, mask_feather
        )
        show_notes("MAI Crop for Edit", getattr(cls.hidden, "unique_id", None), notes)
        return io.NodeOutput(crop, crop_mask, stitch)
