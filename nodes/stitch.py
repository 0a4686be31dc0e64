"""MAI Stitch: set an edited crop back into the image that it was cut out of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from . import inputs
from .crop import StitchType
from .run import show_notes

if TYPE_CHECKING:
    from .imaging.paste import Stitch


class MAIStitch(io.ComfyNode):
    """The image with the edit of its crop, all else bit for bit as it was."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MAIStitch",
            display_name="MAI Stitch",
            category=inputs.CATEGORY,
            description="Set an edited crop of MAI Crop for Edit back into its image. The crop may "
            "come back in another size; a small shift or change of colour of its surroundings is "
            "undone. Everything outside the mask stays bit for bit as it was.",
            search_aliases=[
                "inpaint stitch",
                "crop and stitch",
                "uncrop",
                "paste by mask",
                "composite crop",
            ],
            inputs=[
                StitchType.Input("stitch", tooltip="The stitch output of MAI Crop for Edit."),
                io.Image.Input(
                    "image",
                    tooltip="The edited crop. For a batch of crops as many edits, or that many for "
                    "each crop in turn.",
                ),
                inputs.match_color_input(),
            ],
            outputs=[io.Image.Output("image", tooltip="The image at its own size, [B,H,W,3].")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @override
    @inputs.within_limits
    def execute(cls, stitch: Stitch, image: Tensor, match_color: bool = True) -> io.NodeOutput:
        from .imaging.paste import stitch_batch

        stitched, notes = stitch_batch(stitch, image, match_color)
        show_notes("MAI Stitch", getattr(cls.hidden, "unique_id", None), notes)
        return io.NodeOutput(stitched)
